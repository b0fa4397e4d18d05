"""Sums over the parts of a network, for many architectures at once, where they are no sums over the code.

In a space with `value` choices one option shapes many layers, but each layer is shaped by few choices. Letters: `B`
architectures, `D` code columns.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError
from archipel.space import Space

__all__ = ["LayerSum"]

SMALL = 64
"""Up to so many architectures each is looked at as a whole."""
BASES = 3
"""Architectures from which every choice is moved to begin with."""
HELD_OUT = 8
"""In a row must be right."""
TRIES = 24
WAYS = 4096
"""Of setting the choices of one part are gone through, at most."""


class LayerSum:
    """Σ over a network's parts of a figure that few choices decide, of codes `[B, D]`.

    Which choices decide a part is found by moving every choice away from the architecture of the greatest values, in
    which every layer of a depth stands, and from a few random ones, and again from each of those held out for which the
    sum is not right, until several in a row are. A part is then looked at once
    for each way in which its choices are set.

    Args:
        figures: architecture → part → its figure; a part may be missing, and counts 0.
    """

    def __init__(self, space: Space, figures: Callable[[Architecture], Mapping[str, float]], *, seed: int = 0) -> None:
        self.space = space
        self._figures = figures
        self._looked: dict[Architecture, Mapping[str, float]] = {}
        self._deciding: dict[str, set[str]] = {}  # part → the choices that decide it
        self._groups: list[_Group] = []
        if space.size <= SMALL:
            self._depend_on_everything()
        else:
            self._explore(random.Random(seed))

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]` bool, canonical → `[B]`, float64."""
        codes = codes.cpu()
        total = torch.zeros(len(codes), dtype=torch.float64)
        for group in self._groups:
            settings, inverse = codes[:, group.columns].unique(dim=0, return_inverse=True)
            keys = [setting.numpy().tobytes() for setting in settings]
            for i, key in enumerate(keys):
                if key not in group.known:
                    self._note(codes[int((inverse == i).nonzero()[0])])
            total += torch.tensor([group.known[key] for key in keys], dtype=torch.float64)[inverse]
        return total

    def covering(self) -> Iterator[Architecture]:
        """Architectures in which every part stands in every way that it can, as far as is known what decides it."""
        rng, met = random.Random(0), [set[bytes]() for _ in self._groups]

        def is_new(architecture: Architecture) -> bool:
            code, count = self.space.encode(architecture), sum(map(len, met))
            for group, seen in zip(self._groups, met):
                seen.add(group.setting(code))
            return sum(map(len, met)) > count

        yield from filter(is_new, self._looked)
        for group in self._groups:
            choices = [c for c in self.space.choices if c.name in group.choices and not c.takes_several]
            if math.prod(len(choice.options) for choice in choices) > WAYS:
                continue
            for values in itertools.product(*(choice.options for choice in choices)):
                wanted = dict(zip((choice.name for choice in choices), values))
                with suppress(ArchitectureError):  # it opens a choice that the random one does not set
                    near = self.space.canonical({**self.space.sample(rng), **wanted})
                    if is_new(near):
                        yield near

    def _note(self, code: Tensor) -> None:
        """Every part of one architecture."""
        figures = self._look(self.space.decode(code))
        for group in self._groups:
            parts = figures.keys() if group.parts is None else group.parts
            group.known[group.setting(code)] = sum(figures.get(part, 0.0) for part in parts)

    def _look(self, architecture: Architecture) -> Mapping[str, float]:
        if architecture not in self._looked:
            self._looked[architecture] = self._figures(architecture)
        return self._looked[architecture]

    def _explore(self, rng: random.Random) -> None:
        self._move_all(self._greatest(rng))
        for _ in range(BASES):
            self._move_all(self.space.sample(rng))
        right = 0
        for _ in range(TRIES):
            held_out = self.space.sample(rng)
            told, true = float(self(self.space.encode(held_out)[None])[0]), sum(self._look(held_out).values())
            right += 1
            if abs(told - true) > 1e-9 * max(1.0, abs(true)):
                self._move_all(held_out)
                right = 0
            if right == HELD_OUT:
                return
        self._depend_on_everything()

    def _greatest(self, rng: random.Random) -> Architecture:
        """Every `value` choice at its greatest, the others as in a random architecture that sets them."""
        drawn = self.space.sample(rng)
        values: dict[str, Any] = {}
        for choice in self.space.active(values):  # grows as the loop sets values
            first = choice.options[: choice.k] if choice.takes_several else choice.options[0]
            values[choice.name] = max(choice.options) if choice.kind == "value" else drawn.get(choice.name, first)
        return self.space.canonical(values)

    def _move_all(self, base: Architecture) -> None:
        here = self._look(base)
        for near in self.space.neighbours(base):
            there = self._look(near)
            moved = {c.name for c in self.space.choices if base.get(c.name) != near.get(c.name)}
            for part in here.keys() | there.keys():
                deciding = self._deciding.setdefault(part, set())
                if here.get(part) != there.get(part):
                    deciding |= moved
        parts: dict[frozenset[str], list[str]] = {}
        for part, deciding in self._deciding.items():
            parts.setdefault(frozenset(deciding), []).append(part)
        self._groups = [self._group(deciding, tuple(sorted(own))) for deciding, own in parts.items()]

    def _depend_on_everything(self) -> None:
        self._groups = [self._group(frozenset(self.space.slices), None)]

    def _group(self, choices: frozenset[str], parts: tuple[str, ...] | None) -> _Group:
        cuts = [torch.arange(cut.start, cut.stop) for name, cut in self.space.slices.items() if name in choices]
        return _Group(choices, torch.cat(cuts) if cuts else torch.arange(1), parts)


@dataclass(frozen=True)
class _Group:
    """Parts that the same choices decide."""

    choices: frozenset[str]
    columns: Tensor
    """Of those choices."""
    parts: tuple[str, ...] | None
    """None: all."""
    known: dict[bytes, float] = field(default_factory=dict)
    """How the choices are set → Σ over the parts."""

    def setting(self, code: Tensor) -> bytes:
        """How a code `[D]` sets the choices."""
        return code[self.columns].numpy().tobytes()
