"""What a step of the sandwich rule costs, as a ratio to the steps of its children alone, in one process.

    python benchmarks/sandwich.py [--space mobilenet_elastic] [--macro compact] [--width 1.0] [--rounds 15] [--json]

A sandwich step trains the largest child, the smallest and two random ones on one batch, the others on the largest's
answers, and moves the weights once. Beside it stands the sum of four whole steps (forward, backward, SGD) of one child
each, through the same meta-graph and by the extracted children. A round times all of them in shuffled order, on one
thread; of each the fastest round counts, since what disturbs a step only ever makes it slower. How far the ratios can
be trusted is told by `again`, the four steps a second time, whose ratio is 1 without noise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archipel import Architecture, MetaGraph, Single, Space
from archipel.metagraph import Route
from archipel.sharing import Distillation, Fixed, Optimisation, Sandwich, weight_epoch
from archipel.sharing.training import sgd
from archipel.spaces import SPACES
from archipel.tasks import Classification

BATCH = 64


class Turns:
    """Some children in turn, one a batch."""

    def __init__(self, children: list[Architecture]) -> None:
        self.children = itertools.cycle(children)

    def route(self, *_: Any) -> Route:
        return Single(next(self.children))


def one_batch() -> Classification:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (BATCH, 3, 32, 32), generator=generator).to(torch.uint8)
    labels = torch.randint(10, (BATCH,), generator=generator)
    splits = dict.fromkeys(("train", "arch", "val", "test"), torch.arange(BATCH))
    return Classification("noise", images, labels, splits, classes=[str(i) for i in range(10)])


def stepper(network: nn.Module, task: Classification, **more: Any) -> Callable[[], None]:
    optimiser = sgd(network, Optimisation(epochs=1, lr=1e-9))

    def step() -> None:
        weight_epoch(network, task, optimiser, batch_size=BATCH, seed=0, **more)

    return step


def times(space: Space, rounds: int) -> dict[str, float]:
    task, rng = one_batch(), random.Random(0)
    torch.manual_seed(0)
    graph = MetaGraph(space)
    between = [space.sample(rng) for _ in range(2)]
    sandwich = Sandwich.of(space, task.spec.input_shape, Turns(between), between=2)
    four = [sandwich.largest, sandwich.smallest, *between]
    calls = {"sandwich": stepper(graph, task, policy=sandwich, distillation=Distillation(1.0))}
    for i, child in enumerate(four):
        calls |= {f"{name} {i}": stepper(graph, task, policy=Fixed(child)) for name in ("four", "again")}
        calls[f"extracted {i}"] = stepper(graph.extract(child), task)
    fastest: dict[str, float] = {}
    order = list(calls)
    for i in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            start, own = time.perf_counter(), time.process_time()
            calls[name]()
            # The processor's own time where that is less: another program had its turn.
            spent = min(time.perf_counter() - start, time.process_time() - own)
            if i:
                fastest[name] = min(spent, fastest.get(name, spent))
    sums = {name: sum(fastest[f"{name} {i}"] for i in range(4)) for name in ("four", "again", "extracted")}
    return {
        "sandwich step / four steps": fastest["sandwich"] / sums["four"],
        "sandwich step / four extracted children's": fastest["sandwich"] / sums["extracted"],
        "again / four steps": sums["again"] / sums["four"],
        "sandwich step, ms": 1e3 * fastest["sandwich"],
        "largest child's step, ms": 1e3 * fastest["four 0"],
        "smallest child's step, ms": 1e3 * fastest["four 1"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--space", default="mobilenet_elastic", choices=list(SPACES))
    parser.add_argument("--macro", default="compact")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = times(Space(SPACES[given.space], macro=given.macro, width=given.width), given.rounds)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for name, value in figures.items():
        print(f"  {name:42s} {value:.3f}")


if __name__ == "__main__":
    main()
