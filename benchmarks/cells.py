"""Cells that are searched by training their networks on digits, each method beside random search: minutes to an hour.

    python benchmarks/cells.py pnas [--seeds 3] [--beam 12] [--epochs 2]
    python benchmarks/cells.py ppo [--seeds 3] [--trials 40] [--epochs 2]
    python benchmarks/cells.py motifs [--seeds 3] [--trials 60] [--epochs 2]
    python benchmarks/cells.py layers [--seeds 5] [--trials 60] [--epochs 5]

`pnas`: cells of one to three blocks and three operations, progressive widening with both predictors; the best of as
many random cells of three blocks beside it; and Spearman's ρ of each predictor, fitted on all cells known before a
size, on that size, and, fitted on half of them, on the other half. `ppo`: cells of ENAS, validation accuracy of the
first ten, of the last ten, and the best, beside random cells. `motifs`: hierarchical and flat cells, tournament
evolution and random search. `layers`: NAS-RL's strings of three layers, the mean reward (cube of the accuracy) of the
first ten and of the last ten and by how much it grew, then the accuracy of the last ten and the best, beside random
strings. Every network trains from scratch on all digits; accuracies are those on validation images, in per cent; all
figures are means over seeds with 95 % t-intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import torch
from scipy.stats import spearmanr
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.evaluators import Trained
from archipel.evaluators.predictors import Ensemble
from archipel.evaluators.predictors.blocks import block_lstm, block_mean
from archipel.recipes.result import figure
from archipel.sharing.training import Optimisation
from archipel.space import Space
from archipel.spaces import enas, hierarchical, nas_rl
from archipel.spaces.two_input import Rule, stacked
from archipel.strategies import strategy
from archipel.tasks import load
from archipel.trials import Budget, search

OPERATIONS = ("skip_connect", "conv_3x3", "max_pool_3x3")


def growing(choose: Choose, *, classes: int, channels: int, size: int, grows: bool = True) -> nn.Module:
    """PNAS' cells with three operations, of up to three blocks, or of three."""
    rule = Rule(OPERATIONS, unread=False, alike=True, grows=grows)
    return stacked(
        choose, rule, cells=1, blocks=3, filters=8, classes=classes, channels=channels, size=size, drop_path=0.0,
        dropout=0.0,
    )  # fmt: skip


def said(values: Sequence[float], digits: int = 2) -> str:
    """Mean and half of the interval."""
    told = figure(values)
    return "none" if told is None else f"{told['mean']:.{digits}f} ± {told['high'] - told['mean']:.{digits}f}"


def trained(spec: str, space: Space, seed: int, trials: int, epochs: int) -> list[tuple[Architecture, float]]:
    """What a strategy tried, in that order, and what it came to."""
    evaluator = Trained(space, load("digits"), Optimisation(epochs=epochs, batch=20, lr=0.05), seed=seed)
    steps = search(strategy(spec, space, seed=seed), evaluator, Budget(trials=trials)).steps
    return [
        (step.trial.architecture, (step.trial.metrics or {"valid_accuracy": 0.0})["valid_accuracy"]) for step in steps
    ]


def pnas(seeds: int, beam: int, epochs: int) -> None:
    task = load("digits")
    space = task.space(growing)
    fixed = task.space(growing, grows=False)
    first = len(OPERATIONS) * 2
    trials = first * (first + 1) // 2 + 2 * beam
    best: dict[str, list[float]] = {"pnas,using=lstm": [], "pnas,using=mlp": [], "random": []}
    rho: dict[tuple[str, int, str], list[float]] = {}
    for seed in range(seeds):
        for spec, found in best.items():
            own = fixed if spec == "random" else space
            full = spec if spec == "random" else f"{spec},beam={beam}"
            told = trained(full, own, seed, trials, epochs)
            found.append(max(score for _, score in told))
            if spec == "pnas,using=lstm":
                for name, made in (("lstm", block_lstm), ("mlp", block_mean)):
                    for size in (2, 3):
                        for kind, value in correlations(made, space, told, size, seed).items():
                            rho.setdefault((name, size, kind), []).append(value)
    print(f"{trials} trials of {epochs} epochs, {seeds} seeds: best validation accuracy")
    for spec, values in best.items():
        print(f"  {spec:<18}{said(values):>16}", flush=True)
    for (name, size, kind), values in rho.items():
        print(f"  ρ of {name}, fitted on cells below {size} blocks, {kind:<10}{said(values):>16}", flush=True)


