"""Benchmarks whose every architecture was trained by their authors: an evaluation is a look into a table.

Letters: `N` architectures of the table, in the benchmark's own order.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from archipel.architecture import Architecture
from archipel.cost.published import device_figures
from archipel.errors import DataError, EvaluationError, OptionError, TableError, did_you_mean
from archipel.evaluators.evaluator import SECONDS, Metrics, Objective
from archipel.space import Space
from archipel.spaces import nasbench201 as nasbench201_space
from archipel.spaces import nasbench_macro as nasbench_macro_space
from archipel.spaces.nasbench201 import EDGES
from archipel.spaces.nasbench_graph import nasbench_graph as nasbench_graph_space
from archipel.spaces.nasbench_graph import tree

__all__ = [
    "BENCHMARKS", "GRAPHS", "IMAGES", "ImageSet", "Tabular", "nasbench201", "nasbench201_devices", "nasbench_graph",
    "nasbench_macro",
]  # fmt: skip

VALID, TEST = "valid_accuracy", "test_accuracy"

ImageSet = Literal["cifar10", "cifar100", "imagenet16"]
IMAGES: dict[ImageSet, str] = {"cifar10": "cifar10valid", "cifar100": "cifar100", "imagenet16": "imagenet16"}
"""Image sets of NAS-Bench-201, and what its training seconds are of: for CIFAR-10 of the half that leaves a validation
split."""


@dataclass(frozen=True, eq=False)
class Tabular:
    """An evaluator that looks every architecture of a space up.

    >>> benchmark = nasbench_macro("DATA")  # doctest: +SKIP
    >>> benchmark(benchmark.architectures[0])  # doctest: +SKIP
    {'test_accuracy': 45.36, 'parameters': 387882.0, 'madds': 7713280.0}
    """

    name: str
    space: Space
    architectures: Sequence[Architecture]
    """`N`, in the benchmark's own order."""
    figures: Mapping[str, np.ndarray]
    """Metric → `[N]`. What is not finite the benchmark does not have."""
    objectives: tuple[Objective, ...]
    judged: str = TEST
    """The metric by which a finished search is judged: a search may not see it."""
    network: Callable[[Architecture], Hashable] | None = None
    """What two architectures have in common that are one network, of which the table has one; None: none are."""

    def __post_init__(self) -> None:
        for objective in self.objectives:
            if objective.metric not in self.figures:
                raise OptionError(
                    f"benchmark '{self.name}' has no metric '{objective.metric}' ({', '.join(self.figures)})"
                    f"{did_you_mean(objective.metric, self.figures)}"
                )

    def __call__(self, architecture: Architecture, /) -> Metrics:
        metrics = self._records[self.row(architecture)]
        for objective in self.objectives:
            if not isfinite(metrics[objective.metric]):
                raise EvaluationError(f"benchmark '{self.name}' has no {objective.metric} of {architecture!r}")
        return metrics

    def row(self, architecture: Architecture) -> int:
        """Where an architecture stands in `architectures` and in every figure.

        Raises:
            ArchitectureError: it does not fit the space.
            EvaluationError: the table does not have its network.
        """
        row = self._rows.get(architecture)
        if row is None:
            canonical = self.space.canonical(architecture)
            row = self._rows.get(canonical)
            if row is None and self.network is not None:
                row = self._networks.get(self.network(canonical))
        if row is None:
            raise EvaluationError(f"benchmark '{self.name}' has no network {architecture!r}")
        return row

    def best(self, metric: str) -> float:
        """The largest figure of all architectures."""
        return float(np.nanmax(self.figures[metric]))

    @cached_property
    def _rows(self) -> dict[Architecture, int]:
        return {architecture: row for row, architecture in enumerate(self.architectures)}

    @cached_property
    def _networks(self) -> dict[Hashable, int]:
        assert self.network is not None
        return {self.network(architecture): row for row, architecture in enumerate(self.architectures)}

    @cached_property
    def _records(self) -> list[dict[str, float]]:
        columns = [values.astype(float).tolist() for values in self.figures.values()]
        return [dict(zip(self.figures, row)) for row in zip(*columns)]


