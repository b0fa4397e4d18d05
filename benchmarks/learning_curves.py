"""What the first epochs say about the last, and what stopping saves: on published curves and in a search that trains.

    python benchmarks/learning_curves.py curves --data DIR [--seeds 5] [--set metaqnn_cifar10 …] [--method svr …]
    python benchmarks/learning_curves.py search [--strategy random …] [--seeds 5] [--trials 40] [--epochs 20]

`curves`: of the trainings that Baker et al. published (arXiv 1705.10823), R² of each regressor that was fitted on 100
of them and asked about the others after 10, 25 and 50 % of their epochs, three at least, and of the last score seen;
then the stop rule, with the first of the methods, over those others in random order: the share of their epochs that it
saves, how often the best of all is among those that were trained to their end, and by how much it is missed; beside
it, as a control, giving up after 25 % what is below the median of the 100 there.
`search`: strategies on 400 digits with cells of NAS-Bench-201, every network trained, with and without the stop rule,
which begins with ten whole trainings: epochs, and the best validation accuracy and the test accuracy of that network.
Means over seeds with 95 % t-intervals.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from archipel.evaluators import CurveStopping, SequentialRegression, Stopping, Trained
from archipel.evaluators.learning_curves import Method
from archipel.recipes.result import figure
from archipel.sharing.evaluation import evaluate
from archipel.sharing.training import Optimisation, seed_of, train
from archipel.spaces import nasbench201
from archipel.strategies import strategy
from archipel.tasks import load
from archipel.trials import Budget, search

SETS = ("metaqnn_cifar10", "metaqnn_svhn", "deep_resnets_cifar10", "deep_resnets_tinyimagenet", "lstm_ptb")
SHARES = (0.1, 0.25, 0.5)
TRAINED = 100


def published(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, F]` and curves `[N, T]`, larger is better: perplexities as minus their logarithm."""
    with gzip.open(folder / f"learning_curves/{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    scores = [column for column in rows[0] if column.startswith(("acc_", "ep_"))]
    features = [c for c in rows[0] if c not in scores and c not in ("net", "training_dataset", "base_model")]
    x, y = (np.array([[float(row[c] or "nan") for c in columns] for row in rows]) for columns in (features, scores))
    there = np.isfinite(x).all(1) & np.isfinite(y).all(1)
    return x[there], (-np.log(y[there]) if scores[0].startswith("ep_") else y[there])


def said(values: Sequence[float]) -> str:
    """Mean and half of the interval."""
    told = figure(values)
    return "none" if told is None else f"{told['mean']:.3f} ± {told['high'] - told['mean']:.3f}"


def explained(found: np.ndarray, truth: np.ndarray) -> float:
    return 1 - float(((found - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def curves(folder: Path, names: Sequence[str], methods: Sequence[Method], seeds: int) -> None:
    for name in names:
        features, whole = published(folder, name)
        epochs = whole.shape[1]
        seen = [max(3, round(share * epochs)) for share in SHARES]
        print(f"{name}: {len(whole)} trainings of {epochs} epochs; R² after {', '.join(map(str, seen))}")
        found: dict[str, list[list[float]]] = {method: [] for method in (*methods, "last score seen")}
        stopped, halved = [], []
        for seed in range(seeds):
            rows = np.random.default_rng(seed).permutation(len(whole))
            fitted, rest = rows[:TRAINED], rows[TRAINED:]
            for method in methods:
                own = SequentialRegression(method, seed=seed)
                own.fit(features[fitted], whole[fitted])
                asked = [own.predict(features[rest], whole[rest, :t]) for t in seen]
                found[method].append([explained(one, whole[rest, -1]) for one in asked])
            found["last score seen"].append([explained(whole[rest, t - 1], whole[rest, -1]) for t in seen])
            stopped.append(given_up(features, whole, fitted, rest, methods[0], seed))
            below = whole[rest, seen[1] - 1] < np.median(whole[fitted, seen[1] - 1])
            halved.append(outcome(whole, fitted, rest, np.where(below, seen[1], epochs)))
        for method, each in found.items():
            print(f"  {method:<18}" + "".join(f"{said(list(column)):>20}" for column in zip(*each)), flush=True)
        for rule, each in ((f"stopping by {methods[0]}", stopped), ("below the median", halved)):
            saved, best, short = (list(column) for column in zip(*each))
            print(f"  {rule} saves {said(saved)} of the epochs; the best is trained to its end in ", end="")
            print(f"{np.mean(best):.0%} of the seeds, and missed by {said(short)}", flush=True)


def given_up(
    features: np.ndarray, whole: np.ndarray, fitted: np.ndarray, rest: np.ndarray, method: Method, seed: int
) -> tuple[float, bool, float]:
    """Share of epochs saved, whether the best was trained to its end, and what the best that was falls short by."""
    own, epochs, ended = CurveStopping(Stopping(curves=TRAINED, method=method), seed=seed), whole.shape[1], []
    for row in fitted:
        own.learn(features[row], whole[row])
    for row in rest:
        asked = range(1, epochs, max(1, epochs // 20))  # as often as the shortest are
        stops = (t for t in asked if own.given_up(features[row], whole[row, :t], epochs) is not None)
        ended.append(next(stops, epochs))
        if ended[-1] == epochs:
            own.learn(features[row], whole[row])
    return outcome(whole, fitted, rest, np.array(ended))


def outcome(whole: np.ndarray, fitted: np.ndarray, rest: np.ndarray, ended: np.ndarray) -> tuple[float, bool, float]:
    """Share of epochs saved where those of `rest` end after `ended`, whether the best of all ran to its end, and by how
    much it is missed."""
    epochs = whole.shape[1]
    best = float(whole[[*fitted, *rest[ended == epochs]], -1].max())
    missed = float(whole[:, -1].max()) - best
    return 1 - float(ended.sum()) / (len(rest) * epochs), missed <= 0.0, missed


def trained(specs: Sequence[str], seeds: int, trials: int, epochs: int) -> None:
    for spec in specs:
        rows: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
        for seed in range(seeds):
            for stops in rows:
                task = load("digits", images=400)
                space = task.space(nasbench201, cells=1, width=0.5)
                options = Optimisation(epochs=epochs, batch=40, lr=0.1)
                evaluator = Trained(space, task, options, seed=seed, stopping=Stopping() if stops else None)
                went = search(strategy(spec, space, seed=seed), evaluator, Budget(trials=trials))
                figures = [step.trial.metrics or {} for step in went.steps]
                best = max(range(len(figures)), key=lambda i: figures[i]["valid_accuracy"])
                architecture = went.steps[best].trial.architecture
                torch.manual_seed(seed_of(seed, "weights", architecture.key))
                network = space.build(architecture)
                title = f"training {architecture.key}"
                train(network, task, options, title=title, seed=seed_of(seed, "training", architecture.key))
                test = 100 * evaluate(network, task, "test").score
                spent = sum(row["epochs"] for row in figures)
                rows[stops].append((spent, figures[best]["valid_accuracy"], test))
        print(f"{spec}, {trials} trials of {epochs} epochs, {seeds} seeds: epochs, best validation, its test accuracy")
        for stops, each in rows.items():
            text = "".join(f"{said(list(column)):>20}" for column in zip(*each))
            print(f"  {'stopping' if stops else 'to the end':<12}{text}", flush=True)
        pairs = list(zip(rows[True], rows[False]))
        print(f"  saved {said([1 - s[0] / w[0] for s, w in pairs])}", end="; ")
        print(f"difference in validation {said([s[1] - w[1] for s, w in pairs])}", end="; ")
        print(f"in test {said([s[2] - w[2] for s, w in pairs])}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("curves", "search"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--set", nargs="+", default=list(SETS))
    parser.add_argument("--method", nargs="+", choices=get_args(Method), default=list(get_args(Method)))
    parser.add_argument("--strategy", nargs="+", default=["random", "regularised_evolution"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    if given.what == "curves":
        curves(given.data, given.set, given.method, given.seeds)
    else:
        trained(given.strategy, given.seeds, given.trials, given.epochs)


if __name__ == "__main__":
    main()
