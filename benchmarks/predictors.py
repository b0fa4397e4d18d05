"""Predictors on NAS-Bench-201: how well they rank 7,812 cells after seeing 78, 390 or 781 others.

    python benchmarks/predictors.py --data DIR [--images cifar10] [--seeds 5] [--counts 78 390 781] [--only gates]
    python benchmarks/predictors.py --data DIR --proxies 300

The cells are in the benchmark's order. Each seed draws its training cells from the first 7,813 and judges on all of the
others, which no choice of a setting was made on. Scores are test accuracies after 200 epochs, means over the training
runs. Kendall's τ_b stands with the 95 % interval of its mean over seeds (Student's t); which cells are drawn is part
of what varies. Rows marked `control` are what has to be beaten: parameters and MAdds, which need no score, and ridge
regression of the one-hot code.

Beside ours: `[M]` a quick build on the same table, 3 seeds; `[K]` the figures of Ning et al. (GATES, ECCV 2020) as
quoted from general knowledge, of which the first column of GATES and LSTM was reproduced. Published weak rows are no
floor: a plain perceptron does far better than the published one.

With `--proxies N`: zero-cost proxies on N of the test cells drawn at random, one cell a stage and half the width, on
images of CIFAR-10 from DIR; the interval is of the bootstrap over cells.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from archipel import Architecture, Space
from archipel.evaluators import Tabular, nasbench201
from archipel.evaluators.predictors import PREDICTORS, Predictor
from archipel.evaluators.predictors.metrics import kendall_tau, ranking
from archipel.evaluators.predictors.proxies import PROXIES
from archipel.evaluators.predictors.zero_cost import Madds, Parameters, ZeroCost
from archipel.spaces import nasbench201 as space_function
from archipel.tasks import load

FIRST = 7813
"""Cells that training sets are drawn from."""
COUNTS = (78, 390, 781)

QUICK = {
    "gates": {78: 0.709, 390: 0.803, 781: 0.865},
    "lstm": {78: 0.556, 390: 0.730, 781: 0.811},
    "mlp": {78: 0.610, 390: 0.753},
}
PUBLISHED = {
    "gates": {78: 0.7401, 390: 0.8627, 781: 0.8802},
    "lstm": {78: 0.555, 390: 0.641, 781: 0.727},
    "mlp": {78: 0.097, 390: 0.396, 781: 0.539},
}
PUBLISHED_PROXIES = {"parameters": 0.61, "jacobian_covariance": 0.61, "synflow": 0.57}
"""Ning et al., NeurIPS 2021, all cells `[T]`."""


class Column:
    """A figure of the table as a predictor that needs no scores."""

    def __init__(self, benchmark: Tabular, figure: str) -> None:
        self.benchmark, self.figure = benchmark, figure

    def fit(self, architectures: Sequence[Architecture], scores: torch.Tensor) -> None: ...

    def predict(self, architectures: Sequence[Architecture]) -> torch.Tensor:
        return torch.tensor([self.benchmark(a)[self.figure] for a in architectures], dtype=torch.float64)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval."""
    spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(np.mean(values)), float(student.ppf(0.975, max(1, len(values) - 1)) * spread)


def judged(
    make: Callable[[int], Predictor], benchmark: Tabular, scores: torch.Tensor, count: int, seed: int
) -> dict[str, float]:
    """One predictor that saw `count` cells, on all cells of the other half."""
    rows = random.Random(seed).sample(range(FIRST), count)
    test = range(FIRST, len(benchmark.architectures))
    began = time.process_time()
    model = make(seed)
    model.fit([benchmark.architectures[row] for row in rows], scores[rows])
    predicted = model.predict([benchmark.architectures[row] for row in test])
    return {**ranking(predicted, scores[FIRST:]), "seconds": time.process_time() - began}


def table(data: str, images: Any, counts: Sequence[int], seeds: int, only: Sequence[str]) -> list[dict[str, Any]]:
    benchmark = nasbench201(data, images)
    scores = torch.from_numpy(benchmark.figures["test_accuracy"]).double()
    space = benchmark.space
    makers: dict[str, Callable[[int], Predictor]] = {
        "parameters": lambda _: Column(benchmark, "parameters"),
        "madds": lambda _: Column(benchmark, "madds"),
    }
    makers |= {name: partial(make, space) for name, make in PREDICTORS.items()}
    found = []
    for name in only or makers:
        for count in counts:
            one = [judged(makers[name], benchmark, scores, count, seed) for seed in range(seeds)]
            mean, half = interval([figures["tau"] for figures in one])
            row = {"predictor": name, "n": count, "tau": mean, "half": half, "seeds": one}
            told = "  ".join(f"{key} {np.mean([f[key] for f in one]):.3f}" for key in ("sparse_tau", "P@5%"))
            ranks = "/".join(f"{np.median([f[key] for f in one]):.0f}" for key in ("N@5", "N@10"))
            beside = [
                f"{mark} {figures[name][count]:.3f}"
                for mark, figures in (("[M]", QUICK), ("[K]", PUBLISHED))
                if images == "cifar10" and count in figures.get(name, {})
            ]
            control = " control" if name in ("parameters", "madds", "ridge") else ""
            seconds = np.mean([f["seconds"] for f in one])
            print(
                f"  {name:15s} n {count:4d}  tau {mean:.4f} ± {half:.4f}  {told}  N@5/10 {ranks}  {seconds:5.1f} s"
                f"  {' '.join(beside)}{control}",
                flush=True,
            )
            found.append(row)
    return found


def proxies(data: str, images: Any, count: int, only: Sequence[str], batch: int = 32) -> list[dict[str, Any]]:
    benchmark = nasbench201(data, images)
    rows = random.Random(0).sample(range(FIRST, len(benchmark.architectures)), count)
    architectures = [benchmark.architectures[row] for row in rows]
    scores = benchmark.figures["test_accuracy"][rows]
    task = load("cifar10", root=Path(data) / "cifar10", images=1000, test_images=100)
    space = Space(space_function, cells=1, width=0.5)
    makers: dict[str, Callable[[], Predictor]] = {
        "parameters": lambda: Parameters(space),
        "madds": lambda: Madds(space, task.spec.input_shape),
    }
    makers |= {name: partial(ZeroCost, space, task, proxy, batch=batch) for name, proxy in PROXIES.items()}
    found = []
    for name in only or makers:
        began = time.process_time()
        predicted = makers[name]().predict(architectures).numpy()
        seconds = (time.process_time() - began) / count
        drawn = np.random.default_rng(0).integers(count, size=(200, count))
        taus = [kendall_tau(predicted[one], scores[one]) for one in drawn]
        low, high = np.nanpercentile(taus, [2.5, 97.5])
        tau = kendall_tau(predicted, scores)
        beside = f"[T] {PUBLISHED_PROXIES[name]:.2f}" if name in PUBLISHED_PROXIES else ""
        print(
            f"  {name:20s} tau {tau:.3f} ({low:.3f} to {high:.3f})  {1e3 * seconds:6.0f} ms a cell  {beside}",
            flush=True,
        )
        found.append({"proxy": name, "tau": tau, "low": low, "high": high, "seconds": seconds})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="the folder that holds nasbench201/ (and cifar10/ for --proxies)")
    parser.add_argument("--images", default="cifar10", choices=["cifar10", "cifar100", "imagenet16"])
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--proxies", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.proxies:
        found = proxies(given.data, given.images, given.proxies, given.only)
    else:
        found = table(given.data, given.images, given.counts, given.seeds, given.only)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