def nasbench201(
    data: str | Path, images: ImageSet = "cifar10", *, epochs: Literal[12, 200] = 200, devices: Sequence[str] = ()
) -> Tabular:
    """NAS-Bench-201 (Dong and Yang, ICLR 2020): a search sees validation accuracies and is judged by the test accuracy.

    Splits are the benchmark's: `valid_accuracy` is of networks trained on half of CIFAR-10's training images, or on all
    of CIFAR-100's or ImageNet16-120's, on its x-valid images; `test_accuracy` always after 200 epochs, of CIFAR-10 on
    the test images after training on all others, of the others on the x-test half. Means over the training seeds.
    `seconds` are those that the authors trained; their passes over the validation images are not in the file.

    Args:
        data: the file `nasbench201.npz`, its folder, or the folder above that.
        epochs: of the training that `valid_accuracy` and `seconds` are of: 12 is what the published searches see.
        devices: further objectives, made smaller: figures of `nasbench201_devices`.

    Raises:
        DataError: there is no such file, or it is damaged.
        OptionError: no such image set or number of epochs.
        TableError: no such device.
    """
    if images not in IMAGES:
        raise OptionError(
            f"NAS-Bench-201 has no image set '{images}' ({', '.join(IMAGES)}){did_you_mean(images, IMAGES)}"
        )
    if epochs not in (12, 200):
        raise OptionError(f"NAS-Bench-201 has no accuracies after {epochs} epochs; give 12 or 200")
    table = _arrays(_found(data, "nasbench201"), "ops", "op_names", f"test200_{images}", f"valid{epochs}_{images}")
    names = [name.decode("ascii") for name in table["op_names"]]
    figures = {
        VALID: table[f"valid{epochs}_{images}"],
        TEST: table[f"test200_{images}"],
        SECONDS: table[f"train_seconds200_{IMAGES[images]}"] * epochs / 200,
        "parameters": table[f"params_M_{images}"] * 1e6,
        "madds": table[f"flops_M_{images}"] * 1e6,
    }
    held = nasbench201_devices(data) if devices else {}
    for device in devices:
        if device not in held:
            raise TableError(
                f"NAS-Bench-201 has no figures of '{device}' ({', '.join(held)}){did_you_mean(device, held)}"
            )
        figures[device] = held[device]
    return Tabular(
        f"nasbench201-{images}",
        Space(nasbench201_space),
        [Architecture(dict(zip(EDGES, [names[op] for op in row]))) for row in table["ops"].tolist()],
        figures,
        (Objective(VALID), *(Objective(device, maximise=False) for device in devices)),
    )


def nasbench201_devices(data: str | Path) -> dict[str, np.ndarray]:
    """Measured cost of NAS-Bench-201's networks: name → `[15625]`, milliseconds (`_ms`) or millijoules (`_mj`).

    27 devices of HELP (`pixel3_ms`) and the figures of HW-NAS-Bench (`eyeriss_energy_mj`); NaN where a source has none.

    Args:
        data: the folder that `hw_latency` is in, that folder itself, or a file or folder beside it.

    Raises:
        TableError: there are no such files.
    """
    given = Path(data).expanduser().absolute()
    tables = next((f / "hw_latency" for f in (given, *given.parents[:2]) if (f / "hw_latency").is_dir()), given)
    help_ = {f"{name}_ms": values for name, values in device_figures(tables / "help_nasbench201.npz").items()}
    own = device_figures(tables / "hw_nasbench201_cifar10.npz")
    return {name: np.where(values < 0, np.nan, values) for name, values in (help_ | own).items()}


