"""What a process that keeps freed memory and compiled convolutions gains (`archipel.cost.process`).

    python benchmarks/process.py [--processes 3]

Two trials, each in processes of their own that keep both or neither, by turns, on one thread: batches of 512 images
through MobileNetV2 1× and a random child of the `instanas` space, milliseconds an image; training steps of that space
on 64 images, each with an architecture of its own, drawn anew at every step or the same at every step, milliseconds of
CPU time. Least and largest over the processes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from archipel import MetaGraph, PerInstance, Space
from archipel.cost.process import tune_process
from archipel.nn.fold import fold_for_inference
from archipel.nn.layout import channels_last
from archipel.sharing.policies import draw_codes
from archipel.spaces import instanas, mobilenet_v2

KEEPS = ("nothing", "both")


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32).to(memory_format=torch.channels_last)


def batches() -> dict[str, float]:
    children = Space(instanas, macro="light", width=0.35, classes=10, size=32)
    whole = Space(mobilenet_v2, macro="light", width=1.0, classes=10, size=32)
    networks = {
        "MobileNetV2 1×": whole.build(next(iter(whole))),
        "child": children.build(children.sample(random.Random(0))),
    }
    x, found = images(512), {}
    with torch.inference_mode():
        for name, network in networks.items():
            deployed = channels_last(fold_for_inference(network.eval()))
            spent = [seconds(time.perf_counter, partial(deployed, x)) for _ in range(20)]
            found[f"512 images, {name}"] = 1e3 * statistics.quantiles(spent, n=10)[0] / 512
    return found


def steps() -> dict[str, float]:
    space = Space(instanas, macro="light", width=0.35, classes=10, size=32)
    graph = channels_last(MetaGraph(space)).train()
    optimiser = torch.optim.SGD(graph.parameters(), 0.01, momentum=0.9)
    x, y = images(64), torch.randint(10, (64,))
    generator = torch.Generator().manual_seed(0)

    def step(codes: torch.Tensor) -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(graph(x, PerInstance(codes)), y).backward()
        optimiser.step()

    def draw() -> torch.Tensor:
        return draw_codes(space, 64, 0.5, generator)

    for _ in range(60):
        step(draw())
    same = draw()
    fresh = [seconds(time.process_time, lambda: step(draw())) for _ in range(60)]
    again = [seconds(time.process_time, lambda: step(same)) for _ in range(60)]
    return {"training step, drawn anew": 1e3 * statistics.fmean(fresh), "the same": 1e3 * statistics.fmean(again)}


def seconds(clock: Callable[[], float], call: Callable[[], object]) -> float:
    start = clock()
    call()
    return clock() - start


TRIALS = {"batches": batches, "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=3, help="of each trial and either kind")
    parser.add_argument("--trial", nargs=2, metavar=("NAME", "KEEPS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.trial:
        name, keeps = given.trial
        torch.set_num_threads(1)
        torch.manual_seed(0)
        if keeps == "both":
            tune_process()
        print(json.dumps(TRIALS[name]()))
        return
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(given.processes):
        for name in TRIALS:
            for keeps in KEEPS:
                words = [sys.executable, __file__, "--trial", name, keeps]
                said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
                for what, ms in json.loads(said).items():
                    found.setdefault(what, {}).setdefault(keeps, []).append(ms)
    print("| ms | keeps nothing | keeps both |\n| --- | --- | --- |")
    for what, both in found.items():
        cells = [f"{min(both[keeps]):.3g} to {max(both[keeps]):.3g}" for keeps in KEEPS]
        print(f"| {what} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
