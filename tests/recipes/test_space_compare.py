"""A comparison of spaces: a planted difference is found, what was trained is kept, and tables take a space's place."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from archipel.choose import Choose
from archipel.cost import Device
from archipel.errors import DataError, OptionError
from archipel.evolve.quality import Sample
from archipel.recipes.proxylessnas.settings import Jobs
from archipel.recipes.space_compare import Settings, compare_spaces, read_table
from archipel.recipes.space_compare.settings import Judging, Sampling, Training
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.tasks import Classification, load

TINY = Settings(
    sampling=Sampling(networks=3),
    training=Training(epochs=2, batch=20, lr=0.1),
    judging=Judging(resamples=200),
    jobs=Jobs(workers=1),
)


def linear(widths: tuple[int, ...]) -> Any:
    def space(choose: Choose, *, classes: int = 10, channels: int = 1, size: int = 8) -> nn.Module:
        def layer(width: int) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, width), nn.Linear(width, classes))

        return choose.op("width", {f"w{width}": lambda width=width: layer(width) for width in widths})

    return space


@pytest.fixture(scope="module")
def task() -> Classification:
    return load("digits", images=200, test_images=20)


def done(task: Classification, path: Path, entries: Any, settings: Settings = TINY, **others: Any) -> dict[str, Any]:
    folder = RunFolder.open(path) if path.exists() else RunFolder.create(path, {}, "archipel space compare")
    with folder:
        return compare_spaces(folder, task, Device("cpu", 1), entries, settings, **others)


@pytest.fixture(scope="module")
def finished(task: Classification, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("compare") / "run"
    spaces = [("narrow", Space(linear((1, 2, 3, 4)))), ("wide", Space(linear((24, 32, 48))))]
    return path, done(task, path, spaces)


class TestComparison:
    def test_the_wider_space_is_the_better(self, finished: Any) -> None:
        _, result = finished
        narrow, wide = result["spaces"]
        assert (narrow["n"], wide["n"], narrow["size"]) == (3, 3, "4")
        assert wide["mean"]["mean"] < narrow["mean"]["mean"]
        assert wide["mean"]["low"] <= wide["mean"]["mean"] <= wide["mean"]["high"]
        (pair,) = result["pairs"]
        assert pair["distance"] == pair["second_leads"] > 0.5
        assert pair["first_leads"] == 0.0
        assert result["equalised"] is None
        assert narrow["best_of"][0]["mean"] == pytest.approx(narrow["mean"]["mean"])
        assert [best["draws"] for best in narrow["best_of"]] == [1, 2]
        assert narrow["edf"]["share"][-1] == pytest.approx(1.0)

    def test_networks_are_different_and_counted(self, finished: Any) -> None:
        path, result = finished
        for space in result["spaces"]:
            rows = space["networks"]
            assert len({row["architecture"]["width"] for row in rows}) == 3
            for row in rows:
                width = int(row["architecture"]["width"][1:])
                assert row["madds"] == 64 * width + 10 * width
                assert row["error"] == pytest.approx(1 - row["accuracy"])
        assert not list((path / "checkpoints").glob("*"))

    def test_a_kill_costs_one_network_at_most(self, finished: Any, task: Classification, tmp_path: Path) -> None:
        _, result = finished
        spaces = [("narrow", Space(linear((1, 2, 3, 4)))), ("wide", Space(linear((24, 32, 48))))]
        with RunFolder.create(tmp_path / "run", {}, "archipel space compare") as folder:
            mark, kept = folder.mark_done, []

            def killing(stage: str, content: Any) -> Any:
                kept.append(stage)
                if len(kept) == 5:
                    raise KeyboardInterrupt
                return mark(stage, content)

            folder.mark_done = killing  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                compare_spaces(folder, task, Device("cpu", 1), spaces, TINY)
        again = done(task, tmp_path / "run", spaces)
        for first, second in zip(result["spaces"], again["spaces"], strict=True):
            assert [row["error"] for row in first["networks"]] == [row["error"] for row in second["networks"]]
        assert again["pairs"] == result["pairs"]

    def test_what_was_trained_is_a_table_for_others(self, finished: Any, task: Classification, tmp_path: Path) -> None:
        path, result = finished
        held = read_table(str(path / "samples-wide.csv"))
        assert held.errors.tolist() == pytest.approx([row["error"] for row in result["spaces"][1]["networks"]])
        assert held.costs is not None
        again = done(task, tmp_path / "run", [("a", held), ("b", Sample("b", held.errors, held.costs))])
        assert "task" not in again
        assert (again["pairs"][0]["distance"], again["equalised"]["counts"]) == (0.0, [3, 3])
        assert again["spaces"][0]["mean_equalised"] is not None

    def test_dear_networks_are_left_out(self, task: Classification, tmp_path: Path) -> None:
        spaces = [("a", Space(linear((1, 2, 3, 48)))), ("b", Space(linear((1, 3, 4, 48))))]
        own = replace(TINY, sampling=Sampling(networks=4, most_madds=74 * 4), training=replace(TINY.training, epochs=0))
        result = done(task, tmp_path / "run", spaces, own)
        assert [space["n"] for space in result["spaces"]] == [3, 3]
        assert result["equalised"]["counts"] == [3, 2]
        none = replace(own, sampling=replace(own.sampling, most_madds=80.0))
        with pytest.raises(OptionError, match="fewer than two have at most 80 multiply-adds"):
            done(task, tmp_path / "none", spaces, none)

    @pytest.mark.parametrize(("cost", "unit"), [("parameters", "parameters"), ("latency", "ms")])
    def test_equal_amounts_of_another_cost(
        self, finished: Any, task: Classification, tmp_path: Path, cost: Any, unit: str
    ) -> None:
        """What was trained is not trained again: a folder's networks, judged by another cost."""
        spaces = [("narrow", Space(linear((1, 2, 3, 4)))), ("wide", Space(linear((24, 32, 48))))]
        path = tmp_path / "run"
        shutil.copytree(finished[0], path)
        own = replace(TINY, judging=replace(TINY.judging, cost=cost, rounds=2))
        result = done(task, path, spaces, own)
        assert result["cost"] == {"name": cost, "unit": unit}
        key = "ms" if cost == "latency" else cost
        for space in result["spaces"]:
            values = [row[key] for row in space["networks"]]
            assert min(values) > 0
            assert space["cost"] == pytest.approx(sum(values) / len(values))
            held = read_table(str(path / f"samples-{space['name']}.csv"), cost)
            assert held.costs is not None
            np.testing.assert_allclose(held.costs, values)
            if cost == "parameters":
                widths = [int(row["architecture"]["width"][1:]) for row in space["networks"]]
                assert values == [65 * width + 10 * (width + 1) for width in widths]
        assert done(task, path, spaces, own)["spaces"] == result["spaces"], "measured once"

    def test_one_space_alone(self, task: Classification, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="name two or more"):
            done(task, tmp_path / "run", [("a", Space(linear((1, 2))))])


