"""The published means of NATS-Bench, and which differences between its runs and ours they depend on: minutes.

    python benchmarks/published_means.py --data DIR [--seeds 400] [--images cifar10 …] [--only random …]

Every search runs under the published protocol (`archipel bench nasbench201`): accuracies after 12 epochs, simulated
seconds, and what looked best is judged by its test accuracy after 200. Beside it, by how many standard errors of the
difference its mean is off the published one (500 runs; recalled, not checked). Rows:

`as the bench`: our protocol. `node first`: regularised evolution mutates as NATS-Bench's code does: it draws a node,
then one of the edges into it, so that edges into early nodes move more often. `with validation`: each trial costs its
pass over the validation images too, taken as a third of an epoch. `one run`: on CIFAR-10 NATS-Bench has two runs of 12
epochs of each cell, and shows a search one of them, drawn at random; our file has their mean. How far from it the two
lie is not in the file. It is drawn for each cell and search, normal, with the standard deviation that those means have
within classes of isomorphic cells of like accuracy: the distance of two runs from their mean varies as the mean itself
does. A cell that is proposed again shows the same run again; theirs draws anew. `all of it`: these together.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from archipel.architecture import Architecture
from archipel.evaluators import SECONDS, Metrics, Objective, Tabular, nasbench201
from archipel.evaluators.tabular import IMAGES, VALID, ImageSet
from archipel.recipes.bench.published import PUBLISHED
from archipel.recipes.bench.settings import SECONDS as BUDGETS
from archipel.space import Space
from archipel.strategies import strategy
from archipel.trials import Budget, search

RUNS = 500
"""Of each published mean."""
STRATEGIES = {
    "random": "random",
    "regularised_evolution": "regularised_evolution",
    "reinforce": "reinforce,learning_rate=0.01",
}
BANDS = np.array([0, 40, 60, 70, 75, 78, 80, 81, 82])
"""Accuracies after 12 epochs; within a band all cells are as noisy."""


@dataclass(frozen=True)
class NodeFirst:
    """NAS-Bench-201's space as NATS-Bench's code mutates it."""

    space: Space

    def sample(self, rng: random.Random) -> Architecture:
        return self.space.sample(rng)

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        node = rng.randint(1, 3)
        edge = f"e{rng.randrange(node)}{node}"
        (choice,) = [choice for choice in self.space.choices if choice.name == edge]
        return architecture.replace(**{edge: rng.choice(list(choice.alternatives(architecture[edge])))})


def noise(table: Tabular, file: Path) -> np.ndarray:
    """Standard deviation of one run around the mean of two, `[15625]`."""
    with np.load(file, allow_pickle=False) as held:
        classes = held["iso_class"].astype(int)
    seen, count = table.figures[VALID], np.bincount(classes)
    mean = (np.bincount(classes, seen) / np.maximum(count, 1))[classes]
    band = np.digitize(mean, BANDS)
    spread = np.zeros(len(seen))
    for one in np.unique(band):
        several = (band == one) & (count[classes] > 1)
        freedom = several.sum() - len(np.unique(classes[several]))
        spread[band == one] = np.sqrt(((seen - mean)[several] ** 2).sum() / freedom)
    return spread


@dataclass(frozen=True)
class OneRun:
    """What a search sees of a table whose every validation accuracy is one run's."""

    table: Tabular
    off: np.ndarray
    """How far that run lies from the mean, `[15625]`."""

    @property
    def space(self) -> Space:
        return self.table.space

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.table.objectives

    def __call__(self, architecture: Architecture, /) -> Metrics:
        metrics = self.table(architecture)
        return {**metrics, VALID: metrics[VALID] + float(self.off[self.table.row(architecture)])}


def found(
    table: Tabular, spec: str, budget: Budget, seed: int, *, node: bool = False, spread: np.ndarray | None = None
) -> float:
    """Test accuracy of what one search finds."""
    off = np.zeros(len(table.architectures)) if spread is None else np.random.default_rng(seed).normal(0, spread)
    own = strategy(spec, table.space, seed=seed)
    if node:
        own.space = NodeFirst(table.space)  # type: ignore[attr-defined]
    known = [step.trial.metrics or {} for step in search(own, OneRun(table, off), budget).steps]
    return max(known, key=lambda metrics: metrics[VALID])[table.judged]


def rows(data: Path, images: ImageSet, name: str, seeds: int) -> None:
    table = nasbench201(data, images, epochs=12)
    (paper,) = [row for row in PUBLISHED if (row.images, row.strategy) == (images, name) and "NATS" in row.source]
    longer = replace(table, figures={**table.figures, SECONDS: table.figures[SECONDS] * (1 + 1 / 36)})
    go = partial(found, spec=STRATEGIES[name], budget=Budget(seconds=BUDGETS[images], repeats=True))
    variants = {"as the bench": partial(go, table), "with validation": partial(go, longer)}
    if name == "regularised_evolution":
        variants["node first"] = partial(go, table, node=True)
    if images == "cifar10":
        spread = noise(table, data / "nasbench201" / "nasbench201.npz")
        variants["one run"] = partial(go, table, spread=spread)
        variants["all of it"] = partial(go, longer, spread=spread, node=name == "regularised_evolution")
    for said, one in variants.items():
        values = np.array([one(seed=seed) for seed in range(seeds)])
        error = values.std(ddof=1) / seeds**0.5
        off = (values.mean() - paper.test) / np.hypot(error, paper.spread / RUNS**0.5)
        print(
            f"{images:<12}{name:<24}{said:<18}{values.mean():8.3f} ± {error:.3f} (deviation {values.std(ddof=1):.2f})"
            f"   published {paper.test:.2f} ± {paper.spread / RUNS**0.5:.3f} ({paper.spread:.2f})   {off:+.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds nasbench201/")
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--images", nargs="+", default=list(IMAGES), choices=list(IMAGES))
    parser.add_argument("--only", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    given: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    chosen: Sequence[str] = given.only
    for images in (each for each in IMAGES if each in given.images):
        for name in chosen:
            rows(given.data, images, name, given.seeds)


if __name__ == "__main__":
    main()
