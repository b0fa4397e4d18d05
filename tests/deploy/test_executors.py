"""Which executor a batch is given to, and ONNX Runtime as one of them: the same answers, from files that stay."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import archipel
from archipel.deploy import onnx_form
from archipel.deploy.executors import Executors
from archipel.deploy.forms import Answered
from archipel.deploy.manifest import FILE, Point
from archipel.errors import OptionError, RunError

POINT = Point("A", 1.0)


class Noting:
    """Notes how many images it is given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        assert point is POINT
        self.given.append(len(inputs))
        return Answered(inputs, [""] * len(inputs), torch.zeros(len(inputs)))


class TestChoosing:
    def test_the_faster_at_the_nearest_size_is_asked(self) -> None:
        both = {"torch": Noting(), "onnx": Noting()}
        ms = {1: {"torch": 2.0, "onnx": 1.0}, 8: {"torch": 0.5, "onnx": 0.4}, 64: {"torch": 0.1, "onnx": 0.2}}
        executors = Executors(both, ms)
        for count in (1, 2, 3, 22, 23, 500, 0):
            executors.answer(torch.zeros(count, 1), POINT)
        assert both["onnx"].given == [1, 2, 3, 22, 0]
        assert both["torch"].given == [23, 500]
        assert str(executors).startswith("ONNX Runtime at 1 (1 ms an image; PyTorch 2), ")
        assert executors.to_json()["executor"] == {"1": "onnx", "8": "onnx", "64": "torch"}

    def test_one_alone_is_asked_and_says_why(self) -> None:
        executors = Executors({"torch": Noting()}, why="onnxruntime is not installed")
        assert executors.of(7) == "torch"
        assert str(executors) == "PyTorch (onnxruntime is not installed)"
        assert executors.to_json() == {"executor": "torch", "why": "onnxruntime is not installed"}

    def test_every_size_that_there_are_images_for_is_timed(self) -> None:
        both = {"torch": Noting(), "onnx": Noting()}
        executors = Executors.fastest(both, torch.zeros(20, 1), POINT)
        assert executors.ms.keys() == {1, 8}
        assert all(ms > 0 for times in executors.ms.values() for ms in times.values())
        assert both["torch"].given.count(1) == both["onnx"].given.count(1) > 0


@pytest.fixture(scope="module")
def copied(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run where nobody else looks."""
    path = tmp_path_factory.mktemp("executors") / "run"
    shutil.copytree(finished.path, path)
    return path


@pytest.mark.parametrize("kind", ["early_exit", "instanas", "mobilenet_v2"])
def test_onnx_runtime_answers_as_pytorch_does(copied: Path, finished: Any, kind: str) -> None:
    pytest.importorskip("onnxruntime")
    ours, theirs = archipel.load(copied, kind), archipel.load(copied, kind, executor="onnx")
    assert str(theirs.executors) == "ONNX Runtime"
    for point in ours.points:
        if point.name is None:
            continue
        mine, its = ours.predict(finished.images, point.name), theirs.predict(finished.images, point.name)
        assert its.children == mine.children
        assert its.latency_ms == pytest.approx(mine.latency_ms)
        assert its.probabilities == pytest.approx(mine.probabilities, abs=1e-4)
        alone = theirs.predict(finished.images[:1], point.name)
        assert (alone.children[0], alone.labels[0]) == (mine.children[0], mine.labels[0])


def test_files_stay_until_the_run_is_another(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    made: list[Path] = []

    def written(_model: Any, path: Path, *_: Any, **__: Any) -> None:
        path.write_bytes(b"a graph")
        made.append(path)

    monkeypatch.setattr(onnx_form, "export_routed", written)
    monkeypatch.setattr(onnx_form, "export_alone", written)
    monkeypatch.setattr(onnx_form, "session_of", lambda path, threads: (path.read_bytes(), threads))
    monkeypatch.setattr(onnx_form, "alone_of", lambda _model, path, *_: path.read_bytes())
    for file in (copied / "onnx").glob("early_exit-*"):
        file.unlink()
    archipel.load(copied, executor="onnx")
    archipel.load(copied, executor="onnx")
    assert [path.parent for path in made] == [copied / "onnx"] * 2, "one for batches, one for an image alone"

    def other(temperature: float) -> None:
        content = json.loads((copied / FILE).read_text())
        content["families"][0]["rule"]["temperatures"][0] = temperature
        (copied / FILE).write_text(json.dumps(content))

    other(1.5)
    archipel.load(copied, executor="onnx")
    assert len({*made}) == 4
    assert {*(copied / "onnx").glob("early_exit-*")} == {*made[2:]}, "the old ones are gone"
    monkeypatch.setattr(os, "access", lambda *_: False)
    other(2.0)
    archipel.load(copied, executor="onnx")
    assert made[4].parent != copied / "onnx", "elsewhere, where the run may not be written"
    assert not made[4].exists()


class TestMistakes:
    def test_an_executor_that_is_none(self, finished: Any) -> None:
        with pytest.raises(
            OptionError, match=r"executor is 'onx'; give one of auto, torch, onnx; did you mean 'onnx'\?"
        ):
            archipel.load(finished.path, executor="onx")  # type: ignore[arg-type]

    def test_a_package_that_is_missing(self, finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_form, "find_spec", lambda _: None)
        said = "executor onnx needs onnxruntime, which is not installed; run: pip install 'archipel[export]'"
        with pytest.raises(OptionError) as error:
            archipel.load(finished.path, executor="onnx")
        assert str(error.value) == said
        found = archipel.load(finished.path, executor="auto")
        assert str(found.executors) == f"PyTorch ({said})"
        assert (
            found.predict(finished.images[:2]).children
            == archipel.load(finished.path).predict(finished.images[:2]).children
        )

    def test_another_device_and_no_test_images(self, finished: Any, tmp_path: Path) -> None:
        model = archipel.load(finished.path)
        model.device = torch.device("meta")
        folder = SimpleNamespace(path=finished.path)
        with pytest.raises(OptionError, match="executor onnx runs on the CPU, and early_exit was loaded for meta"):
            onnx_form.executors(model, folder, "onnx")  # type: ignore[arg-type]
        with pytest.raises(RunError, match="keeps no test images"):
            onnx_form.executors(model, SimpleNamespace(path=tmp_path), "onnx")  # type: ignore[arg-type]
