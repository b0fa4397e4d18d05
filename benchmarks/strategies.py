"""What the search loop costs, and what strategies reach where they see what they are judged by: minutes.

    python benchmarks/strategies.py speed --data DIR [--trials 2000] [--seeds 3]
    python benchmarks/strategies.py study --data DIR [--trials 200]
    python benchmarks/strategies.py reference --data DIR [--seeds 50] [--strategy random …] [--images cifar100 …]

`speed`: evaluations a CPU second of whole searches on NAS-Bench-201 with the ledger in memory, one core. `study`: CPU
and wall milliseconds that a study on disk adds to a trial that costs nothing. `reference`: the best test accuracy after
25, 50, 75 and 100 different cells of NAS-Bench-201 on each image set, where a search sees the test accuracy: mean and
standard deviation, how many searches found the best of all cells, and by how much the others are behind the first
strategy (95 %, Welch).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from archipel.evaluators import Objective, Tabular, nasbench201
from archipel.evaluators.tabular import IMAGES, ImageSet
from archipel.recipes.bench.judging import behind
from archipel.strategies import strategy
from archipel.trials import Budget, MemoryLedger, StudyLedger, search

QUERIES = (25, 50, 75, 100)


def speed(table: Tabular, specs: Sequence[str], trials: int, seeds: int) -> None:
    table(table.architectures[0])  # the table's index is made once
    for spec in specs:
        begin, done = time.process_time(), 0
        for seed in range(seeds):
            done += len(search(strategy(spec, table.space, seed=seed), table, Budget(trials=trials)).steps)
        print(f"{spec:<24}{done / (time.process_time() - begin):>10,.0f} evaluations a second", flush=True)


def study(table: Tabular, trials: int) -> None:
    def timed(ledger: MemoryLedger | StudyLedger) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        search(strategy("random", table.space), table, Budget(trials=trials), ledger=ledger)
        return 1000 * (time.process_time() - cpu) / trials, 1000 * (time.perf_counter() - wall) / trials

    table(table.architectures[0])
    with tempfile.TemporaryDirectory() as folder:
        ledgers = {
            "in memory": MemoryLedger(),
            "study, alone": StudyLedger(Path(folder) / "a.db", table.space, table.objectives, alone=True),
            "study, shared": StudyLedger(Path(folder) / "b.db", table.space, table.objectives),
        }
        for name, ledger in ledgers.items():
            cpu, wall = timed(ledger)
            print(f"{name:<16}{cpu:>8.2f} ms CPU {wall:>8.2f} ms wall a trial", flush=True)


def reference(data: Path, specs: Sequence[str], seeds: int, chosen: Sequence[ImageSet]) -> None:
    for images in chosen:
        table = nasbench201(data, images)
        table = replace(table, objectives=(Objective(table.judged),))
        found = {spec: [_best(table, spec, seed) for seed in range(seeds)] for spec in specs}  # [seeds, QUERIES]
        print(f"{images:<28}" + "".join(f"{n:>30}" for n in QUERIES) + "   found the best", flush=True)
        less = [
            behind({spec: [run[i] for run in runs] for spec, runs in found.items()}, specs[0])
            for i in range(len(QUERIES))
        ]
        for spec, runs in found.items():
            columns = list(zip(*runs))
            row = [f"{statistics.mean(c):.3f} ± {statistics.stdev(c):.3f}" for c in columns]
            whole = columns[-1].count(table.best(table.judged))
            print(f"{spec:<28}" + "".join(f"{text:>30}" for text in row) + f"{whole:>8}")
            if spec in less[0]:
                row = [f"{one[spec]['mean']:+.3f} [{one[spec]['low']:+.3f}, {one[spec]['high']:+.3f}]" for one in less]
                print(f"{'  behind ' + specs[0]:<28}" + "".join(f"{text:>30}" for text in row), flush=True)


def _best(table: Tabular, spec: str, seed: int) -> list[float]:
    went = search(strategy(spec, table.space, seed=seed), table, Budget(trials=QUERIES[-1]))
    told = np.maximum.accumulate([(step.trial.metrics or {})[table.judged] for step in went.steps])
    return [float(told[min(n, len(told)) - 1]) for n in QUERIES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "study", "reference"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--strategy", nargs="+")
    parser.add_argument("--images", nargs="+", default=list(IMAGES), choices=list(IMAGES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "speed":
        quick = ["random", "regularised_evolution", "local_search", "nsga2"]
        speed(nasbench201(given.data), given.strategy or quick, given.trials or 2000, given.seeds or 3)
    elif given.what == "study":
        study(nasbench201(given.data), given.trials or 200)
    else:
        against = ["bayesian", "local_search", "regularised_evolution", "nsga2", "reinforce", "random"]
        reference(given.data, given.strategy or against, given.seeds or 50, given.images)


if __name__ == "__main__":
    main()