def nasbench_macro(data: str | Path) -> Tabular:
    """NAS-Bench-Macro (Su et al., CVPR 2021): mean CIFAR-10 test accuracy of three runs, which a search sees too: the
    benchmark has no validation split.

    Args:
        data: the file `nasbench_macro.npz`, its folder, or the folder above that.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    table = _arrays(_found(data, "nasbench_macro"), "arch", "op_names", "mean_acc", "params", "flops")
    names = [name.decode("ascii") for name in table["op_names"]]
    space = Space(nasbench_macro_space)
    layers = [choice.name for choice in space.choices]
    return Tabular(
        "nasbench_macro",
        space,
        [Architecture(dict(zip(layers, [names[op] for op in row]))) for row in table["arch"].tolist()],
        {TEST: table["mean_acc"], "parameters": table["params"], "madds": table["flops"]},
        (Objective(TEST),),
    )


GRAPHS: tuple[str, ...] = (
    "cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins",
)  # fmt: skip
"""Data sets of NAS-Bench-Graph."""


def nasbench_graph(data: str | Path, graph: str = "cora", *, latency: bool = False) -> Tabular:
    """NAS-Bench-Graph (Qin et al., NeurIPS 2022 Datasets and Benchmarks, arXiv 2206.09166): 26,206 graph networks on
    nine data sets, 2,021 of five operations on proteins. A search sees the validation accuracy and is judged by the
    test accuracy (of proteins, areas under the ROC curve), means of three seeds. 59,049 architectures are so many
    networks: those that compute the same are one, and nine that do nothing the table does not have.

    Args:
        data: the file `nasbench_graph.npz`, its folder, or the folder above that.
        latency: as a second objective, made smaller: `latency_ms`.

    Raises:
        DataError: there is no such file, or it is damaged.
        OptionError: no such data set.
    """
    if graph not in GRAPHS:
        raise OptionError(
            f"NAS-Bench-Graph has no data set '{graph}' ({', '.join(GRAPHS)}){did_you_mean(graph, GRAPHS)}"
        )
    own = "_proteins" if graph == "proteins" else ""
    links, operations = f"link{own}", f"ops{own}"
    measured = [f"{graph}_{name}" for name in ("valid_perf", "test_perf", "latency", "para")]
    table = _arrays(_found(data, "nasbench_graph"), links, operations, "link_patterns", "op_names", *measured)
    names = [name.decode("ascii") for name in table["op_names"]]
    patterns = ["".join(map(str, row)) for row in table["link_patterns"].tolist()]
    offered = [names[i] for i in sorted(set(table[operations].ravel().tolist()))]
    valid, test, seconds, millions = (table[name] for name in measured)
    second = (Objective("latency_ms", maximise=False),) if latency else ()
    return Tabular(
        f"nasbench_graph-{graph}",
        Space(nasbench_graph_space, operations=tuple(offered)),
        [
            Architecture({"links": patterns[link], **{f"n{j}": names[op] for j, op in enumerate(ops, 1)}})
            for link, ops in zip(table[links].tolist(), table[operations].tolist())
        ],
        {VALID: 100 * valid, TEST: 100 * test, "latency_ms": 1000.0 * seconds, "parameters": 1e6 * millions},
        (Objective(VALID), *second),
        network=tree,
    )


BENCHMARKS: dict[str, Callable[..., Tabular]] = {
    "nasbench201": nasbench201,
    "nasbench_macro": nasbench_macro,
    "nasbench_graph": nasbench_graph,
}


def _found(data: str | Path, name: str) -> Path:
    given = Path(data).expanduser()
    for path in (given, given / f"{name}.npz", given / name / f"{name}.npz"):
        if path.is_file():
            return path
    raise DataError(f"there is no {name}.npz in '{data}'; name the file, its folder, or the folder above that")


def _arrays(path: Path, *needed: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' is no .npz file of plain arrays ({' '.join(str(error).split())})") from error
    for name in needed:
        if name not in held:
            raise DataError(f"'{path}' has no array '{name}' (it has {', '.join(held) or 'none'})")
    return held
