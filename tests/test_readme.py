"""The README's Python runs as it stands there, only smaller; and what `archipel.run` gives back."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import archipel
from archipel import api
from archipel.errors import OptionError, RunError

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PROGRAM = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)[0]

SMALL: dict[str, Any] = {
    "network": {"width": 0.25},
    "pretraining": {"epochs": 1},
    "latency": {
        "cover": 1, "probed": 2, "calibrating": 10, "held_out": 4, "rounds": 1, "images": 2, "final_rounds": 1,
        "throughput_batch": 8,
    },
    "search": {"epochs": 1},
    "finetuning": {"epochs": 1, "variants": 1},
    "exits": {"width": 0.25, "points": 1},
    "baselines": {"widths": [0.25], "pool": 1, "contrasted": 0, "shuffles": 1},
    "jobs": {"workers": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., api.Result]:
    """`archipel.run` on few images and for one epoch each, wherever it is called from."""
    out = tmp_path_factory.mktemp("runs") / "readme"
    return functools.partial(api.run, images=100, test_images=20, threads=1, settings=SMALL, out=out, quiet=True)


@pytest.fixture(scope="module")
def ended(small_run: Callable[..., api.Result]) -> dict[str, Any]:
    """The README's names after its program has run, with one seed."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "run", lambda data, *, seeds: small_run(data, seeds=min(seeds, 1)))
        exec(PROGRAM, names)
    return names


def test_it_has_at_most_ten_lines() -> None:
    assert len(PROGRAM.strip().splitlines()) <= 10


def test_it_runs(ended: dict[str, Any]) -> None:
    result = ended["result"]
    assert result.report.is_file()
    assert result.folder == result.report.parent
    assert [(point.kind, point.name) for point in result.points] == [
        ("early_exit", "A"),
        ("static_exit", "1"),
        ("static_exit", "2"),
        ("static_exit", "3"),
        ("instanas", "A"),
        ("static_child", "A"),
        ("mobilenet_v2", "0.25x"),
    ]
    for point in result.points:
        assert 0 <= point.accuracy.mean <= 1
        assert point.measured_ms.mean > 0
        assert point.parameters > 0
    assert result.awareness.endswith(".")
    assert str(result.points[0]).startswith("early exits A: ")


def test_the_folder_holds_what_the_readme_says(ended: dict[str, Any]) -> None:
    table = README.partition("## What a run leaves behind")[2].partition("## ")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) >= 9
    for name in named:
        assert (ended["result"].folder / name).exists(), name


def test_a_finished_run_is_read_again(ended: dict[str, Any]) -> None:
    first = ended["result"]
    assert archipel.run(resume=first.folder, quiet=True) == first
    with pytest.raises(RunError, match="seeds 5 contradicts"):
        archipel.run(resume=first.folder, seeds=5, quiet=True)
    with pytest.raises(OptionError, match="leave out out="):
        archipel.run(resume=first.folder, out="elsewhere", quiet=True)


def test_the_run_says_how_to_get_it_again(ended: dict[str, Any]) -> None:
    command = json.loads((ended["result"].folder / "result.json").read_text())["command"]
    assert command.startswith("archipel.run(")
    assert eval(command, {"archipel": SimpleNamespace(run=dict)})["seeds"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"serch": {}}}, "did you mean 'search'"),
        ({"settings": {"search": {"epoch": 3}}}, "did you mean 'epochs'"),
        ({"preset": "cpuu"}, "did you mean 'cpu'"),
        ({"data": "digts"}, "did you mean 'digits'"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words) as raised:
        archipel.run(**options, out=tmp_path / "run", quiet=True)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()
