"""What runs a model's batches, and which of several is taken for how many images.

How much PyTorch and ONNX Runtime take depends on the machine, the network and how many images come together: next to a
small network calling PyTorch costs more than the network, and in large batches it is the faster where layers are wide.
So it is measured when a model is loaded, at a few batch sizes. Letters: `B` images.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from archipel.cost import Device, measure
from archipel.deploy.forms import Answered
from archipel.deploy.manifest import Point

__all__ = ["WANTED", "Answering", "Executors", "Wanted"]

Wanted = Literal["auto", "torch", "onnx"]
"""What a caller may ask for: whichever was measured to take less, PyTorch, or ONNX Runtime."""
WANTED: tuple[Wanted, ...] = ("auto", "torch", "onnx")

SPOKEN = {"torch": "PyTorch", "onnx": "ONNX Runtime"}
SIZES = (1, 8, 64)
"""Batches that are timed."""
_IMAGES, _ROUNDS = 8, 7
"""Least number of images that are timed at each size, and how often."""


class Answering(Protocol):
    """What can run a batch."""

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        """`inputs` `[B, C, H, W]`, normalised."""


@dataclass(frozen=True)
class Executors:
    """One executor, or several and what they were measured to take."""

    answering: Mapping[str, Answering]
    """`torch`, `onnx`, or both."""
    ms: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """Batch size → executor → milliseconds an image; nothing of one alone."""
    why: str = ""
    """Why another is not there that was asked for."""

    @classmethod
    def fastest(cls, answering: Mapping[str, Answering], images: Tensor, point: Point) -> Executors:
        """By turns, on torch's present number of threads.

        Args:
            images: `[N, C, H, W]`, normalised, such as the model will be asked about: how much an image takes depends
                on it. Sizes of more images than there are, are not timed.
        """
        calls, counts = {}, {}
        for size in SIZES:
            batches = images[: max(size, _IMAGES)].split(size)
            if len(batches[0]) < size:
                continue
            counts[size] = sum(map(len, batches))
            for name, one in answering.items():
                calls[size, name] = partial(_through, one, batches, point)
        timed = measure(
            {f"{size} {name}": call for (size, name), call in calls.items()},
            Device("cpu", torch.get_num_threads()),
            rounds=_ROUNDS,
            rng=random.Random(0),
        )
        ms = {size: {name: timed[f"{size} {name}"].ms / count for name in answering} for size, count in counts.items()}
        return cls(answering, ms)

    def of(self, images: int) -> str:
        """Which runs a batch of so many: what took less at the nearest size that was timed."""
        if not self.ms:
            (name,) = self.answering
            return name
        nearest = self.ms[min(self.ms, key=lambda size: abs(math.log(max(1, images) / size)))]
        return min(nearest, key=nearest.__getitem__)

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        return self.answering[self.of(len(inputs))].answer(inputs, point)

    def __str__(self) -> str:
        if not self.ms:
            return SPOKEN[self.of(1)] + (f" ({self.why})" if self.why else "")
        parts = []
        for size, times in self.ms.items():
            first, *others = sorted(times, key=times.__getitem__)
            against = ", ".join(f"{SPOKEN[name]} {times[name]:.3g}" for name in others)
            parts.append(f"{SPOKEN[first]} at {size} ({times[first]:.3g} ms an image; {against})")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """What each batch size is run by, and what was measured."""
        if not self.ms:
            return {"executor": self.of(1), "why": self.why or None}
        return {"executor": {str(size): self.of(size) for size in self.ms}, "ms": self.ms}


def _through(one: Answering, batches: tuple[Tensor, ...], point: Point) -> None:
    for batch in batches:
        one.answer(batch, point)
