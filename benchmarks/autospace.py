"""What AutoSpace's fitness is worth, and each of its parts: minutes to hours, by the data and the number of seeds.

    python benchmarks/autospace.py fidelity [--data DIR] [--seeds 5] [--cells 12] [--visits 7] [--epochs 6]
    python benchmarks/autospace.py ablations [--data DIR] [--seeds 5] [--networks 4] [--epochs 6]
    python benchmarks/autospace.py step [--data DIR] [--rounds 40]

`fidelity`: how far the fitness of random cells agrees with what networks of one cell each reach alone, trained twice:
Kendall's τ over all cells and over the better half, and at equal cost (Kendall's partial τ, multiply-adds held fixed);
by each way of judging, beside what counting multiply-adds says and what the second training says of the first. Every
seed has cells of its own, and figures are means over seeds with 95 % t-intervals. `ablations`: spaces evolved with each
use of the reference left out, with other weights, sums and verdicts, and random ones of the same size, judged by random
networks of each, trained alike; figures over seeds, and differences to the evolution as it is by seed. `step`: a
weighted sum of K cells, forward and backward, against the same K cells one after the other: lower deciles of CPU time
over interleaved rounds.

With `--out` what was done is kept, and gone on with.
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
from torch import Tensor

from archipel.cost import Device, kendall_tau
from archipel.evolve.dense import Frame, mixed
from archipel.evolve.gradient import GradientScorer
from archipel.evolve.paths import PathScorer
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
from archipel.sharing.penalty import make_penalty
from archipel.space import Space
from archipel.spaces.cell import Cell, reference
from archipel.spaces.cell_block import CellBlock
from archipel.spaces.evolved import Backbone, CellSpace, Kept, load_space
from archipel.tasks import Classification, load

JUDGED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "penalty on cost": {"penalised": True},
    "α rests longer": {"resting": 2 / 3},
    "fresh weights": {"weights": "fresh"},
    "bank": {"weights": "bank"},
    "single paths": {"by": "paths"},
    "single paths, bank": {"by": "paths", "weights": "bank"},
}
"""Ways of judging: changes to the settings."""
EARLY = (1, 2)
"""Verdicts after which the fitness of the first way is read as well."""


def fidelity(
    task: Classification, settings: Settings, cells: int, visits: int, epochs: int, seeds: int, out: Path
) -> dict[str, Any]:
    """Row's name → figure's name → its mean over seeds with the interval."""
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        work = partial(_fidelity, task, settings, cells, visits, epochs, seed)
        for name, figures in once(out / f"fidelity-{seed}.json", work).items():
            for key, value in figures.items():
                found.setdefault(name, {}).setdefault(key, []).append(value)
    return {name: {key: figure(values) for key, values in figures.items()} for name, figures in found.items()}


def once(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, written now where it is not there."""
    if not path.is_file():
        content = json.dumps(work(), indent=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    held: dict[str, Any] = json.loads(path.read_text())
    return held


def _fidelity(
    task: Classification, settings: Settings, cells: int, visits: int, epochs: int, seed: int
) -> dict[str, dict[str, float]]:
    """Of one draw of random cells, each in all blocks, judged side by side and alone."""
    size = task.spec.input_shape[1]
    backbone = autospace.backbone_of(settings, size)
    places = backbone.placements(size, settings.network.expand)
    rng = random.Random(seed)
    most = [settings.network.cap * reference().madds(at) for at in places]
    found: list[Cell] = []
    while len(found) < cells:
        known = {cell.canonical for cell in found}

        def admits(cell: Cell, known: set[Any] = known) -> bool:
            return cell.canonical not in known and all(cell.madds(at) <= cap for at, cap in zip(places, most))

        found.append(settings.cells.sample(rng, admits))
    alone = [[trained(task, backbone, cell, settings, epochs, 2 * seed + turn) for cell in found] for turn in (0, 1)]
    first, second = map(np.array, alone)
    truth, costs = (first + second) / 2, np.array([float(sum(cell.madds(at) for at in places)) for cell in found])
    best = np.argsort(-truth, kind="stable")[: max(3, cells // 2)]

    def agrees(score: np.ndarray) -> dict[str, float]:
        return {
            "all": kendall_tau(score, truth),
            "better half": kendall_tau(score[best], truth[best]),
            "at equal cost": partial_tau(score, truth, costs),
        }

    rows = {"multiply-adds": {**agrees(costs), "at equal cost": float("nan")}}
    rows["a second training"] = {
        "all": kendall_tau(first, second),
        "better half": kendall_tau(first[best], second[best]),
        "at equal cost": partial_tau(first, second, costs),
    }
    for name, changes in JUDGED.items():
        scores = judged(task, settings, backbone, found, visits, seed, changes)
        if name == "as it is":
            rows |= {f"{count} verdict{'s' * (count > 1)}": agrees(scores[count]) for count in EARLY if count < visits}
        rows[f"{visits} verdicts" if not changes else name] = agrees(scores[visits])
    return rows


def judged(
    task: Classification,
    settings: Settings,
    backbone: Backbone,
    found: Sequence[Cell],
    visits: int,
    seed: int,
    changes: dict[str, Any],
) -> dict[int, np.ndarray]:
    """Number of verdicts → fitness `[cells]`, summed over blocks; everybody is judged equally often."""
    changes = dict(changes)
    places = backbone.placements(task.spec.input_shape[1], settings.network.expand)
    channels, classes = task.spec.input_shape[0], len(task.spec.classes)
    fixed = backbone.madds(task.spec.input_shape[1], classes=classes, channels=channels)
    whole = fixed + sum(reference().madds(at) for at in places)
    penalty = make_penalty(settings.penalty, whole) if changes.pop("penalised", False) else None
    own = replace(settings.judging, **changes)
    torch.manual_seed(seed)
    frame = Frame(backbone, classes=classes, channels=channels)
    judge = PathScorer if own.by == "paths" else GradientScorer
    scorer = judge(frame, places, task, own, penalty=penalty, fixed_madds=fixed, seed=seed)
    layers = [[Member(reference(), 0), *(Member(cell, i, parent=0) for i, cell in enumerate(found, 1))] for _ in places]
    others, rng = settings.evolution.active - 1, random.Random(seed)
    read: dict[int, dict[tuple[int, int], float]] = {}
    while any(member.visits < visits for members in layers for member in members[1:]):
        drawn = [sorted(members[1:], key=lambda m: (m.visits, rng.random()))[:others] for members in layers]
        turn = layers[0][0].visits
        scores, _ = scorer.score(turn, [[*few, members[0]] for few, members in zip(drawn, layers)])
        for block, (few, values) in enumerate(zip(drawn, scores)):
            layers[block][0].visits += 1
            for member, value in zip(few, values):
                member.judge(value - values[-1], settings.evolution.momentum)
                read.setdefault(member.visits, {})[block, member.number] = member.fitness or 0.0
    return {
        count: np.array([sum(at[block, i] for block in range(len(places))) for i in range(1, len(found) + 1)])
        for count, at in read.items()
        if count <= visits
    }


def partial_tau(first: np.ndarray, second: np.ndarray, held: np.ndarray) -> float:
    """Kendall's partial τ: how far two orders agree beyond what a third explains (Kendall, Biometrika 32, 1942)."""
    both, one, other = kendall_tau(first, second), kendall_tau(first, held), kendall_tau(second, held)
    rest = (1 - one**2) * (1 - other**2)
    return (both - one * other) / rest**0.5 if rest > 0 else float("nan")


def trained(task: Classification, backbone: Backbone, cell: Cell, settings: Settings, epochs: int, seed: int) -> float:
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
            partial(_backward, lambda x, cells=cells, weights=weights: mixed(x, cells, weights), x),
            *(partial(_backward, cell, x) for cell in cells),
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


def _backward(compute: Callable[[Tensor], Tensor], x: Tensor) -> None:
    compute(x).sum().backward()


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
    "α rests longer": lambda own: replace(own, judging=replace(own.judging, resting=2 / 3)),
    "single paths": lambda own: replace(own, judging=replace(own.judging, by="paths")),
}


def ablations(
    task: Classification, settings: Settings, seeds: int, networks: int, epochs: int, out: Path, arms: Sequence[str]
) -> dict[str, Any]:
    """Mean error of random networks of each arm's spaces, over seeds; random spaces are those of `as it is`."""
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
    figures = {
        name: {key: [value(by_name[f"{name} {i}"]) for i in range(len(found))] for key, value in _READ.items()}
        for name, found in spaces.items()
    }
    plain = figures.get("as it is", {}).get("mean error")
    for name, own in figures.items():
        if plain is not None and name != "as it is":
            own["mean error, less that of as it is"] = [a - b for a, b in zip(own["mean error"], plain)]
    return {name: {key: figure(values) for key, values in own.items()} for name, own in figures.items()}


_READ: dict[str, Callable[[dict[str, Any]], float]] = {
    "mean error": lambda row: row["mean"]["mean"],
    "least error": lambda row: row["least"],
    "error at equal cost": lambda row: float("nan") if row["mean_equalised"] is None else row["mean_equalised"],
    "million MAdds": lambda row: row["cost"] / 1e6,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fidelity", "ablations", "step"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--images", type=int)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", type=int, default=4)
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
    with tempfile.TemporaryDirectory() as kept:
        out = given.out or Path(kept)
        if given.what == "fidelity":
            asked = (given.cells, given.visits, given.epochs, given.seeds, out)
            found, first = fidelity(task, settings, *asked), "score against accuracy alone, τ"
        elif given.what == "step":
            found, first = step(task, settings, given.rounds), "block"
        else:
            asked = (given.seeds, given.networks, given.epochs, out, given.arms)
            found, first = ablations(task, settings, *asked), "arm"
    head = list(dict.fromkeys(key for figures in found.values() for key in figures))
    rows = [[name, *(_spelt(figures.get(key)) for key in head)] for name, figures in found.items()]
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        table(f"AutoSpace on {task.spec.name}", [first, *head], rows)


def _spelt(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None if value is None else f"{value:.2f}"
    return f"{value['mean']:.3f} ± {(value['high'] - value['low']) / 2:.3f}"


if __name__ == "__main__":
    main()
