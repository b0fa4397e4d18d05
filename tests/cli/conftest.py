"""Calling the program in this process, and a recipe small enough to read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from cyclopts import App

from archipel.cli.app import app, execute
from archipel.cli.frontier import show_result
from archipel.cli.recipe_command import command
from archipel.recipes import instanas
from archipel.recipes.job import Prepared
from archipel.recipes.opening import open_device


@dataclass(frozen=True)
class Search:
    """The search stage."""

    epochs: int = 40
    """How many epochs."""
    rate: float = 1e-3
    kind: Literal["ours", "paper"] = "ours"
    sweep: tuple[float, ...] = (0.5, 1.0)
    fix: bool = True
    target: float | None = None


@dataclass(frozen=True)
class Network:
    width: float = 0.25


@dataclass(frozen=True)
class Latency:
    batch: int = 1


@dataclass(frozen=True)
class Settings:
    network: Network = Network()
    latency: Latency = Latency()
    search: Search = field(default_factory=Search)
    tuning: Search = Search(epochs=10)


def interval(mean: float) -> dict[str, Any]:
    return {"values": [mean], "mean": mean, "low": mean - 0.01, "high": mean + 0.01}


class StandIn:
    """A recipe of three steps, each kept; `fail` is raised before step `at`."""

    Search, Settings = Search, Settings
    COMMAND, Request = instanas.COMMAND, instanas.Request

    def prepare(self, request, settings, task, function, progress, *, measured):
        file = Path(request.table) if request.table and not measured else None
        takes = inspect.signature(function).parameters
        space = task.space(function, **({"width": settings.network.width} if "width" in takes else {}))
        batch = settings.latency.batch
        device, table = open_device(request.device, request.threads, file, space=space, batch=batch, progress=progress)

        def work(folder, progress):
            return self.run(
                folder, task, device, function, settings, seed=request.seed, seeds=request.seeds, progress=progress,
                table=table, target_ms=request.target_ms,
            )  # fmt: skip

        return Prepared(replace(request, device=device.name, threads=device.threads), work)

    @staticmethod
    def preset_for(data: str) -> str:
        return "small" if data == "digits" else "cpu"

    def __init__(self) -> None:
        self.PRESETS = {
            "cpu": Settings(),
            "faithful": Settings(search=Search(epochs=500, kind="paper")),
            "small": Settings(search=Search(epochs=4)),
        }
        self.fail: BaseException | None = None
        self.at = 1
        self.did: list[str] = []
        self.calls: list[SimpleNamespace] = []

    def run(self, folder, task, device, space_fn, settings, *, seed, seeds, progress, table=None, target_ms=None):
        self.calls.append(
            SimpleNamespace(
                folder=folder, task=task, device=device, space=space_fn, settings=settings, seed=seed, seeds=seeds,
                table=table, target_ms=target_ms,
            )
        )  # fmt: skip
        scores = []
        for i, stage in enumerate(("one", "two", "three")):
            done = folder.stage_done(stage)
            if done is None:
                if self.fail is not None and i == self.at:
                    raise self.fail
                self.did.append(stage)
                done = folder.mark_done(stage, {"score": 0.9 + i / 100})
            scores.append(done["score"])
            progress.say(f"{stage} done")
        result = {
            "schema": 1,
            "title": "Stand-in on digits",
            "command": folder.command,
            "seconds": 3.0,
            "points": [
                {"name": "A", "kind": "instanas", "accuracy": interval(scores[2]), "table_ms": interval(1.5),
                 "measured_ms": interval(1.6), "batch_ms": interval(0.2), "madds": interval(1.2e6),
                 "parameters": 1000, "distinct_share": interval(0.31), "note": None},
                {"name": "0.5", "kind": "mobilenet_v2", "accuracy": interval(0.88), "table_ms": None,
                 "measured_ms": None, "batch_ms": None, "madds": interval(9e5), "parameters": 900,
                 "distinct_share": None, "note": None},
            ],
            "awareness": {"sentence": "Instance-awareness was worth 1.0 points.", "rows": []},
            "alarms": [{"kind": "collapse", "stage": "search", "seed": 0, "epoch": 7, "text": "one architecture"}],
            "fidelity": {"mape": 3.14, "tau": 0.95, "coverage": 93.0, "nominal": 90, "n": 30, "pairs": []},
        }  # fmt: skip
        folder.write_json("result.json", result)
        return result


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line that says what was wrong."""
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("archipel: ")
        return self.err.strip()


@pytest.fixture
def recipe() -> StandIn:
    return StandIn()


@pytest.fixture
def call(capsys, tmp_path, monkeypatch) -> Callable[..., Ended]:
    """The real program, called in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return _caller(app, capsys)


@pytest.fixture
def standin(recipe, capsys, tmp_path, monkeypatch) -> Callable[..., Ended]:
    """A program whose `run` runs the stand-in recipe and whose other commands are the real ones."""
    monkeypatch.chdir(tmp_path)
    program = App(name="archipel", suppress_keyboard_interrupt=False)
    program.command(command(recipe, "Search.", show=show_result), name="run")
    program.command("archipel.cli.show:show", name="show")
    program.command("archipel.cli.eval:evaluate", name="eval")
    return _caller(program, capsys)


def _caller(program: App, capsys: Any) -> Callable[..., Ended]:
    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        code = execute(program, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return call
