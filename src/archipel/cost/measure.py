"""Time several things fairly on one machine: by turns, in shuffled order, with a statistic that noise cannot move.

Other work on a machine slows whatever happens to run, for microseconds or for seconds. Taking turns spreads
that over all candidates alike; each is called once untimed before it is timed, so that what the others left in
the caches does not count. The figure quoted is the lower decile of a candidate's samples.

Evidence: 24 networks of 2.4 ms, 30 rounds, 4 sessions each beside 0, 1 and 2 foreign processes on 2 cores;
mean difference between sessions, their common factor taken out. Wall clock: lower decile 1.1 / 1.1 / 4.1 %, least
1.3 / 1.5 / 2.9 %, lower quartile 1.1 / 1.2 / 8.1 %, median 1.1 / 3.0 / 17.8 %. Dividing by the neighbours in time
(a reference for drift) gave 1.1 / 1.5 / 4.0 %, no better than the decile alone, so it is not done.
What no statistic removes is the speed of the whole machine: sessions minutes apart differed by 3 to 5 % there.
Compare figures of one session, or measure something known again beside the new, as `archipel.cost.check` does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch

from archipel.cost.device import Device
from archipel.errors import OptionError
from archipel.progress import SILENT, Progress

__all__ = ["Clock", "CudaClock", "OwnTimeClock", "TimesItself", "Timing", "WallClock", "clock_of", "measure", "quiet"]


class Clock(Protocol):
    """Stamps moments of a device's work; `milliseconds` may be asked only after `settle`."""

    def stamp(self) -> Any:
        """The present moment in the device's own queue of work."""

    def settle(self) -> None:
        """Wait until the device has done everything it was asked to do."""

    def milliseconds(self, start: Any, end: Any) -> float:
        """Between two stamps."""


class WallClock:
    """The wall clock, for work that is finished when its call returns."""

    stamp = staticmethod(time.perf_counter)

    def settle(self) -> None:
        pass

    def milliseconds(self, start: float, end: float) -> float:
        return 1e3 * (end - start)


class OwnTimeClock:
    """The wall clock less the time in which other programs had the processor: for one computing thread.

    On an idle machine it is the wall clock. On a busy one a pass of more than a scheduler's slice is interrupted
    nearly every time, and then no statistic of its wall-clock samples says what it takes. It is not for
    work that sleeps or computes outside this process: that is `WallClock`'s.
    """

    def stamp(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def settle(self) -> None:
        pass

    def milliseconds(self, start: tuple[float, float], end: tuple[float, float]) -> float:
        return 1e3 * min(end[0] - start[0], end[1] - start[1])


class CudaClock:
    """CUDA events in the device's current stream."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def stamp(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device.torch_device))
        return event

    def settle(self) -> None:
        self.device.synchronize()

    def milliseconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return start.elapsed_time(end)


def clock_of(device: Device) -> Clock:
    """Events on CUDA, own time on one CPU thread, the wall clock on several."""
    if device.torch_device.type == "cuda":
        return CudaClock(device)
    return OwnTimeClock() if device.threads == 1 else WallClock()


@runtime_checkable
class TimesItself(Protocol):
    """A candidate on a device that only its owner can time."""

    def milliseconds(self, rounds: int) -> Sequence[float]:
        """`rounds` samples, warmed up."""


_VISITS = 3
"""How often such a candidate comes: each visit may mean to deploy it anew."""


@dataclass(frozen=True)
class Timing:
    """Samples of one candidate, in milliseconds."""

    samples: tuple[float, ...]

    @property
    def ms(self) -> float:
        """The figure to quote: the lower decile, which other work on the machine hardly moves."""
        return float(quiet(np.asarray(self.samples)))

    @property
    def median(self) -> float:
        return float(np.median(self.samples))

    @property
    def low(self) -> float:
        """The least sample."""
        return min(self.samples)

    @property
    def chance(self) -> float:
        """How far `ms` may be off by chance, as a share of it: half of what odd and even rounds differ by, which for
        independent rounds is as large on average as the error itself. NaN for a single round."""
        if len(self.samples) < 2:
            return float("nan")
        even, odd = quiet(self.samples[::2]), quiet(self.samples[1::2])
        return abs(float(even - odd)) / (2 * self.ms) if self.ms else 0.0

    @property
    def high(self) -> float:
        """The upper decile: how far other work on the machine reached."""
        return float(np.quantile(self.samples, 0.9))


def quiet(samples: Sequence[float] | np.ndarray) -> np.ndarray:
    """What the samples would be on a quiet machine: their lower decile along the first axis."""
    return np.asarray(np.quantile(np.asarray(samples), 0.1, axis=0))


def measure(
    candidates: Mapping[str, Callable[[], object]],
    device: Device,
    *,
    rounds: int = 30,
    lead: int = 1,
    rng: random.Random,
    clock: Clock | None = None,
    progress: Progress = SILENT,
    title: str = "Timing",
) -> dict[str, Timing]:
    """Call every candidate once a round, in an order shuffled anew each round, and time each call.

    Gradients are off, and torch uses the device's threads; both are as before afterwards.

    Args:
        candidates: name → what to time, without arguments; it leaves its work on `device`. What times itself, on a
            device that is not ours to time, is asked three times for a third of the rounds, also by turns.
        rounds: timed calls of each candidate.
        lead: untimed calls right before each timed one.
        rng: shuffles the order.
        clock: another clock than the device's own; `WallClock()` for work that leaves this process, or to time
            what a user waits on a busy machine.

    Raises:
        OptionError: nothing to time, or no rounds.
    """
    if not candidates or rounds < 1:
        raise OptionError(f"timing needs candidates and rounds; got {len(candidates)} and {rounds}")
    clock = clock or clock_of(device)
    if all(isinstance(call, TimesItself) for call in candidates.values()):
        return _visited(cast(Mapping[str, TimesItself], candidates), rounds, rng, progress, title)
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    order: Sequence[str] = list(candidates)
    with device.use(), torch.inference_mode(), progress.bar(title, rounds) as bar:
        for call in candidates.values():
            call()
        for _ in range(rounds):
            order = rng.sample(order, len(order))
            for name in order:
                for _ in range(lead):
                    candidates[name]()
                clock.settle()
                start = clock.stamp()
                candidates[name]()
                end = clock.stamp()
                clock.settle()
                samples[name].append(clock.milliseconds(start, end))
            bar.advance()
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def _visited(
    candidates: Mapping[str, TimesItself], rounds: int, rng: random.Random, progress: Progress, title: str
) -> dict[str, Timing]:
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    visits = [len(part) for part in np.array_split(range(rounds), min(rounds, _VISITS))]
    with progress.bar(title, len(visits) * len(candidates)) as bar:
        for visit in visits:
            for name in rng.sample(list(candidates), len(candidates)):
                samples[name] += candidates[name].milliseconds(visit)
                bar.advance()
    return {name: Timing(tuple(values)) for name, values in samples.items()}
