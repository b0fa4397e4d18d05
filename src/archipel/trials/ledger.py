"""What was tried and what came of it: the contract of ledgers, and the one in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archipel.architecture import Architecture
from archipel.evaluators.evaluator import Metrics

__all__ = ["Ledger", "MemoryLedger", "Trial"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One architecture that was tried."""

    number: int
    """In the order in which trials ended."""
    architecture: Architecture
    metrics: Metrics | None
    """None where it failed."""
    seconds: float
    """What it cost, measured or simulated."""
    error: str | None = None


class Ledger(Protocol):
    """Keeps trials, each architecture once, and says which are still to be done.

    Several processes may share one: then `claim` gives an architecture to one of them only, and what a process that
    died had claimed is given to another by `abandoned`.
    """

    def known(self, architecture: Architecture) -> Trial | None:
        """The finished trial of an architecture, if there is one."""

    def claim(self, architecture: Architecture, *, most: int | None) -> bool:
        """Whether the caller may try it now: nobody else is at it or has done so, and with it there are at most `most`
        trials, finished and under way."""

    def finish(self, architecture: Architecture, metrics: Metrics, seconds: float) -> Trial:
        """Keep what a claimed architecture came to."""

    def fail(self, architecture: Architecture, error: str, seconds: float) -> Trial:
        """Keep that it failed for good."""

    def abandoned(self) -> Architecture | None:
        """An architecture whose process died before it was done, for the caller to claim."""

    def news(self) -> Iterable[Trial]:
        """Trials that others have finished since this was asked last."""

    def trials(self) -> Sequence[Trial]:
        """All finished ones, as they were finished."""

    def spent(self) -> tuple[int, float]:
        """How many trials are finished, and what they cost together."""


@dataclass
class MemoryLedger:
    """Trials of one process, in memory."""

    _trials: list[Trial] = field(default_factory=list)
    _known: dict[Architecture, Trial] = field(default_factory=dict)
    _seconds: float = 0.0

    def known(self, architecture: Architecture) -> Trial | None:
        return self._known.get(architecture)

    def claim(self, architecture: Architecture, *, most: int | None) -> bool:
        return architecture not in self._known and (most is None or len(self._trials) < most)

    def finish(self, architecture: Architecture, metrics: Metrics, seconds: float) -> Trial:
        return self._keep(Trial(len(self._trials), architecture, metrics, seconds))

    def fail(self, architecture: Architecture, error: str, seconds: float) -> Trial:
        return self._keep(Trial(len(self._trials), architecture, None, seconds, error))

    def abandoned(self) -> Architecture | None:
        return None

    def news(self) -> Iterable[Trial]:
        return ()

    def trials(self) -> Sequence[Trial]:
        return self._trials

    def spent(self) -> tuple[int, float]:
        return len(self._trials), self._seconds

    def _keep(self, trial: Trial) -> Trial:
        self._trials.append(trial)
        self._known[trial.architecture] = trial
        self._seconds += trial.seconds
        return trial
