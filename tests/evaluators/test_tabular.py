"""Benchmarks in tables: published optima and figures by architecture, and what is said of a file that is none."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError, DataError, EvaluationError, OptionError, TableError
from archipel.evaluators import (
    Objective,
    Tabular,
    nasbench201,
    nasbench201_devices,
    nasbench_graph,
    nasbench_macro,
    scores_of,
)
from archipel.space import Space
from archipel.spaces.nasbench201 import EDGES
from archipel.spaces.nasbench_graph import tree


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("ARCHIPEL_DATA")
    if folder is None:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    return Path(folder)


@pytest.mark.parametrize(
    ("images", "valid", "test"), [("cifar10", 91.61, 94.37), ("cifar100", 73.49, 73.51), ("imagenet16", 46.73, 47.31)]
)
def test_published_optima(data: Path, images, valid: float, test: float) -> None:
    benchmark = nasbench201(data, images)
    assert benchmark.best("valid_accuracy") == pytest.approx(valid, abs=0.005)
    assert benchmark.best("test_accuracy") == pytest.approx(test, abs=0.005)


class TestNasBench201:
    def test_every_architecture_has_its_own_row(self, data: Path) -> None:
        benchmark = nasbench201(data)
        assert len(set(benchmark.architectures)) == benchmark.space.size
        for row in (0, 1, 7_000, 15_624):
            architecture = benchmark.architectures[row]
            assert benchmark.row(architecture) == row
            assert benchmark.row(Architecture(dict(reversed(list(architecture.items()))))) == row
            assert benchmark(architecture)["test_accuracy"] == benchmark.figures["test_accuracy"][row]

    def test_rows_of_the_official_records(self, data: Path) -> None:
        """Index 0 of NATS-Bench: its string, seconds an epoch, and validation accuracy after 12 epochs."""
        short = nasbench201(data, epochs=12)
        first = dict(zip(EDGES, ["avg_pool_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_1x1"]))
        assert dict(short.architectures[0]).items() >= first.items()
        metrics = short(short.architectures[0])
        assert metrics["seconds"] == pytest.approx(12 * 7.221093, abs=1e-3)
        whole = nasbench201(data)(short.architectures[0])
        assert whole["seconds"] == pytest.approx(200 * 7.221093, abs=1e-2)
        assert metrics["test_accuracy"] == whole["test_accuracy"]
        assert metrics["valid_accuracy"] < whole["valid_accuracy"]

    def test_devices_are_objectives_made_smaller(self, data: Path) -> None:
        names = nasbench201_devices(data)
        assert len([name for name in names if name.endswith("_ms")]) >= 27
        benchmark = nasbench201(data, devices=("pixel3_ms", "eyeriss_energy_mj"))
        metrics = benchmark(benchmark.architectures[5])
        assert scores_of(metrics, benchmark.objectives) == (
            metrics["valid_accuracy"],
            -names["pixel3_ms"][5],
            -names["eyeriss_energy_mj"][5],
        )

    def test_what_a_device_does_not_run(self, data: Path) -> None:
        benchmark = nasbench201(data, devices=("edgetpu_latency_ms",))
        missing = int(np.isnan(benchmark.figures["edgetpu_latency_ms"]).argmax())
        with pytest.raises(EvaluationError, match="'nasbench201-cifar10' has no edgetpu_latency_ms of Architecture"):
            benchmark(benchmark.architectures[missing])

    def test_mistakes(self, data: Path) -> None:
        with pytest.raises(OptionError, match=r"no image set 'cifar' .*did you mean 'cifar10'"):
            nasbench201(data, "cifar")  # type: ignore[arg-type]
        with pytest.raises(OptionError, match="after 50 epochs; give 12 or 200"):
            nasbench201(data, epochs=50)  # type: ignore[arg-type]
        with pytest.raises(TableError, match=r"no figures of 'pixel3' .*did you mean 'pixel3_ms'"):
            nasbench201(data, devices=("pixel3",))
        with pytest.raises(DataError, match=r"there is no nasbench201.npz in"):
            nasbench201(data / "nasbench_macro")


class TestNasBenchGraph:
    @pytest.mark.parametrize(("graph", "test"), [("cora", 83.13), ("citeseer", 71.57), ("proteins", 79.26)])
    def test_optima(self, data: Path, graph: str, test: float) -> None:
        assert nasbench_graph(data, graph).best("test_accuracy") == pytest.approx(test, abs=0.005)

    def test_an_architecture_that_is_not_listed_is_one_that_is(self, data: Path) -> None:
        """Every one but the nine that do nothing."""
        benchmark = nasbench_graph(data, "proteins")
        assert len(benchmark.architectures) == 2_021
        nothing = [architecture for architecture in benchmark.space if not tree(architecture)]
        assert len(nothing) == 9
        for architecture in nothing:
            with pytest.raises(EvaluationError, match="has no network"):
                benchmark(architecture)
        for architecture in itertools.islice(benchmark.space, 0, None, 7):
            if architecture not in nothing:
                row = benchmark.row(architecture)
                assert tree(benchmark.architectures[row]) == tree(architecture)

    def test_latency_is_made_smaller(self, data: Path) -> None:
        benchmark = nasbench_graph(data, "cora", latency=True)
        first = benchmark(benchmark.architectures[0])
        assert first["latency_ms"] == pytest.approx(5.92224, abs=1e-4)
        assert scores_of(first, benchmark.objectives) == (first["valid_accuracy"], -first["latency_ms"])
        with pytest.raises(OptionError, match=r"has no data set 'corra' .* did you mean 'cora'"):
            nasbench_graph(data, "corra")


def test_nasbench_macro(data: Path) -> None:
    """The published optimum, in both of its spellings: an absent layer may stand anywhere in its stage."""
    benchmark = nasbench_macro(data)
    options = ("Identity", "MB3_K3", "MB6_K5")
    for code in ("22212220", "22212202"):
        architecture = Architecture({f"l{i}": options[int(digit)] for i, digit in enumerate(code)})
        assert (
            benchmark(architecture)["test_accuracy"]
            == benchmark.best("test_accuracy")
            == pytest.approx(93.127, abs=5e-4)
        )


class TestAnyTable:
    def table(self, space: Space, **changes) -> Tabular:
        architectures = list(space)
        figures = {"test_accuracy": np.linspace(0, 1, space.size), "ms": np.full(space.size, 2)}
        whole = Tabular("own", space, architectures, figures, (Objective("test_accuracy"),))
        return replace(whole, **changes)

    def test_of_every_small_space(self, small_space: Space) -> None:
        table = self.table(small_space)
        for row, architecture in enumerate(table.architectures):
            assert table(architecture) == {"test_accuracy": table.figures["test_accuracy"][row], "ms": 2.0}

    def test_an_architecture_of_another_space(self, small_space: Space) -> None:
        with pytest.raises(ArchitectureError, match="has no choice 'other'"):
            self.table(small_space)(Architecture(other="k3"))

    def test_an_objective_that_it_lacks(self, small_space: Space) -> None:
        with pytest.raises(OptionError, match=r"'own' has no metric 'accuracy' .*did you mean 'test_accuracy'"):
            self.table(small_space, objectives=(Objective("accuracy"),))

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "nasbench_macro.npz").write_text("no zip")
        with pytest.raises(DataError, match=r"is no .npz file of plain arrays"):
            nasbench_macro(tmp_path)
        np.savez(tmp_path / "nasbench_macro.npz", arch=np.zeros(3))
        with pytest.raises(DataError, match=r"has no array 'op_names' \(it has arch\)"):
            nasbench_macro(tmp_path)