def correlations(
    made: Callable[..., torch.nn.Module], space: Space, told: list[tuple[Architecture, float]], size: int, seed: int
) -> dict[str, float]:
    """ρ on half of the cells below a size, of which it saw the other half, and on those of the size, of which none."""
    below = [row for row in told if row[0]["cell.blocks"] < size]
    model = Ensemble(lambda own: made(space, seed=own), share=0.8, seed=seed)
    groups = {
        "seen sizes": (below[::2], below[1::2]),
        "one more": (below, [r for r in told if r[0]["cell.blocks"] == size]),
    }
    found = {}
    for kind, (known, asked) in groups.items():
        model.fit([a for a, _ in known], torch.tensor([score for _, score in known], dtype=torch.float64))
        found[kind] = float(spearmanr(model.predict([a for a, _ in asked]).numpy(), [score for _, score in asked])[0])
    return found


def ppo(seeds: int, trials: int, epochs: int) -> None:
    space = load("digits").space(enas, cells=1, blocks=2, filters=8)
    print(f"{trials} trials of {epochs} epochs, {seeds} seeds: first ten, last ten, best")
    for spec in ("ppo", "random"):
        rows = []
        for seed in range(seeds):
            scores = [score for _, score in trained(spec, space, seed, trials, epochs)]
            rows.append((sum(scores[:10]) / 10, sum(scores[-10:]) / 10, max(scores)))
        print(f"  {spec:<10}" + "".join(f"{said(column):>16}" for column in zip(*rows)), flush=True)


def motifs(seeds: int, trials: int, epochs: int) -> None:
    task = load("digits")
    spaces = {
        "hierarchical": task.space(hierarchical, motifs=3, motif_nodes=3, nodes=4, filters=8),
        "flat": task.space(hierarchical, motifs=0, nodes=7, filters=8),
    }
    print(f"{trials} trials of {epochs} epochs, {seeds} seeds: best validation accuracy, mean of the last ten")
    for name, space in spaces.items():
        for spec in ("tournament_evolution", "random"):
            rows = []
            for seed in range(seeds):
                scores = [score for _, score in trained(spec, space, seed, trials, epochs)]
                rows.append((max(scores), sum(scores[-10:]) / 10))
            print(f"  {name:<14}{spec:<22}" + "".join(f"{said(column):>16}" for column in zip(*rows)), flush=True)


def layers(seeds: int, trials: int, epochs: int) -> None:
    space = load("digits").space(nas_rl, layers=3, width=0.25)
    print(f"{trials} trials of {epochs} epochs, {seeds} seeds: reward of the first ten, last ten, gain; last ten, best")
    for spec in ("nas_rl", "random"):
        rows = []
        for seed in range(seeds):
            scores = [score for _, score in trained(spec, space, seed, trials, epochs)]
            rewards = [(score / 100) ** 3 for score in scores]
            first, last = sum(rewards[:10]) / 10, sum(rewards[-10:]) / 10
            rows.append((first, last, last - first, sum(scores[-10:]) / 10, max(scores)))
        print(f"  {spec:<10}" + "".join(f"{said(column, 3):>18}" for column in zip(*rows)), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pnas", "ppo", "motifs", "layers"))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--beam", type=int, default=12)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    if given.what == "pnas":
        pnas(given.seeds or 3, given.beam, given.epochs or 2)
    elif given.what == "ppo":
        ppo(given.seeds or 3, given.trials or 40, given.epochs or 2)
    elif given.what == "motifs":
        motifs(given.seeds or 3, given.trials or 60, given.epochs or 2)
    else:
        layers(given.seeds or 5, given.trials or 60, given.epochs or 5)


if __name__ == "__main__":
    main()
