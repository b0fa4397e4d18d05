"""What AutoSpace's fitness is worth, and each of its parts: minutes to hours, by the data and the number of seeds.

    python benchmarks/autospace.py fidelity [--data DIR] [--cells 12] [--visits 7] [--epochs 6]
    python benchmarks/autospace.py ablations [--data DIR] [--seeds 5] [--networks 8] [--epochs 6]
    python benchmarks/autospace.py step [--data DIR] [--rounds 40]

`fidelity`: Kendall's τ of the fitness with what networks of one cell each reach alone, over all cells and over the
better half, with 95 % bootstrap intervals; beside it τ of multiply-adds, and of two trainings of the same networks.
`ablations`: spaces evolved with each use of the reference left out, with other weights and another sum, and random ones
of the same size, judged by random networks of each, trained alike. Every number is over all seeds. `step`: a weighted
sum of K cells, forward and backward, against the same K cells one after the other: lower deciles of CPU time over
interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archipel.cost import Device, kendall_tau
from archipel.evolve.dense import Frame, mixed
from archipel.evolve.gradient import GradientScorer
from archipel.evolve.population import Member
from archipel.evolve.search import References
from archipel.recipes import autospace
from archipel.recipes.autospace import PRESETS, Settings, preset_for
from archipel.recipes.result import figure
from archipel.recipes.space_compare import Settings as Comparing
from archipel.recipes.space_compare import compare_spaces
from archipel.recipes.space_compare.settings import Sampling, Training
from archipel.run.console import Terminal, table
from archipel.run.folder import RunFolder
from archipel.sharing import Optimisation, evaluate, train
from archipel.space import Space
from archipel.spaces.cell import Cell, reference
from archipel.spaces.cell_block import CellBlock
from archipel.spaces.evolved import CellSpace, Kept, load_space
from archipel.tasks import Classification, load

RESAMPLES = 2000


def interval(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Kendall's τ with its 95 % bootstrap interval over cells."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(first), size=len(first)) for _ in range(RESAMPLES)]
    taus = [t for rows in drawn if np.isfinite(t := kendall_tau(first[rows], second[rows]))]
    low, high = np.percentile(taus or [np.nan], [2.5, 97.5])
    return {"tau": kendall_tau(first, second), "low": float(low), "high": float(high)}


def fidelity(task: Classification, settings: Settings, cells: int, visits: int, epochs: int) -> dict[str, Any]:
    """Random cells, each in all blocks, judged side by side and alone."""
    size = task.spec.input_shape[1]
    backbone = autospace.backbone_of(settings, size)
    places = backbone.placements(size, settings.network.expand)
    rng = random.Random(0)
    most = [settings.network.cap * reference().madds(at) for at in places]
    found: list[Cell] = []
    while len(found) < cells:
        found.append(
            settings.cells.sample(
                rng,
                lambda cell: (
                    cell.canonical not in {c.canonical for c in found}
                    and all(cell.madds(at) <= cap for at, cap in zip(places, most))
                ),
            )
        )
    torch.manual_seed(0)
    frame = Frame(backbone, classes=len(task.spec.classes), channels=task.spec.input_shape[0])
    scorer = GradientScorer(frame, places, task, settings.judging, seed=0)
    layers = [[Member(reference(), 0), *(Member(cell, i) for i, cell in enumerate(found, 1))] for _ in places]
    others = settings.evolution.active - 1
    for turn in range(visits * -(-cells // others)):
        drawn = [sorted(members[1:], key=lambda m: (m.visits, rng.random()))[:others] for members in layers]
        scores, _ = scorer.score(turn, [[*few, members[0]] for few, members in zip(drawn, layers)])
        for few, values in zip(drawn, scores):
            for member, value in zip(few, values):
                member.judge(value - values[-1], settings.evolution.momentum)
    fitness = np.array([sum(members[i].fitness or 0.0 for members in layers) for i in range(1, cells + 1)])
    alone = np.array([[trained(task, backbone, cell, settings, epochs, seed) for cell in found] for seed in (0, 1)])
    costs = np.array([float(sum(cell.madds(at) for at in places)) for cell in found])
    truth = alone.mean(0)
    best = np.argsort(-truth)[: max(2, cells // 2)]
    return {
        "cells": [str(cell) for cell in found], "fitness": fitness.tolist(), "accuracy": alone.tolist(),
        "fitness_all": interval(fitness, truth), "fitness_better_half": interval(fitness[best], truth[best]),
        "madds_all": interval(costs, truth), "madds_better_half": interval(costs[best], truth[best]),
        "two_seeds": interval(alone[0], alone[1]),
    }  # fmt: skip


def trained(task: Classification, backbone: Any, cell: Cell, settings: Settings, epochs: int, seed: int) -> float:
    """Validation accuracy of the network that has this cell in every block."""
    kept = ((Kept(cell, settings.network.expand),),) * len(backbone.blocks)
    space = task.space(CellSpace(backbone, kept, zero=False, attention=settings.cells.mix).function)
    torch.manual_seed(seed)
    network = space.build(space.unrank(0))
    train(network, task, Optimisation(epochs=epochs, clip=5.0), title=f"{cell}, {seed}", seed=seed)
    return evaluate(network, task, "val").score


def step(task: Classification, settings: Settings, rounds: int) -> dict[str, Any]:
    """Milliseconds of K cells in a sum and alone, block by block."""
    size = task.spec.input_shape[1]
    backbone = autospace.backbone_of(settings, size)
    rng, rows = random.Random(0), {}
    for number, at in enumerate(backbone.placements(size, settings.network.expand), 1):
        torch.manual_seed(number)
        genes = [settings.cells.sample(rng) for _ in range(settings.evolution.active)]
        cells = [CellBlock(cell, at.c_in, at.c_out, expand=at.expand, stride=at.stride) for cell in genes]
        x = torch.randn(settings.judging.batch, at.c_in, at.side, at.side, requires_grad=True)
        weights = torch.full((len(cells),), 1 / len(cells), requires_grad=True)
        runs: list[Callable[[], Any]] = [
            lambda x=x, cells=cells, weights=weights: mixed(x, cells, weights).sum().backward(),
            *(lambda x=x, cell=cell: cell(x).sum().backward() for cell in cells),
        ]
        times: list[list[float]] = [[] for _ in runs]
        for _ in range(rounds):
            for held, run in zip(times, runs):
                begin = time.process_time()
                run()
                held.append(time.process_time() - begin)
        together, *alone = (1000 * float(np.percentile(held, 10)) for held in times)
        rows[f"b{number}"] = {"together": together, "alone": sum(alone), "ratio": together / sum(alone)}
    total = {key: sum(row[key] for row in rows.values()) for key in ("together", "alone")}
    return {**rows, "all": {**total, "ratio": total["together"] / total["alone"]}}


def without(name: str, own: Settings) -> Settings:
    """The settings without one of the reference's four uses."""
    return replace(own, evolution=replace(own.evolution, references=replace(References(), **{name: False})))


