"""What a batch costs in which every image leaves a network at its own exit, against the ideal.

    python benchmarks/early_exits.py [--space mobilenet_exits --macro compact --size 32 --batches 1 16 128 --rounds 40]

Ideal is the mean of what the exits cost as networks of their own, each in full batches: without deciding, without the
other heads. Weights are random, thresholds such that a half, a quarter and a quarter of the images (or a half and a
half) leave at each. At batch 1 the ways of leaving are timed apart and weighted. All in interleaved rounds of one
process and one thread; `with heads` is the ideal with the heads that an image passes: they are the controller.
"""

from __future__ import annotations

import argparse
import random
from functools import partial

import torch

from archipel.cost import Device, measure
from archipel.instance.cascade import EVERYTHING, NOTHING, Cascade
from archipel.instance.escalation import Gain
from archipel.metagraph import MetaGraph
from archipel.nn.exits import Exits
from archipel.recipes.instanas.timing import typical
from archipel.sharing.batch_norm import recalibrate
from archipel.space import Space
from archipel.spaces import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--space", default="mobilenet_exits", help="its architectures are the exits")
    parser.add_argument("--macro", default="compact")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    device = Device("cpu", 1)
    space = Space(resolve(given.space), macro=given.macro, size=given.size)
    graph = MetaGraph(space)
    exits = Exits.of([graph.extract(architecture) for architecture in space]).to(memory_format=torch.channels_last)
    recalibrate(exits, [torch.randn(256, 3, given.size, given.size)])
    last = len(exits) - 1
    shares = [0.5, 0.25, 0.25] if last == 2 else [0.5, 0.5]
    gains = [Gain(torch.tensor([-1.0, 0.0, 0.0]), 1.0) for _ in range(last)]
    cascade = Cascade(exits, thresholds=[NOTHING] * last, costs_ms=[1.0] * (last + 1), gains=gains)
    undecided = [cascade.upto(k) for k in range(last + 1)]
    alone = [device.prepare(exits.child(k)) for k in range(last + 1)]
    print("| batch | ms an image, early exits | ideal | with heads | / ideal | / with heads |")
    print("| --- | --- | --- | --- | --- | --- |")
    for batch in given.batches:
        images = torch.randn(batch, 3, given.size, given.size).to(memory_format=torch.channels_last)
        if batch == 1:
            ways = [cascade.at([EVERYTHING] * k + [NOTHING] * (last - k)) for k in range(last + 1)]
        else:
            ways = [typical(cascade, images, shares)]
        calls = {f"ours {k}": partial(way, images) for k, way in enumerate(ways)}
        calls |= {f"alone {k}": partial(network, images) for k, network in enumerate(alone)}
        calls |= {f"heads {k}": partial(network, images) for k, network in enumerate(undecided)}
        with device.use(), torch.inference_mode():
            ms = {
                name: timing.ms / batch
                for name, timing in measure(calls, device, rounds=given.rounds, rng=random.Random(given.seed)).items()
            }
        ours = ms["ours 0"] if batch > 1 else sum(share * ms[f"ours {k}"] for k, share in enumerate(shares))
        ideal, heads = (sum(share * ms[f"{what} {k}"] for k, share in enumerate(shares)) for what in ("alone", "heads"))
        cells = [
            f"{batch}",
            f"{ours:.4f}",
            f"{ideal:.4f}",
            f"{heads:.4f}",
            f"{ours / ideal:.2f}",
            f"{ours / heads:.2f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
