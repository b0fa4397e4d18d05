"""The loop of every black-box search: ask, look up or evaluate, tell, until the budget is spent."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from archipel.architecture import Architecture
from archipel.errors import ArchipelError, EvaluationError, OptionError
from archipel.evaluators.evaluator import SECONDS, Evaluator, scores_of
from archipel.progress import SILENT, Progress
from archipel.strategies.strategy import Strategy
from archipel.trials.ledger import Ledger, MemoryLedger, Trial

__all__ = ["Budget", "Search", "Step", "search"]

_PATIENCE = 2_000
"""Proposals in a row that are all known already, before a search gives up."""

_REPEATS = 500, 10
"""The same all in all, also between new ones: so many, and so many more for each new one. A policy that has settled
finds something new now and then, and may take hours over it."""

_WAIT = 0.2
"""Seconds between two looks at what others are still at."""


@dataclass(frozen=True)
class Budget:
    """When a search ends: with the first limit that is reached. The trial that passes `seconds` still counts."""

    trials: int | None = None
    """Different architectures; with `repeats`, proposals."""
    seconds: float | None = None
    """What the trials cost together: measured where they train, simulated where they are looked up."""
    repeats: bool = False
    """An architecture that is proposed again costs again, as in NATS-Bench's published runs; else it is free."""

    def __post_init__(self) -> None:
        if self.trials is None and self.seconds is None:
            raise OptionError("a budget has no limit; give trials, seconds or both")
        for name in ("trials", "seconds"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise OptionError(f"budget.{name} is {value}; give a number above 0")


@dataclass(frozen=True, slots=True)
class Step:
    """One proposal of a search, and what had been spent when it was answered."""

    trial: Trial
    trials: int
    seconds: float


@dataclass
class Search:
    """How a search went."""

    steps: list[Step] = field(default_factory=list)
    """What was told, in that order: each architecture once, or, where repeats cost, every time."""
    ended: str = "budget"
    """`budget`; `exhausted`: no architecture is left; `stuck`: what was proposed was known, too often."""


def search(
    strategy: Strategy,
    evaluator: Evaluator,
    budget: Budget,
    *,
    ledger: Ledger | None = None,
    retries: int = 1,
    progress: Progress = SILENT,
    title: str = "search",
) -> Search:
    """Run a strategy until the budget is spent.

    What the ledger knows is told and not evaluated again: so a search that was killed begins from its start and, with
    the same strategy and seed, comes back to where it was within moments. An evaluation that raises is tried `retries`
    times more; then it is kept as failed, and the strategy is told so. A strategy that proposes what is known is told
    again, so many times; then the search has ended, `stuck`. With a ledger that several processes share, the
    budget is that of all together.

    Args:
        ledger: in memory if not given.

    Raises:
        ArchipelError: a mistake of the caller's, from the evaluator or the strategy; `EvaluationError` is none.
    """
    run = _Run(strategy, evaluator, budget, MemoryLedger() if ledger is None else ledger, retries)
    with progress.bar(title, budget.trials or max(1, math.ceil(budget.seconds or 1))) as bar:
        for step in run.steps():
            done = step.trials - run.shown if budget.trials else int(step.seconds) - run.shown
            run.shown += done
            bar.advance(done, **run.figures())
    return run.found


class _Run:
    def __init__(self, strategy: Strategy, evaluator: Evaluator, budget: Budget, ledger: Ledger, retries: int) -> None:
        self.strategy, self.evaluator, self.budget, self.ledger = strategy, evaluator, budget, ledger
        self.retries = retries
        self.found = Search()
        self.told: set[Architecture] = set()
        self.trials, self.seconds = 0, 0.0
        """Of the steps so far; a shared or continued ledger may hold more."""
        self.repeats, self.repeated = 0, 0.0
        """Proposals that cost again, and what."""
        self.known = 0
        """Proposals that were known and free."""
        self.shown = 0
        self.best = -math.inf

    def steps(self) -> Iterator[Step]:
        in_a_row = 0
        while not self._spent():
            for trial in self.ledger.news():
                yield from self._tell(trial)
            architecture = self.ledger.abandoned() or self.strategy.ask()
            known = self.ledger.known(architecture)
            if known is None:
                most = None if self.budget.trials is None else self.budget.trials - self.repeats
                if not self.ledger.claim(architecture, most=most):
                    time.sleep(_WAIT)  # another worker is at it, or at the last trials of the budget
                    continue
                known = self._evaluated(architecture)
            if known.architecture not in self.told:
                in_a_row = 0
            elif self.ledger.spent()[0] >= self.evaluator.space.size:
                self.found.ended = "exhausted"
                return
            else:
                in_a_row += 1
                self.known += not self.budget.repeats
                if in_a_row > _PATIENCE or self.known > _REPEATS[0] + _REPEATS[1] * len(self.told):
                    self.found.ended = "stuck"
                    return
            yield from self._tell(known)

    def figures(self) -> dict[str, float]:
        return {"best": round(self.best, 3)} if math.isfinite(self.best) else {}

    def _spent(self) -> bool:
        trials, seconds = self.ledger.spent()
        most, longest = self.budget.trials, self.budget.seconds
        return (most is not None and trials + self.repeats >= most) or (
            longest is not None and seconds + self.repeated >= longest
        )

    def _tell(self, trial: Trial) -> Iterator[Step]:
        again = trial.architecture in self.told
        scores = None if trial.metrics is None else scores_of(trial.metrics, self.evaluator.objectives)
        self.strategy.tell(trial.architecture, scores)
        if again and not self.budget.repeats:
            return
        if again:
            self.repeats += 1
            self.repeated += trial.seconds
        self.trials += 1
        self.seconds += trial.seconds
        self.told.add(trial.architecture)
        if scores is not None and scores[0] > self.best:
            self.best = scores[0]
        step = Step(trial, self.trials, self.seconds)
        self.found.steps.append(step)
        yield step

    def _evaluated(self, architecture: Architecture) -> Trial:
        begin = time.perf_counter()
        for _ in range(self.retries + 1):
            try:
                metrics = self.evaluator(architecture)
            except EvaluationError as error:
                said = str(error)
            except ArchipelError:
                raise
            except Exception as error:  # a network that does not train must not end the search of the others
                said = f"{type(error).__name__}: {error}"
            else:
                seconds = metrics.get(SECONDS)
                return self.ledger.finish(
                    architecture, metrics, time.perf_counter() - begin if seconds is None else seconds
                )
        return self.ledger.fail(architecture, said, time.perf_counter() - begin)
