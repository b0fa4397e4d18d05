"""What the first epochs say about the last, and what stopping saves: on published curves and in a search that trains.

    python benchmarks/learning_curves.py curves --data DIR [--seeds 5] [--set metaqnn_cifar10 …] [--method svr …]
    python benchmarks/learning_curves.py rules --data DIR [--seeds 40] [--set metaqnn_cifar10 …] [--rule curves …]
    python benchmarks/learning_curves.py search --kept FILE [--strategy random …] [--seeds 5] [--trials 40] [--rule …]
        [--epochs 12] [--ema 0] [--orders 20] [--again 3] [--workers 2]

`curves`: of the trainings that Baker et al. published (arXiv 1705.10823), R² of each regressor that was fitted on 100
of them and asked about the others after 10, 25 and 50 % of their epochs, three at least, and of the last score seen.
`rules`: searches of 40 of those trainings, in random order, of which each rule gives up what it will: the share of
their epochs that it saves, how often the best of the 40 is trained to its end, and by how much it is missed.
`search`: strategies on digits with cells of NAS-Bench-201, trained as `archipel search trials` trains them, under each
rule and under none: epochs saved; the best validation accuracy; the mean test accuracy of what was found where it is
trained again, as the recipe does, from scratch and several times; and how often it is the network that was found
without a rule. Beside each rule its control, `fewer`: no rule, and as many whole trainings as come to the epochs that
the rule spent. Random search would try its architectures in any order, so each seed's are tried in several. What a
network comes to depends on itself and the seed alone, so each is trained once, kept in FILE, and read epoch by epoch;
one file for each number of epochs and average of weights.
`curves` is the default; `margin` is the same where gains below one standard error do not count, `sure` and `bold` at 95
and 80 % confidence; `paper` is the paper's rule: ν-SVR, asked once, after ten whole trainings. Means over seeds with 95
% t-intervals; those of differences from no rule are paired.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import random
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
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
from archipel.strategies import Scores, Strategy, strategy
from archipel.tasks import load
from archipel.trials import Budget, Search, search

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
    "margin": Stopping(margin=1.0),
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

    def __init__(self, file: Path, epochs: int, ema: float) -> None:
        preset = PRESETS["digits"]
        self.task = load("digits")
        self.space = self.task.space(nasbench201, cells=preset.network.cells, width=preset.network.width)
        self.options, self.longer = replace(preset.training, epochs=epochs, ema=ema), preset.retraining
        self.objectives = (Objective("valid_accuracy"),)
        self.file = file
        rows = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        self.rows = {(row["seed"], row["key"], row.get("again")): row for row in rows}
        self.begin(0, None)

    def begin(self, seed: int, stopping: Stopping | None) -> None:
        """A new search."""
        self.seed, self.past = seed, list[Curve]()
        self.rule = None if stopping is None else rule(stopping, images=self.task.splits["val"])

    def row(self, architecture: Architecture, again: int | None = None) -> dict[str, Any]:
        """A trial's training, or one of those that come after the search: of each epoch the loss, and of a trial the
        validation accuracy; at the end the test accuracy."""
        place = self.seed, architecture.key, again
        if place not in self.rows:
            what, options = ("training", self.options) if again is None else (f"again {again}", self.longer)
            torch.manual_seed(seed_of(self.seed, "weights" if again is None else what, architecture.key))
            network = self.space.build(architecture)
            shape = self.task.spec.input_shape
            costs = {"madds": float(madds(network, shape)), "parameters": float(parameters(network))}
            history = train(
                network, self.task, options, title=f"training {architecture.key}",
                seed=seed_of(self.seed, what, architecture.key),
                validate=None if again is not None else lambda _: {"score": self._judged(network, "val")},
            )  # fmt: skip
            row = {"seed": self.seed, "key": architecture.key, **({} if again is None else {"again": again}), **costs}
            row |= {"loss": [one["loss"] for one in history], "test": self._judged(network, "test")}
            self.rows[place] = row | ({"curve": [one["score"] for one in history]} if again is None else {})
            with self.file.open("a") as file:
                file.write(json.dumps(self.rows[place]) + "\n")
        return self.rows[place]

    def _judged(self, network: nn.Module, split: str) -> float:
        return 100 * evaluate(network, self.task, split).score

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
        return {"valid_accuracy": score, "epochs": ended}


@dataclass(frozen=True)
class Found:
    """What one search came to."""

    saved: float
    """Share of the epochs of as many whole trainings."""
    score: float
    """Of the best network on the validation images, per cent."""
    best: Architecture
    tests: tuple[float, ...]
    """Its test accuracies where it was trained again, per cent."""


class InOrder:
    """Asks for what it was given."""

    def __init__(self, architectures: Sequence[Architecture]) -> None:
        self.left = deque(architectures)

    def ask(self) -> Architecture:
        return self.left.popleft()

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        pass


def searched(evaluator: Kept, own: Strategy, seed: int, name: str, trials: int, again: int) -> tuple[Found, Search]:
    """One search under a rule, or none; what it found is trained again."""
    evaluator.begin(seed, RULES.get(name))
    went = search(own, evaluator, Budget(trials=trials))
    told = [(step.trial.architecture, step.trial.metrics or {}) for step in went.steps]
    epochs = evaluator.options.epochs
    ended = [(one, metrics["valid_accuracy"]) for one, metrics in told if metrics["epochs"] == epochs]
    best, score = max(ended, key=lambda pair: pair[1])
    tests = tuple(evaluator.row(best, i)["test"] for i in range(again))
    return Found(1 - sum(metrics["epochs"] for _, metrics in told) / (epochs * trials), score, best, tests), went


def compared(
    evaluator: Kept, spec: str, names: Sequence[str], trials: int, again: int, orders: int, seed: int
) -> dict[str, list[Found]]:
    """Of every rule what each order of one seed's architectures came to; a strategy that goes by what came before has
    one order."""
    found: dict[str, list[Found]] = {name: [] for name in ("none", *names, *(f"{name}, fewer" for name in names))}
    _, went = searched(evaluator, strategy(spec, evaluator.space, seed=seed), seed, "none", trials, again)
    drawn = [step.trial.architecture for step in went.steps]
    for order in range(orders if spec == "random" else 1):
        mixed = random.Random(order).sample(drawn, trials) if order else drawn

        def go(name: str, count: int, mixed: list[Architecture] = mixed) -> Found:
            own = InOrder(mixed) if spec == "random" else strategy(spec, evaluator.space, seed=seed)
            return searched(evaluator, own, seed, name, count, again)[0]

        found["none"].append(go("none", trials))
        for name in names:
            found[name].append(go(name, trials))
            left = round((1 - found[name][-1].saved) * trials)
            found[f"{name}, fewer"].append(replace(go("none", left), saved=1 - left / trials))
    return found


def _seed(file: Path, epochs: int, ema: float, *asked: Any) -> dict[str, list[Found]]:
    torch.set_num_threads(1)
    return compared(Kept(file, epochs, ema), *asked)


def trained(given: argparse.Namespace) -> None:
    seeds, epochs, trials = given.seeds or 5, given.epochs, given.trials
    for spec in given.strategy:
        asked = [given.kept, epochs, given.ema, spec, given.rule, trials, given.again, given.orders]
        if given.workers > 1:
            with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
                each = list(pool.map(partial(_seed, *asked), range(seeds)))
        else:
            each = [_seed(*asked, seed) for seed in range(seeds)]
        spread = [float(np.var(row["none"][0].tests, ddof=1)) for row in each if given.again > 1]
        alone = f"{np.mean(spread) ** 0.5:.2f}" if spread else "?"
        print(
            f"{spec}, {trials} trials of {epochs} epochs, average of weights {given.ema:g}; {seeds} seeds, "
            f"{len(each[0]['none'])} orders of each; one training again deviates by {alone} points\n"
            f"{'':<20}{'epochs saved':>18}{'best validation':>18}{'against none':>18}{'its test, again':>18}"
            f"{'against none':>18}   same network"
        )
        for name in each[0]:
            columns = [[_mean(row[name], row["none"], i) for row in each] for i in range(6)]
            text = "".join(f"{said(column):>18}" for column in columns[:5])
            print(f"  {name:<18}{text}{float(np.mean(columns[5])):>12.0%}", flush=True)


def _mean(own: Sequence[Found], whole: Sequence[Found], column: int) -> float:
    """Of one seed, over orders."""
    rows = []
    for one, other in zip(own, whole):
        tests = [float(np.mean(found.tests)) if found.tests else math.nan for found in (one, other)]
        more = one.score - other.score, tests[0], tests[0] - tests[1], one.best == other.best
        rows.append((one.saved, one.score, *more))
    return float(np.mean([row[column] for row in rows]))


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
    parser.add_argument("--epochs", type=int, default=PRESETS["digits"].training.epochs)
    parser.add_argument("--ema", type=float, default=PRESETS["digits"].training.ema)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--again", type=int, default=3, help="trainings of what was found")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if given.what == "curves":
        curves(given.data, given.set, given.method, given.seeds or 5)
    elif given.what == "rules":
        rules(given.data, given.set, given.rule, given.seeds or 40, given.trials)
    else:
        trained(given)


if __name__ == "__main__":
    main()