ARMS: dict[str, Callable[[Settings], Settings]] = {
    "as it is": lambda own: own,
    **{f"without {name}": partial(without, name) for name in ("seed", "anchor", "crossover", "keep")},
    "one visit": lambda own: replace(own, evolution=replace(own.evolution, visits=1, rescoring=0)),
    "bank": lambda own: replace(own, judging=replace(own.judging, weights="bank")),
    "fresh weights": lambda own: replace(own, judging=replace(own.judging, weights="fresh")),
    "raw alpha": lambda own: replace(own, judging=replace(own.judging, normalisation="raw")),
    "no budget": lambda own: replace(own, network=replace(own.network, budget=None)),
}


def ablations(
    task: Classification, settings: Settings, seeds: int, networks: int, epochs: int, out: Path, arms: Sequence[str]
) -> dict[str, Any]:
    """Mean error of random networks of each arm's spaces, seed by seed; random spaces are those of `as it is`."""
    device, progress = Device("cpu", 1), Terminal(quiet=True)
    spaces: dict[str, list[Space]] = {}
    for name in arms:
        path = out / name.replace(" ", "-")
        folder = RunFolder.open(path) if (path / "config.yaml").is_file() else RunFolder.create(path, {}, "ablations")
        with folder:
            result = autospace.run(folder, task, device, ARMS[name](settings), seeds=seeds, progress=progress)
        for kind in ("evolved", "random") if name == "as it is" else ("evolved",):
            files = [path / row[kind] for row in result["spaces"]]
            spaces[name if kind == "evolved" else "random"] = [task.space(load_space(file).function) for file in files]
    comparing = Comparing(sampling=Sampling(networks=networks), training=Training(epochs=epochs))
    entries = [(f"{name} {seed}", space) for name, found in spaces.items() for seed, space in enumerate(found)]
    path = out / "compare"
    folder = RunFolder.open(path) if (path / "config.yaml").is_file() else RunFolder.create(path, {}, "ablations")
    with folder:
        rows = compare_spaces(folder, task, device, entries, comparing, progress=progress)["spaces"]
    by_name = {row["name"]: row for row in rows}
    return {
        name: {key: figure([value(by_name[f"{name} {i}"]) for i in range(len(found))]) for key, value in _READ.items()}
        for name, found in spaces.items()
    }


_READ: dict[str, Callable[[dict[str, Any]], float]] = {
    "mean error": lambda row: row["mean"]["mean"],
    "least error": lambda row: row["least"],
    "error at equal cost": lambda row: float("nan") if row["mean_equalised"] is None else row["mean_equalised"],
    "million MAdds": lambda row: row["madds"] / 1e6,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fidelity", "ablations", "step"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, help="kept here, and gone on with")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = load(given.data, images=given.images)
    settings = PRESETS[preset_for(given.data)]
    if given.iterations is not None:
        settings = replace(settings, evolution=replace(settings.evolution, iterations=given.iterations))
    if given.what == "fidelity":
        found = fidelity(task, settings, given.cells, given.visits, given.epochs)
        rows = [[key, *(f"{found[key][part]:.2f}" for part in ("tau", "low", "high"))] for key in found if "_" in key]
        head = ["scores against accuracy alone", "τ", "low", "high"]
    elif given.what == "step":
        found = step(task, settings, given.rounds)
        head = ["block", "in a sum, ms", "alone, ms", "ratio"]
        rows = [[name, *(f"{value:.2f}" for value in row.values())] for name, row in found.items()]
    else:
        with tempfile.TemporaryDirectory() as kept:
            out = given.out or Path(kept)
            found = ablations(task, settings, given.seeds, given.networks, given.epochs, out, given.arms)
        head = ["arm", *_READ]
        rows = [[name, *(_spelt(value) for value in figures.values())] for name, figures in found.items()]
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        table(f"AutoSpace on {task.spec.name}", head, rows)


def _spelt(value: dict[str, Any] | None) -> str | None:
    return None if value is None else f"{value['mean']:.3f} ± {(value['high'] - value['low']) / 2:.3f}"


if __name__ == "__main__":
    main()
