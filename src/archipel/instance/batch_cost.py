"""What a batch of different architectures costs on a device, for each way to run it, and which way is cheapest.

A batch is a sum over what it runs: c(option, number of images), a piecewise linear function through latency tables of
several batch sizes; what an executor adds to that (beginning an option, moving images) is fitted to whole batches.
Letters: `B` batch, `D` code columns, `S` batch sizes.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost import Device, LatencyTable, measure
from archipel.errors import TableError
from archipel.instance.executors import EXECUTORS, Executor, execute, segments
from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.sharing.policies import draw_codes
from archipel.space import Space

__all__ = ["BatchCost", "Timed", "mixed_batches", "time_batches"]

FEATURES = ("shared", "options", "calls", "moved", "batch")
"""Of an executor's run: what every architecture takes, ms; Σ c(option, images), ms; modules begun; rows gathered, put
back or multiplied; 1."""


@dataclass(frozen=True)
class Timed:
    """A batch and what each executor took for it."""

    codes: Tensor
    """`[B, D]`"""
    ms: Mapping[Executor, float]


@dataclass(frozen=True)
class BatchCost:
    """Milliseconds of a batch of codes `[B, D]` by each executor.

    Args:
        sizes: rising; of the latency tables.
        base: what every architecture takes at each size, ms, `[S]`.
        columns: what each option adds, ms, `[S, D]`.
        prefix: code columns of each part of the network in a row.
        weights: executor → what each of `FEATURES` counts.
        doubt: how far off at most, nine times of ten, the ratio of an executor's time to that of gathering was told
            when these weights were fitted.
    """

    space: Space
    sizes: tuple[int, ...]
    base: Tensor
    columns: Tensor
    prefix: tuple[Tensor, ...]
    weights: Mapping[Executor, tuple[float, ...]]
    doubt: float = 0.0
    _known: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, graph: MetaGraph, tables: Sequence[LatencyTable]) -> BatchCost:
        """From latency tables of one space on one device, at different batch sizes; not yet fitted to executors.

        Raises:
            TableError: the space has `value` choices, or two tables have one size.
        """
        ordered = sorted(tables, key=lambda table: table.batch)
        sizes = tuple(table.batch for table in ordered)
        if len(set(sizes)) < len(sizes):
            raise TableError(f"latency tables have batch sizes {list(sizes)}; give one of each")
        sums = [table.linear() for table in ordered]
        base = torch.tensor([base for base, _ in sums], dtype=torch.float64)
        columns = torch.stack([columns for _, columns in sums]).clamp_min(0.0)
        prefix = tuple(segment.columns for segment in segments(graph))
        return cls(graph.space, sizes, base, columns, prefix, dict.fromkeys(EXECUTORS, (1.0, 1.0, 0.0, 0.0, 0.0)))

    def fitted(self, batches: Sequence[Timed]) -> BatchCost:
        """With each executor's own costs, none below 0, of least squared relative error over these batches."""
        from scipy.optimize import nnls

        weights = {}
        for name in EXECUTORS:
            rows = np.array([self.features(batch.codes)[name] for batch in batches])
            ms = np.array([batch.ms[name] for batch in batches])
            weights[name] = tuple(float(w) for w in nnls(rows / ms[:, None], np.ones(len(ms)))[0])
        made = replace(self, weights=weights)
        off = [
            abs(told[name] / told["gathered"] * batch.ms["gathered"] / batch.ms[name] - 1)
            for batch in batches
            for told in [made.predict(batch.codes)]
            for name in EXECUTORS
            if name != "gathered"
        ]
        return replace(made, doubt=statistics.quantiles(off, n=10)[-1])

    def predict(self, codes: Tensor) -> dict[Executor, float]:
        """Executor → milliseconds of the batch."""
        found = self.features(codes)
        return {name: sum(w * f for w, f in zip(self.weights[name], found[name])) for name in found}

    def cheapest(self, codes: Tensor) -> Executor:
        """The executor predicted to take least; gathering, where another is not predicted to take less by more than
        predictions of their ratio are off."""
        told = self.predict(codes)
        best = min(told, key=told.__getitem__)
        return best if told[best] < (1.0 - self.doubt) * told["gathered"] else "gathered"

    def features(self, codes: Tensor) -> dict[Executor, tuple[float, ...]]:
        """Executor → `FEATURES` of canonical codes `[B, D]`. A few milliseconds for 128 images."""
        on = codes.cpu().numpy()
        size, counts, columns = len(on), on.sum(0), np.arange(on.shape[1])
        base, options = self._tables(size)
        used, parting = counts > 0, (counts > 0) & (counts < size)
        gathered = base[size], options[counts, columns].sum(), used.sum(), 2 * counts[parting].sum(), 1
        masked = base[size], options[size][used].sum(), used.sum(), size * parting.sum(), 1
        alone, members = np.unique(on, axis=0, return_counts=True)
        calls, moved = alone.sum() + len(alone) * len(self.prefix), 2 * size if len(alone) > 1 else 0
        grouped = base[members].sum(), (options[members] * alone).sum(), calls, moved, 1
        prefix = self._tree(on, base, options)
        found: dict[Executor, tuple[Any, ...]]
        found = {"gathered": gathered, "grouped": grouped, "prefix": prefix, "masked": masked}
        return {name: tuple(map(float, figures)) for name, figures in found.items()}

    def _tree(self, on: np.ndarray, base: np.ndarray, options: np.ndarray) -> tuple[float, ...]:
        group, members = np.zeros(len(on), dtype=np.int64), np.array([len(on)])
        shared, work, calls, moved = 0.0, 0.0, 0, 0
        for columns in self.prefix:
            own = columns.numpy()
            if len(own):
                _, setting = np.unique(on[:, own], axis=0, return_inverse=True)
                together = group * (setting.max() + 1) + setting.reshape(-1)
                _, first, inverse, counts = np.unique(
                    together, return_index=True, return_inverse=True, return_counts=True
                )
                parted = np.bincount(group[first], minlength=len(members)) > 1
                moved += 2 * int(members[parted].sum())
                group, members = inverse.reshape(-1), counts
                taken = on[first][:, own]
                work += (options[members][:, own] * taken).sum()
                calls += int(taken.sum())
            shared += base[members].sum() / len(self.prefix)
            calls += len(members)
        return shared, work, calls, moved, 1

    def _tables(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Milliseconds for 0 to `most` images: of what all architectures share `[most + 1]`, and of each option
        `[most + 1, D]`."""
        if most not in self._known:
            counts = torch.arange(most + 1, dtype=torch.float64)
            base, options = (self._at(values, counts).numpy() for values in (self.base[:, None], self.columns))
            options[0] = 0.0
            self._known[most] = base[:, 0], options
        return self._known[most]

    def rates(self, shares: Tensor, size: int) -> tuple[float, Tensor]:
        """Milliseconds an image in a gathered batch of `size`: of what all take, and of each option `[D]` where so
        large a share of the images takes it."""
        shared, work, calls, moved, batch = self.weights["gathered"]
        counts = (shares.double() * size).clamp_min(1.0)
        options = (work * self._at(self.columns, counts).diagonal() + calls) / counts
        parting = (counts < size).double()
        return (shared * float(self._tables(size)[0][size]) + batch) / size, options + 2.0 * moved * parting

    def _at(self, values: Tensor, counts: Tensor) -> Tensor:
        """`values` `[S, D]` at `counts` `[N]` images, `[N, D]`: straight lines between the sizes, and beyond them."""
        if len(self.sizes) == 1:
            return values * (counts / self.sizes[0])[:, None]
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        at = torch.searchsorted(sizes, counts).clamp(1, len(sizes) - 1)
        share = ((counts - sizes[at - 1]) / (sizes[at] - sizes[at - 1]))[:, None]
        return (values[at - 1] + (values[at] - values[at - 1]) * share).clamp_min(0.0)


def mixed_batches(space: Space, sizes: Sequence[int], count: int, seed: int) -> list[Tensor]:
    """Batches `[B, D]` from all images alike to all different, of cheap and of dear architectures, of strangers and of
    neighbours (what a controller picks agrees in most choices): `count` of each size."""
    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    found = []
    for size in sizes:
        for i in range(count):
            pool = 1 + round((size - 1) * (i / max(1, count - 1)) ** 2)  # few architectures as often as many
            keep = 0.1 + 0.8 * rng.random()
            codes = draw_codes(space, pool, keep, generator)
            if i % 2:
                first = space.decode(codes[0])
                codes = torch.stack([space.encode(_away(space, first, rng)) for _ in range(pool)])
            found.append(codes[torch.randint(pool, (size,), generator=generator)])
    return found


def _away(space: Space, architecture: Architecture, rng: random.Random) -> Architecture:
    for _ in range(rng.randint(0, 1 + len(space.choices) // 4) if space.size > 1 else 0):
        architecture = space.mutate(architecture, rng)
    return architecture


def time_batches(
    graph: MetaGraph,
    device: Device,
    batches: Sequence[Tensor],
    input_shape: tuple[int, ...],
    *,
    rounds: int = 5,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Timed]:
    """Every batch by every executor, on random images, in interleaved rounds.

    Args:
        graph: in evaluation mode, batch norm folded.
        input_shape: `[C, H, W]`.
    """
    chance = torch.Generator().manual_seed(seed)
    where = device.torch_device
    images = {
        size: torch.randn(size, *input_shape, generator=chance).to(where, memory_format=torch.channels_last)
        for size in sorted({len(codes) for codes in batches})
    }
    calls = {
        f"{i}/{name}": partial(execute, graph, images[len(codes)], codes, name)
        for i, codes in enumerate(batches)
        for name in EXECUTORS
    }
    with torch.no_grad():
        timed = measure(
            calls, device, rounds=rounds, rng=random.Random(seed), progress=progress, title="timing mixed batches"
        )
    return [Timed(codes, {name: timed[f"{i}/{name}"].ms for name in EXECUTORS}) for i, codes in enumerate(batches)]
