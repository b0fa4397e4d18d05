"""What ProxylessNAS' steps cost, as ratios to the training step of the extracted child alone, in one process.

    python benchmarks/binarisation.py [--rounds 15] [--children 4] [--json]

The network has 8 blocks for 32×32 images, each an inverted residual of kernel 3, 5 or 7 and expansion 3 or 6, or
nothing where its shape allows; batch 64. A round times, in shuffled order and for each of a few uniformly sampled
children, the child's own step (forward, backward, SGD), the weight step along it in the meta-graph, and the
architecture steps `full_v2`, `two` and `full` in which it is the child that runs. Ratios are of means over the
children of the fastest of all rounds, on one thread: what disturbs a step only ever makes it slower. How far they can
be trusted is told by `again`, a second copy of the child, whose ratio is 1 without noise. Memory is the growth of the
peak resident set over one step, each in a process of its own, where the allocator gives every large tensor back at once
(glibc's way of growing its threshold moves the peak by 7 % from one process to the next).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from archipel import Architecture, MetaGraph, Single, Space
from archipel.choose import Choose
from archipel.nn import ConvBN, InvertedResidual, Zero, residual
from archipel.sharing import ArchitectureStep, Binarisation, Gates
from archipel.sharing.binarisation import adam

STAGES = ((24, 2, 1), (40, 2, 2), (80, 2, 2), (96, 2, 1))  # channels, blocks, stride of the first
BATCH = 64
STEPS = ("child", "again", "weight", "full_v2", "two", "full")


class Labelled:
    """The part of a task that a step asks for."""

    def loss(self, output: Tensor, batch: Any) -> dict[str, Tensor]:
        return {"total": nn.functional.cross_entropy(output, batch.targets)}


class Images:
    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(count, 3, 32, 32, generator=generator)
        self.targets = torch.randint(10, (count,), generator=generator)


def eight_blocks(choose: Choose) -> nn.Module:
    layers: list[nn.Module] = [ConvBN(3, 32, 3, act=nn.ReLU6), InvertedResidual(32, 16, expand=1, act=nn.ReLU6)]
    c = 16
    for c_out, blocks, first in STAGES:
        for i in range(blocks):
            layers.append(block(choose, f"b{len(layers) - 1}", c, c_out, first if i == 0 else 1))
            c = c_out
    return nn.Sequential(
        *layers, ConvBN(c, 320, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(320, 10)
    )


def block(choose: Choose, name: str, c: int, c_out: int, stride: int) -> nn.Module:
    def body(kernel: int, expand: int) -> Callable[[], nn.Module]:
        return lambda: InvertedResidual(c, c_out, kernel=kernel, expand=expand, stride=stride, act=nn.ReLU6)

    options = {f"k{k}e{e}": body(k, e) for k in (3, 5, 7) for e in (3, 6)}
    if stride > 1 or c != c_out:
        return choose.op(name, options)
    return residual(choose.op(name, {**options, "zero": Zero}))


def stepper(what: str, graph: MetaGraph, architecture: Architecture) -> Callable[[Images], None]:
    if what in ("child", "again", "weight"):
        network = graph if what == "weight" else graph.extract(architecture)
        optimiser = torch.optim.SGD(network.parameters(), 0.0, momentum=0.9, nesterov=True)

        def step(batch: Images) -> None:
            network.train()
            optimiser.zero_grad(set_to_none=True)
            output = network(batch.inputs, Single(architecture)) if what == "weight" else network(batch.inputs)
            Labelled().loss(output, batch)["total"].backward()
            optimiser.step()

        return step
    gates = Gates(graph.space)
    with torch.no_grad():
        for choice in graph.space.choices:  # the child is what is drawn; the others are all the same to it
            gates.logits[choice.name][choice.options.index(architecture[choice.name])] += 30.0
    gradient = ArchitectureStep(graph, gates, adam(gates, 0.0), Binarisation(mode=what))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)

    def look(batch: Images) -> None:
        gradient(batch, Labelled(), generator)  # type: ignore[arg-type]

    return look


def sampled(space: Space, count: int) -> list[Architecture]:
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(count)]


def grown() -> MetaGraph:
    torch.manual_seed(0)
    return MetaGraph(Space(eight_blocks))


def times(rounds: int, children: int) -> dict[str, float]:
    graph, batch = grown(), Images(BATCH)
    calls = {
        (i, what): stepper(what, graph, architecture)
        for i, architecture in enumerate(sampled(graph.space, children))
        for what in STEPS
    }
    samples: dict[tuple[int, str], list[float]] = {key: [] for key in calls}
    order, rng = list(calls), random.Random(0)
    for i in range(rounds + 1):
        rng.shuffle(order)
        for key in order:
            start, own = time.perf_counter(), time.process_time()
            calls[key](batch)
            if i:  # the processor's own time where that is less: another program had its turn
                samples[key].append(min(time.perf_counter() - start, time.process_time() - own))
    quiet = {key: min(values) for key, values in samples.items()}
    means = {what: statistics.fmean(quiet[i, what] for i in range(children)) for what in STEPS}
    ratios = {f"{what} step / child step": means[what] / means["child"] for what in STEPS[1:]}
    return {**ratios, "child step, ms": 1e3 * means["child"]}


def peak_of(what: str, child: int) -> int:
    """Growth of the peak resident set, bytes, over one step; runs in a process of its own."""
    torch.set_num_threads(1)
    graph = grown()
    step = stepper(what, graph, sampled(graph.space, child + 1)[child])
    step(Images(2))
    batch = Images(BATCH)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = resident("VmRSS")
    step(batch)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))


def memory(children: int) -> dict[str, float]:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**17)  # read when a process starts
    context, peaks = multiprocessing.get_context("spawn"), {}
    for what in STEPS:
        for child in range(children):
            with context.Pool(1) as pool:
                peaks[what, child] = pool.apply(peak_of, (what, child))
    means = {what: statistics.fmean(peaks[what, i] for i in range(children)) for what in STEPS}
    ratios = {f"{what} step peak / child peak": means[what] / means["child"] for what in STEPS[1:]}
    return {**ratios, "child peak, MiB": means["child"] / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--children", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = {"time": times(given.rounds, given.children), "memory": memory(given.children)}
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for title, rows in figures.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:32s} {value:.3f}")


if __name__ == "__main__":
    main()
