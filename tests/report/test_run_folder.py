from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archipel.errors import RunError
from archipel.report.run_folder import interval, numbers, read


def test_reads_everything(finished: Path) -> None:
    run = read(finished)
    assert run.seeds == 3
    assert list(run.variants) == list("ABCDE")
    assert run.instances is not None
    assert run.instances.images.shape == (120, 8, 8, 3)
    assert run.instances.probabilities["C"].shape == (120, 85)
    assert run.variants["A"].label[0] in run.classes
    assert run.missing == []


def test_interval() -> None:
    assert interval(None) is None
    assert interval({"mean": None}) is None
    assert interval({"mean": float("nan")}) is None
    one = interval({"mean": 1, "low": 1, "high": 1, "values": [1]})
    assert one is not None
    assert not one.known
    assert np.isnan(numbers([1, None, True])).tolist() == [False, True, True]
    assert numbers(None).size == 0


HEAD = "variant,index,label,predicted,correct,latency_ms,architecture"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("result.json", "{", "cannot be read"),
        ("result.json", "[]", "schema 'list'"),
        ("result.json", '{"schema": 2}', "schema 2"),
        ("architectures.csv", "variant,index\n", "has no column architecture"),
        (
            "architectures.csv",
            HEAD + "\nA,x,0,0,1,1,0\n",
            "damaged",
        ),
        ("architectures.csv", HEAD + "\nA,1\n", "damaged"),
        (
            "architectures.csv",
            HEAD + "\nA,1,0,0,1,nan,0\n",
            "damaged",
        ),
        ("instances.safetensors", "not tensors", "damaged"),
    ],
)
def test_damaged_files_are_one_line(name: str, content: str, words: str, make_run: Callable[..., Path]) -> None:
    folder = make_run(images=5, layers=2, seeds=1, epochs=2)
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=words) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
