"""Requests that come one by one, run together: a bounded queue, and one thread that takes what has gathered in it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from archipel.deploy.manifest import Point
from archipel.deploy.model import Model, Prediction
from archipel.errors import OptionError

__all__ = ["Batcher", "Batching", "Busy", "Reply"]

REMEMBERED = 0.9
"""Weight of the past in the mean time an image takes, at every batch."""


@dataclass(frozen=True)
class Batching:
    """How requests are put together."""

    max_batch: int = 64
    """Images that are run together at most."""
    max_wait_ms: float = 0.0
    """How long an image waits for others; 0: it is joined by what came while the last batch ran, and no longer."""
    queue: int = 256
    """Images that may wait; one more is refused."""

    def __post_init__(self) -> None:
        for name in ("max_batch", "queue"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more")
        if self.max_wait_ms < 0.0:
            raise OptionError(f"max-wait-ms is {self.max_wait_ms:g}; give 0 or more")


class Busy(Exception):
    """The queue is full, or nothing is taken any more."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many images wait; try again in {seconds} s")
        self.seconds = seconds
        """When to try again."""


class Reply(NamedTuple):
    """The answer to one request."""

    prediction: Prediction
    probabilities: np.ndarray
    """`[classes]`"""
    batch: int
    """Images that were run together."""
    measured_ms: float
    """Wall-clock of that batch, an image."""


class _Item(NamedTuple):
    pixels: Tensor
    """uint8 `[1, C, H, W]`."""
    point: Point
    reply: asyncio.Future[Reply]


class Batcher:
    """Runs images that wait together, each target latency's apart, in a thread of its own.

    Images of one batch may take different architectures: of a controller's they are run in the way that the run's
    measured cost model says takes least, of a cascade the unsure ones go on together (`archipel.instance`).

    Args:
        seen: told of every batch how many images it had.
    """

    def __init__(self, model: Model, options: Batching, seen: Callable[[int], None] = lambda _: None) -> None:
        self.model, self.options, self._seen = model, options, seen
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue(options.queue)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._open = True
        self._image_ms = 1.0
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return self._queue.qsize()

    @property
    def is_open(self) -> bool:
        return self._open

    def start(self) -> None:
        """Begin, in the running event loop."""
        self._worker = asyncio.create_task(self._work())

    async def answer(self, pixels: Tensor, point: Point) -> Reply:
        """What the model says of one image, uint8 `[1, C, H, W]`.

        Raises:
            Busy: too many wait already.
        """
        if not self._open:
            raise Busy(1)
        item = _Item(pixels, point, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            raise Busy(max(1, math.ceil(self.options.queue * self._image_ms / 1000.0))) from None
        return await item.reply

    async def close(self) -> None:
        """Take nothing more, and return when all that waits is answered."""
        self._open = False
        if self._worker is not None:
            await self._queue.put(None)
            await self._worker
        self._pool.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while (first := await self._queue.get()) is not None:
            batch, more = await self._gathered(first)
            groups: dict[Point, list[_Item]] = {}
            for item in batch:
                if not item.reply.done():  # whoever asked may have gone
                    groups.setdefault(item.point, []).append(item)
            for point, items in groups.items():
                try:
                    replies = await loop.run_in_executor(self._pool, self._run, point, [item.pixels for item in items])
                except Exception as error:
                    for item in items:
                        if not item.reply.done():
                            item.reply.set_exception(error)
                    continue
                for item, reply in zip(items, replies, strict=True):
                    if not item.reply.done():
                        item.reply.set_result(reply)
            if not more:
                return

    async def _gathered(self, first: _Item) -> tuple[list[_Item], bool]:
        """What is run with an image, and whether anything can come after it."""
        batch, until = [first], time.monotonic() + self.options.max_wait_ms / 1000.0
        while len(batch) < self.options.max_batch:
            left = until - time.monotonic()
            try:
                item = await asyncio.wait_for(self._queue.get(), left) if left > 0 else self._queue.get_nowait()
            except (TimeoutError, asyncio.QueueEmpty):
                break
            if item is None:
                return batch, False
            batch.append(item)
        return batch, True

    def _run(self, point: Point, pixels: Sequence[Tensor]) -> list[Reply]:
        begin = time.perf_counter()
        said = self.model.answer(torch.cat(list(pixels)), point)
        ms = (time.perf_counter() - begin) * 1000.0 / len(said)
        self._image_ms = REMEMBERED * self._image_ms + (1.0 - REMEMBERED) * ms
        self._seen(len(said))
        return [Reply(said[i], said.probabilities[i], len(said), ms) for i in range(len(said))]
