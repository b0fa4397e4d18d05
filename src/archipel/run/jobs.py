"""Independent pieces of one run side by side: a forked process each, one thread a process.

Jobs leave their results in the run folder, not in memory; so one that was done before a kill is done. A job is forked
from the process that holds data and networks, which costs milliseconds, and it ends with that process, however that
ends. On two busy cores, two threads of one process were seen 5 to 25 times slower than one.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from archipel.errors import ArchipelError
from archipel.progress import Bar, Progress

__all__ = ["Job", "run_jobs"]

_SEND_EVERY = 0.1
"""Seconds between two messages of one bar."""


@dataclass(frozen=True)
class Job:
    """One piece of work, and what it makes possible."""

    name: str
    work: Callable[[Progress], object]
    """Runs in a process of its own; what it returns is dropped."""
    weight: float = 1.0
    """Share of the whole, for the bar."""
    then: Callable[[], Sequence[Job]] = field(default=tuple)
    """Jobs that can begin when this one is done; asked in the parent."""


def run_jobs(jobs: Sequence[Job], *, workers: int, progress: Progress, title: str, total: float) -> None:
    """Run jobs and all that they open, at most `workers` at a time.

    With one worker they run here, one after another. Results do not depend on `workers`: a job always has one thread.

    Args:
        total: weight of all jobs together, those not yet opened included.

    Raises:
        ArchipelError: what a job raised; the others are stopped.
        RuntimeError: a job ended in another way; its traceback was printed.
    """
    unit = 1000.0 / max(total, 1e-9)
    with progress.bar(title, 1000) as whole:
        if workers == 1:
            _one_by_one(jobs, progress, whole, unit)
        else:
            _side_by_side(jobs, workers, progress, whole, unit)


def _one_by_one(jobs: Sequence[Job], progress: Progress, whole: Bar, unit: float) -> None:
    waiting = deque(jobs)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        while waiting:
            job = waiting.popleft()
            begin = time.monotonic()
            job.work(progress)
            progress.say(f"{job.name}: {time.monotonic() - begin:.0f} s")
            whole.advance(round(job.weight * unit))
            waiting.extendleft(reversed(job.then()))
    finally:
        torch.set_num_threads(threads)


class _Running:
    """A forked job as its parent sees it."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("fork")
        self.job = job
        self.begin = time.monotonic()
        self.inbox, outbox = context.Pipe(duplex=False)
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = context.Process(target=_child, args=(job, outbox, os.getpid()), daemon=True)
        self.process.start()
        outbox.close()
        self.bars: dict[int, tuple[AbstractContextManager[Bar], Bar]] = {}
        self.error: BaseException | None = None

    def show(self, message: tuple[Any, ...], progress: Progress) -> None:
        kind, *rest = message
        if kind == "open":
            number, title, total = rest
            manager = progress.bar(title, total)
            self.bars[number] = (manager, manager.__enter__())
        elif kind == "advance":
            number, n, figures = rest
            self.bars[number][1].advance(n, **figures)
        elif kind == "close":
            self.bars.pop(rest[0])[0].__exit__(None, None, None)
        elif kind == "error":
            self.error = rest[0]
        else:
            getattr(progress, kind)(rest[0])

    def finish(self) -> None:
        for manager, _ in self.bars.values():
            manager.__exit__(None, None, None)
        self.bars.clear()
        self.process.join()
        if self.error is not None:
            raise self.error
        if self.process.exitcode:
            raise RuntimeError(f"'{self.job.name}' ended with exit code {self.process.exitcode}")


def _side_by_side(jobs: Sequence[Job], workers: int, progress: Progress, whole: Bar, unit: float) -> None:
    waiting = deque(jobs)
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_Running(waiting.popleft()))
            for connection in wait([each.inbox for each in running], timeout=0.5):
                one = next(each for each in running if each.inbox is connection)
                try:
                    one.show(one.inbox.recv(), progress)
                except EOFError:
                    running.remove(one)
                    one.finish()
                    progress.say(f"{one.job.name}: {time.monotonic() - one.begin:.0f} s")
                    whole.advance(round(one.job.weight * unit))
                    # What a job opens goes first: long chains end sooner.
                    waiting.extendleft(reversed(one.job.then()))
    finally:
        for each in running:
            each.process.kill()
        for each in running:
            each.process.join()
            each.error = None
            for manager, _ in each.bars.values():
                manager.__exit__(None, None, None)


def _child(job: Job, outbox: Connection, parent: int) -> None:
    code = 0
    try:
        _die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its jobs
        torch.set_num_threads(1)
        job.work(_Relay(outbox))
    except ArchipelError as error:
        outbox.send(("error", error))
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        outbox.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # nothing of the parent's is to be closed here


def _die_with(parent: int) -> None:
    """End with the parent even when it is killed: its run is locked as long as this process lives."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before that
        os._exit(1)


class _Relay:
    """`Progress` that tells the parent."""

    def __init__(self, outbox: Connection) -> None:
        self._outbox = outbox
        self._opened = 0

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        self._opened += 1
        number = self._opened
        self._outbox.send(("open", number, title, total))
        bar = _RelayBar(self._outbox, number)
        try:
            yield bar
        finally:
            bar.send()
            self._outbox.send(("close", number))

    def say(self, text: str) -> None:
        self._outbox.send(("say", text))

    def alarm(self, text: str) -> None:
        self._outbox.send(("alarm", text))


class _RelayBar:
    def __init__(self, outbox: Connection, number: int) -> None:
        self._outbox, self._number = outbox, number
        self._n, self._figures, self._sent = 0, dict[str, float | str](), 0.0

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self._n += n
        self._figures |= figures
        if time.monotonic() - self._sent > _SEND_EVERY:
            self.send()

    def send(self) -> None:
        if self._n or self._figures:
            self._outbox.send(("advance", self._number, self._n, self._figures))
            self._n, self._figures, self._sent = 0, {}, time.monotonic()