class TestTables:
    def test_columns(self, tmp_path: Path) -> None:
        with (tmp_path / "a.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["accuracy", "flops", "test_err"], [90.0, 10, 0.2], [80.0, 20, 0.1]])
        plain = read_table(str(tmp_path / "a.csv"))
        assert plain.name == "a"
        np.testing.assert_allclose(plain.errors, [0.1, 0.2])
        np.testing.assert_allclose(plain.costs, [10, 20])
        named = read_table(f"{tmp_path}/a.csv:test_err:flops")
        np.testing.assert_allclose(named.errors, [0.2, 0.1])
        assert read_table(f"{tmp_path}/a.csv:test_err").costs is None
        assert read_table(f"{tmp_path}/a.csv", "latency").costs is None, "no column of that kind"
        np.savez(tmp_path / "b.npz", runs=np.array([[90.0, 92.0], [70.0, 72.0]]))
        np.testing.assert_allclose(read_table(f"{tmp_path}/b.npz:runs").errors, [0.09, 0.29])

    def test_mistakes(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("accurracy,name\n0.5,x\n")
        (tmp_path / "b.npz").write_bytes(b"no zip")
        for name, error, said in (
            ("a.csv", OptionError, r"which column of .* Write .*a.csv:COLUMN \(accurracy, name\)"),
            ("a.csv:accuracy", OptionError, "did you mean 'accurracy'"),
            ("a.csv:name", DataError, "does not hold numbers alone"),
            ("b.npz:x", DataError, "cannot be read"),
            ("c.csv", DataError, "there is no table"),
        ):
            with pytest.raises(error, match=said):
                read_table(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sampling(networks=1), "sampling.networks is 1"),
        (lambda: Sampling(most_madds=0.0), "sampling.most_madds is 0"),
        (lambda: Judging(top=0.0), "judging.top is 0"),
        (lambda: Judging(cost="latncy"), "judging.cost is 'latncy'; .* did you mean 'latency'"),  # type: ignore[arg-type]
        (lambda: Judging(rounds=0), "judging.rounds is 0"),
        (lambda: Judging(resamples=0), "judging.resamples is 0"),
    ],
)
def test_settings_out_of_range(make: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        make()
