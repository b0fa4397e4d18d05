"""Which way to run a mixed batch is fastest, and whether the cost model knows it beforehand.

    python benchmarks/executors.py [--macro light --width 0.5 --size 32] [--device cuda:0] [--json]

Latency tables of one space are measured at several batch sizes, executors' own costs are fitted to mixed batches, and
other mixed batches are held out: how far the predicted time of each executor is from the measured, how often the
cheapest is named, and what naming it is worth against always gathering.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence

import torch

from archipel import MetaGraph, Space
from archipel.cost import Device, TableSettings, build
from archipel.instance.batch_cost import BatchCost, Timed, mixed_batches, time_batches
from archipel.instance.executors import EXECUTORS
from archipel.nn.fold import fold_for_inference
from archipel.spaces import instanas

TABLES = (1, 8, 32, 128)
SIZES = (4, 16, 64, 128)


def judged(cost: BatchCost, held_out: Sequence[Timed]) -> dict[str, float]:
    """Figures on batches that the model was not fitted to."""
    found = {}
    for name in EXECUTORS:
        errors = [abs(cost.predict(batch.codes)[name] / batch.ms[name] - 1) for batch in held_out]
        found[f"{name}: median error, %"] = 100 * statistics.median(errors)
        found[f"{name}: worst error, %"] = 100 * max(errors)
        found[f"{name}: fastest in, % of batches"] = 100 * statistics.fmean(
            min(batch.ms, key=batch.ms.__getitem__) == name for batch in held_out
        )
    chosen = [batch.ms[cost.cheapest(batch.codes)] for batch in held_out]
    best = [min(batch.ms.values()) for batch in held_out]
    found["chosen / fastest"] = statistics.fmean(c / b for c, b in zip(chosen, best))
    for name in EXECUTORS:
        found[f"always {name} / fastest"] = statistics.fmean(t.ms[name] / b for t, b in zip(held_out, best))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--macro", default="light")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, for each latency table")
    parser.add_argument("--batches", type=int, default=6, help="of each size to fit to, and as many held out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = Device.parse(given.device, 1)
    shape = (3, given.size, given.size)
    space = Space(instanas, macro=given.macro, width=given.width, classes=10, size=given.size)
    settings = TableSettings(seconds=given.seconds)
    with device.use():
        tables = [build(space, device, input_shape=shape, batch=n, settings=settings) for n in TABLES]
        torch.manual_seed(0)
        graph = fold_for_inference(MetaGraph(space)).to(device.torch_device, memory_format=torch.channels_last)
        fit, held_out = (
            time_batches(graph, device, mixed_batches(space, SIZES, given.batches, seed), shape, rounds=given.rounds)
            for seed in (0, 1)
        )
    cost = BatchCost.of(graph, tables).fitted(fit)
    figures: dict[str, object] = judged(cost, held_out)
    if given.json:
        print(json.dumps({"device": device.describe(), "weights": cost.weights, **figures}, indent=1))
        return
    print(f"{space} on {device.describe()}; tables at {TABLES}, {len(fit)} batches fitted, {len(held_out)} held out")
    for name, value in figures.items():
        print(f"  {name:38s} {value:.3g}")


if __name__ == "__main__":
    main()
