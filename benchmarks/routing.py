"""What routing a batch costs, as ratios against named baselines in one process.

    python benchmarks/routing.py [--macro cifar --width 1.0] [--json]

Baselines: `masked` computes every candidate of every layer for the whole batch and multiplies by 0 or 1, as the
released InstaNAS program does; `ideal` is Σ over options of (that option's own time on the full batch) × (the share
of images that take it), plus what all images share; `children` are extracted networks of single architectures.
Times are lower deciles over interleaved rounds on one thread; memory is the growth of the peak resident set,
each in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import json
import multiprocessing
import random
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from archipel import MetaGraph, PerInstance, Single, Space
from archipel.choose import Place
from archipel.cost import Device, measure
from archipel.nn.fold import fold_for_inference
from archipel.sharing.policies import draw_codes
from archipel.spaces import instanas


def space_of(macro: str, width: float) -> Space:
    return Space(instanas, macro=macro, width=width, combine="sum", classes=10, size=32)


def graph_of(space: Space) -> MetaGraph:
    torch.manual_seed(0)
    return MetaGraph(space).to(memory_format=torch.channels_last)


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def masked(graph: MetaGraph, x: Tensor, codes: Tensor) -> Tensor:
    """All candidates for all images, as the released program computes a batch."""
    weights = {name: codes[:, cut].float() for name, cut in graph.space.slices.items()}

    def run(place: Place, h: Tensor) -> Tensor:
        w = weights[place.choice.name]
        outputs = [option(h) for option in place.options.values()]
        return sum(o * w[:, i, None, None, None] for i, o in enumerate(outputs))  # type: ignore[return-value]

    def walk(module: nn.Module, h: Tensor) -> Tensor:
        if isinstance(module, Place):
            return run(module, h)
        body = getattr(module, "body", None)
        return h + walk(body, h) if isinstance(body, Place) else module(h)

    for module in graph.net.children():
        x = walk(module, x)
    return x


def ideal_parts(graph: MetaGraph, x: Tensor, codes: Tensor) -> dict[str, tuple[Callable[[], object], float]]:
    """name → (a full-batch call, the share of images that need it)."""
    parts: dict[str, tuple[Callable[[], object], float]] = {}
    h = x
    for i, module in enumerate(graph.net.children()):
        place = module if isinstance(module, Place) else getattr(module, "body", None)
        if isinstance(place, Place):
            share = codes[:, graph.space.slices[place.choice.name]].float().mean(0).tolist()
            for (name, option), s in zip(place.options.items(), share):
                parts[f"{i}.{name}"] = (functools.partial(option, h), s)
            with torch.no_grad():
                h = next(iter(place.options.values()))(h)
        else:
            parts[str(i)] = (functools.partial(module, h), 1.0)
            with torch.no_grad():
                h = module(h)
    return parts


def step(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, parameters: list[nn.Parameter]) -> None:
    with torch.enable_grad():
        nn.functional.cross_entropy(network(x), y).backward()
    for p in parameters:
        p.grad = None


def inference(space: Space, device: Device, batch: int, rounds: int) -> dict[str, float]:
    graph = fold_for_inference(graph_of(space))
    x = images(batch).contiguous(memory_format=torch.channels_last)
    codes = draw_codes(space, batch, 0.3, torch.Generator().manual_seed(1))
    calls: dict[str, Callable[[], object]] = {
        "routed": lambda: graph(x, PerInstance(codes)),
        "masked": lambda: masked(graph, x, codes),
    }
    parts = ideal_parts(graph, x, codes)
    calls |= {f"part {name}": call for name, (call, _) in parts.items()}
    times = measure(calls, device, rounds=rounds, rng=random.Random(0))
    ideal = sum(times[f"part {name}"].ms * share for name, (_, share) in parts.items())
    return {
        "masked / routed": times["masked"].ms / times["routed"].ms,
        "routed / ideal": times["routed"].ms / ideal,
        "routed ms an image": times["routed"].ms / batch,
    }


def training(space: Space, batch: int, rounds: int, sampled: int = 8) -> dict[str, float]:
    graph = graph_of(space).train()
    x, y = images(batch), torch.randint(10, (batch,), generator=torch.Generator().manual_seed(0))
    codes = draw_codes(space, batch, 0.5, torch.Generator().manual_seed(1))
    parameters = list(graph.parameters())
    calls: dict[str, Callable[[], object]] = {
        "routed": lambda: step(lambda b: graph(b, PerInstance(codes)), x, y, parameters)
    }
    for i in range(sampled):
        child = graph.extract(space.decode(codes[i])).train()
        calls[f"child {i}"] = functools.partial(step, child, x, y, list(child.parameters()))
    one = space.decode(codes[0])
    calls["single"] = lambda: step(lambda b: graph(b, Single(one)), x, y, parameters)
    # `measure` switches gradients off outside; `step` switches them on again, but inference tensors must not mix in.
    times = timed_with_gradients(calls, rounds)
    children = statistics.fmean(times[f"child {i}"] for i in range(sampled))
    return {
        "routed step / mean child step": times["routed"] / children,
        "single step / child step": times["single"] / times["child 0"],
    }


def timed_with_gradients(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    import time

    samples: dict[str, list[float]] = {name: [] for name in calls}
    order, rng = list(calls), random.Random(0)
    for i in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            start = time.perf_counter()
            calls[name]()
            if i:
                samples[name].append(time.perf_counter() - start)
    return {
        name: statistics.quantiles(values, n=10)[0] if len(values) > 1 else values[0]
        for name, values in samples.items()
    }


def peak_of(macro: str, width: float, batch: int, what: str) -> int:
    """Growth of the peak resident set, bytes, of one training step; runs in a process of its own."""
    torch.set_num_threads(1)
    space = space_of(macro, width)
    graph = graph_of(space).train()
    x, y = images(batch), torch.randint(10, (batch,), generator=torch.Generator().manual_seed(0))
    codes = draw_codes(space, batch, 0.5, torch.Generator().manual_seed(1))
    if what == "routed":
        network: Callable[[Tensor], Tensor] = lambda b: graph(b, PerInstance(codes[: len(b)]))  # noqa: E731
        parameters = list(graph.parameters())
    elif what == "single":
        one = space.decode(codes[0])
        network = lambda b: graph(b, Single(one))  # noqa: E731
        parameters = list(graph.parameters())
    else:
        child = graph.extract(space.decode(codes[int(what)])).train()
        network, parameters = child, list(child.parameters())
    step(network, x[:2], y[:2], parameters)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = resident("VmRSS")
    step(network, x, y, parameters)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))


def memory(macro: str, width: float, batch: int, sampled: int = 4) -> dict[str, float]:
    jobs = ["routed", "single", *map(str, range(sampled))]
    context = multiprocessing.get_context("spawn")
    peaks = {}
    for job in jobs:
        with context.Pool(1) as pool:
            peaks[job] = pool.apply(peak_of, (macro, width, batch, job))
    children = statistics.fmean(peaks[str(i)] for i in range(sampled))
    return {
        "routed step peak / mean child peak": peaks["routed"] / children,
        "single step peak / child peak": peaks["single"] / peaks["0"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--macro", default="cifar")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = Device.parse("cpu", 1)
    space = space_of(given.macro, given.width)
    figures = {
        "inference, batch 128": inference(space, device, 128, given.rounds),
        "training, batch 64": training(space, 64, given.rounds),
        "memory, batch 64": memory(given.macro, given.width, 64),
    }
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    for title, rows in figures.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:38s} {value:.3f}")


if __name__ == "__main__":
    main()
