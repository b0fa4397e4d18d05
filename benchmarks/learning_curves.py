"""What the first epochs say about the last, and what stopping saves: on published curves and in a search that trains.

    python benchmarks/learning_curves.py curves --data DIR [--seeds 5] [--set metaqnn_cifar10 …] [--method svr …]
    python benchmarks/learning_curves.py rules --data DIR [--seeds 40] [--set metaqnn_cifar10 …] [--rule curves …]
    python benchmarks/learning_curves.py search --kept FILE [--strategy random …] [--seeds 5] [--trials 40] [--rule …]

`curves`: of the trainings that Baker et al. published (arXiv 1705.10823), R² of each regressor that was fitted on 100
of them and asked about the others after 10, 25 and 50 % of their epochs, three at least, and of the last score seen.
`rules`: searches of 40 of those trainings, in random order, of which each rule gives up what it will: the share of
their epochs that it saves, how often the best of the 40 is trained to its end, and by how much it is missed.
`search`: strategies on digits with cells of NAS-Bench-201, trained as `archipel search trials` trains them, under each
rule and under none: epochs saved, the best validation accuracy, and the test accuracy of that network, by seed. What a
network comes to depends on itself and the seed alone, so each is trained once, kept in FILE, and read epoch by epoch.
`curves` is the default, `sure` and `bold` are the same at 95 and 80 % confidence, `paper` is the paper's rule: ν-SVR,
asked once, after ten whole trainings. Means over seeds with 95 % t-intervals.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost import madds, parameters
from archipel.evaluators import Curve, Metrics, Objective, Stopping, rule
from archipel.evaluators.learning_curves import Curves, Method, regression
from archipel.recipes.result import figure
from archipel.recipes.trials.settings import PRESETS
from archipel.sharing.evaluation import evaluate
from archipel.sharing.training import seed_of, train
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
        for seed in range(seeds):
            rows = np.random.default_rng(seed).permutation(len(whole))
            fitted, rest = rows[:TRAINED], rows[TRAINED:]
            for method in methods:
                own = regression(method, seed=seed)
                own.fit(Curves(features[fitted], whole[fitted]))
                asked = [own.predict(Curves(features[rest], whole[rest, :t])) for t in seen]
                found[method].append([explained(one, whole[rest, -1]) for one in asked])
            found["last score seen"].append([explained(whole[rest, t - 1], whole[rest, -1]) for t in seen])
        for method, each in found.items():
            print(f"  {method:<18}" + "".join(f"{said(list(column)):>20}" for column in zip(*each)), flush=True)


RULES = {
    "curves": Stopping(),
    "sure": Stopping(confidence=0.95),
    "bold": Stopping(confidence=0.8),
    "paper": Stopping(method="svr", confidence=0.95, curves=10, patience=1),
    "median": Stopping(rule="median"),
    "halving": Stopping(rule="halving"),
    "hyperband": Stopping(rule="hyperband"),
}


def thinned(whole: np.ndarray, most: int = 25) -> np.ndarray:
    """Curves of `[N, T]` with at most so many epochs, the last among them: a rule is asked so often."""
    epochs = whole.shape[1]
    return whole if epochs <= most else whole[:, np.linspace(0, epochs - 1, most + 1).round().astype(int)[1:]]


def watched(stopping: Stopping, curves: Sequence[Curve], epochs: int) -> list[int]:
    """After how many epochs each training ends that a rule watches, one after another."""
    own, past = rule(stopping), list[Curve]()
    assert own is not None
    for curve in curves:
        parts = (Curve(curve.features, curve.scores[:t]) for t in range(1, epochs))
        past.append(next((part for part in parts if own.given_up(past, part, epochs) is not None), curve))
    return [len(curve.scores) for curve in past]


def rules(folder: Path, names: Sequence[str], specs: Sequence[str], seeds: int, trials: int) -> None:
    for name in names:
        features, whole = published(folder, name)
        whole = thinned(whole)
        epochs = whole.shape[1]
        print(f"{name}: saved, best of {trials} kept, missed by; {seeds} seeds")
        for spec in specs:
            found = []
            for seed in range(seeds):
                rows = np.random.default_rng(seed).permutation(len(whole))[:trials]
                curves = [Curve(tuple(features[row]), tuple(whole[row])) for row in rows]
                ended = np.array(watched(RULES[spec], curves, epochs))
                missed = float(whole[rows, -1].max() - whole[rows[ended == epochs], -1].max())
                found.append((1 - ended.mean() / epochs, missed <= 0.0, missed))
            saved, kept, missed_by = zip(*found)
            print(f"  {spec:<10}{said(saved):>18}{np.mean(kept):>8.0%}{said(missed_by):>18}", flush=True)


class Kept:
    """Trains every network once, to its end, and is asked about it under any rule: `archipel.evaluators.Trained`, read
    from a file."""

    def __init__(self, file: Path, epochs: int) -> None:
        preset = PRESETS["digits"]
        self.task = load("digits")
        self.space = self.task.space(nasbench201, cells=preset.network.cells, width=preset.network.width)
        self.options = replace(preset.training, epochs=epochs)
        self.objectives = (Objective("valid_accuracy"),)
        self.file = file
        rows = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        self.rows = {(row["seed"], row["key"]): row for row in rows}
        self.begin(0, None)

    def begin(self, seed: int, stopping: Stopping | None) -> None:
        """A new search."""
        self.seed, self.past = seed, list[Curve]()
        self.rule = None if stopping is None else rule(stopping)

    def row(self, architecture: Architecture) -> dict[str, Any]:
        known = self.rows.get((self.seed, architecture.key))
        if known is None:
            network, costs = self._built(architecture)
            history = train(
                network, self.task, self.options, title=f"training {architecture.key}",
                seed=seed_of(self.seed, "training", architecture.key),
                validate=lambda _: {"score": 100 * evaluate(network, self.task, "val").score},
            )  # fmt: skip
            test = 100 * evaluate(network, self.task, "test").score
            curve, losses = ([row[name] for row in history] for name in ("score", "loss"))
            known = {"seed": self.seed, "key": architecture.key, **costs, "curve": curve, "loss": losses, "test": test}
            self.rows[self.seed, architecture.key] = known
            with self.file.open("a") as file:
                file.write(json.dumps(known) + "\n")
        return known

    def _built(self, architecture: Architecture) -> tuple[nn.Module, dict[str, float]]:
        torch.manual_seed(seed_of(self.seed, "weights", architecture.key))
        network = self.space.build(architecture)
        shape = self.task.spec.input_shape
        return network, {"madds": float(madds(network, shape)), "parameters": float(parameters(network))}

    def __call__(self, architecture: Architecture, /) -> Metrics:
        row, epochs = self.row(architecture), self.options.epochs
        features = tuple(math.log10(1 + row[name]) for name in ("madds", "parameters"))
        score, ended = row["curve"][-1], epochs
        for t in range(1, epochs):
            now = Curve(features, tuple(row["curve"][:t]), tuple(row["loss"][:t]))
            if self.rule is not None and (told := self.rule.given_up(self.past, now, epochs)) is not None:
                score, ended = told, t
                break
        self.past.append(Curve(features, tuple(row["curve"][:ended]), tuple(row["loss"][:ended])))
        return {"valid_accuracy": score, "epochs": ended, "test": row["test"]}


def trained(file: Path, specs: Sequence[str], names: Sequence[str], seeds: int, trials: int, epochs: int) -> None:
    evaluator = Kept(file, epochs)
    for spec in specs:
        rows: dict[str, list[tuple[float, float, float]]] = {"none": [], **{name: [] for name in names}}
        for seed in range(seeds):
            for name, each in rows.items():
                evaluator.begin(seed, RULES.get(name))
                went = search(strategy(spec, evaluator.space, seed=seed), evaluator, Budget(trials=trials))
                figures = [step.trial.metrics or {} for step in went.steps]
                best = max((one for one in figures if one["epochs"] == epochs), key=lambda one: one["valid_accuracy"])
                spent = sum(one["epochs"] for one in figures) / (epochs * len(figures))
                each.append((1 - spent, best["valid_accuracy"], best["test"]))
        print(f"{spec}, {trials} trials of {epochs} epochs, {seeds} seeds: saved; best validation; its test accuracy")
        for name, each in rows.items():
            text = "".join(f"{said(column):>18}" for column in zip(*each))
            pairs = list(zip(each, rows["none"]))
            same = np.mean([one[1] == whole[1] for one, whole in pairs])
            less = [said([one[i] - whole[i] for one, whole in pairs]) for i in (1, 2)]
            told = "" if name == "none" else f"; best kept {same:.0%}, validation {less[0]}, test {less[1]}"
            print(f"  {name:<10}{text}{told}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("curves", "rules", "search"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--kept", type=Path, default=Path("curves.jsonl"))
    parser.add_argument("--set", nargs="+", default=list(SETS))
    parser.add_argument("--method", nargs="+", choices=get_args(Method), default=list(get_args(Method)))
    parser.add_argument("--rule", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--strategy", nargs="+", default=["random", "regularised_evolution,population=10"])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    if given.what == "curves":
        curves(given.data, given.set, given.method, given.seeds or 5)
    elif given.what == "rules":
        rules(given.data, given.set, given.rule, given.seeds or 40, given.trials)
    else:
        trained(given.kept, given.strategy, given.rule, given.seeds or 5, given.trials, given.epochs)


if __name__ == "__main__":
    main()
