"""What the search loop costs, and what strategies reach against references and on several objectives: minutes.

    python benchmarks/strategies.py speed --data DIR [--trials 2000] [--seeds 3]
    python benchmarks/strategies.py study --data DIR [--trials 200]
    python benchmarks/strategies.py reference --data DIR [--seeds 100] [--strategy random reinforce …]
    python benchmarks/strategies.py devices --data DIR [--seeds 20] [--trials 200]

`speed`: evaluations a CPU second of whole searches on NAS-Bench-201 with the ledger in memory, one core. `study`: CPU
and wall milliseconds that a study on disk adds to a trial that costs nothing. `reference`: the best test accuracy after
25, 50, 100, 150 and 300 different cells where a search sees the test accuracy. `devices`: hypervolume of accuracy
against a device's latency or energy, as a share of that of the table's own front, NSGA-II beside random search: means
and differences by seed with 95 % t-intervals.
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

from archipel.evaluators import Objective, Tabular, nasbench201, scores_of
from archipel.recipes.result import figure
from archipel.strategies import strategy
from archipel.trials import Budget, MemoryLedger, StudyLedger, search

QUERIES = (25, 50, 100, 150, 300)
DEVICES = ("pixel3_ms", "raspi4_ms", "titan_rtx_1_ms", "eyeriss_energy_mj", "fpga_latency_ms", "samsung_a50_ms")


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


def reference(table: Tabular, specs: Sequence[str], seeds: int) -> None:
    table = replace(table, objectives=(Objective(table.judged),))
    print(f"{'strategy':<24}" + "".join(f"{n:>16}" for n in QUERIES))
    for spec in specs:
        best: dict[int, list[float]] = {n: [] for n in QUERIES}
        for seed in range(seeds):
            went = search(strategy(spec, table.space, seed=seed), table, Budget(trials=QUERIES[-1]))
            told = np.maximum.accumulate([(step.trial.metrics or {})[table.judged] for step in went.steps])
            for n in QUERIES:
                best[n].append(float(told[min(n, len(told)) - 1]))
        row = (f"{statistics.mean(v):.3f} ± {statistics.stdev(v):.3f}" for v in best.values())
        print(f"{spec:<24}" + "".join(f"{text:>16}" for text in row), flush=True)


def devices(data: Path, trials: int, seeds: int) -> None:
    for device in DEVICES:
        table = nasbench201(data, devices=(device,))
        every = np.stack([table.figures["valid_accuracy"], -table.figures[device]], 1)
        corner = every.min(0)
        whole = hypervolume(every, corner)
        shares: dict[str, list[float]] = {}
        for spec in ("random", "nsga2"):
            for seed in range(seeds):
                own = strategy(spec, table.space, objectives=2, seed=seed)
                steps = search(own, table, Budget(trials=trials)).steps
                points = np.array([scores_of(s.trial.metrics, table.objectives) for s in steps if s.trial.metrics])
                shares.setdefault(spec, []).append(100 * hypervolume(points, corner) / whole)
        more = figure([a - b for a, b in zip(shares["nsga2"], shares["random"])]) or {}
        told = "   ".join(f"{spec} {statistics.mean(v):.2f} %" for spec, v in shares.items())
        print(
            f"{device:<20}{told}   difference {more['mean']:+.2f} [{more['low']:+.2f}, {more['high']:+.2f}]", flush=True
        )


def hypervolume(points: np.ndarray, corner: np.ndarray) -> float:
    """Area that is beaten by points `[N, 2]`, both maximised, above a corner."""
    area, height = 0.0, float(corner[1])
    for x, y in sorted(points.tolist(), reverse=True):
        if y > height:
            area += (x - float(corner[0])) * (y - height)
            height = y
    return area


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "study", "reference", "devices"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--strategy", nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(1)
    quick = ["random", "regularised_evolution", "local_search", "nsga2"]
    if given.what == "speed":
        speed(nasbench201(given.data), given.strategy or quick, given.trials or 2000, given.seeds or 3)
    elif given.what == "study":
        study(nasbench201(given.data), given.trials or 200)
    elif given.what == "reference":
        reference(nasbench201(given.data), given.strategy or [*quick, "reinforce"], given.seeds or 100)
    else:
        devices(given.data, given.trials or 200, given.seeds or 20)


if __name__ == "__main__":
    main()
