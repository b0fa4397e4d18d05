"""Trials in an Optuna study: on disk or on a database server, shared by any number of processes, safe against a kill.

A trial of the study is one *attempt* at an architecture, made in one transaction with all that says what it is. Numbers
are given by the database one after another, so of two attempts at the same architecture, or two at the last place of a
budget, that with the larger number sees the other and withdraws. `optuna-dashboard` opens the study as it is.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archipel.architecture import Architecture
from archipel.errors import RunError
from archipel.evaluators.evaluator import Metrics, Objective
from archipel.space import Space
from archipel.strategies.suggestion import parameters_of
from archipel.trials.ledger import Trial

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

__all__ = ["StudyLedger"]

_ARCHITECTURE, _KEY, _WORKER, _ALIVE, _END = "architecture", "key", "worker", "alive", "end"


_OPENINGS = 5
"""Tries at opening a storage."""


@dataclass(frozen=True)
class _Attempt:
    """What a trial of the study says."""

    number: int
    key: str
    architecture: Architecture
    worker: str
    alive: float
    """When its process last said so; seconds of that process' clock."""
    running: bool
    end: dict[str, Any] | None
    """`metrics`, `seconds` and `error`; none where it was withdrawn or its process died."""

    @property
    def live(self) -> bool:
        return self.running or self.end is not None


class StudyLedger:
    """A ledger that processes share; see `archipel.trials.ledger.Ledger`.

    Args:
        storage: a file, for SQLite (not on a network file system), or a database's URL as Optuna takes it.
        name: of the study in the storage; it is made if it is not there.
        alone: no other process uses the study: what runs at the beginning was killed, and a search that begins again
            retraces its steps by itself. Else a worker is told at once what is there already.
        beat: seconds between two signs of life of what is being evaluated; with `alone` there are none.
        grace: seconds without such a sign after which another worker takes an attempt over. Of a process on this
            machine the system says whether it lives.

    Raises:
        RunError: the storage cannot be opened, or the study is of another space or other objectives.
    """

    def __init__(
        self,
        storage: str | Path,
        space: Space,
        objectives: Sequence[Objective],
        *,
        name: str = "search",
        alone: bool = False,
        beat: float = 10.0,
        grace: float = 60.0,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.objectives, self.alone = space, tuple(objectives), alone
        self.beat, self.grace = beat, grace
        self.worker = f"{_machine()}/{os.getpid()}/{_born(os.getpid())}"
        self._storage = _opened(storage)
        try:
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                directions=["maximize" if objective.maximise else "minimize" for objective in objectives],
                load_if_exists=True,
            )
        except ValueError as error:
            raise RunError(f"study '{name}' in {storage} cannot be continued ({error})") from None
        self._id = self._storage.get_study_id_from_name(name)
        self._check(name, storage)
        self._open: dict[int, _Attempt] = {}
        self._closed: dict[int, _Attempt] = {}
        self._known: dict[Architecture, Trial] = {}
        self._seconds = 0.0
        self._told: set[int] = set()
        self._mine: dict[Architecture, int] = {}
        """Claimed and not done, and the attempts' ids."""
        self._watched: dict[int, tuple[float, float]] = {}
        """Attempt of another → its last sign of life, and when this process first saw that."""
        self._looked = -math.inf
        self._beating: threading.Thread | None = None
        self._refresh()
        if alone:
            for attempt in self._open.values():
                self._give_up(attempt)
            self._refresh()

    # ---- the contract -----------------------------------------------------------------------------------------

    def known(self, architecture: Architecture) -> Trial | None:
        return self._known.get(architecture)

    def claim(self, architecture: Architecture, *, most: int | None) -> bool:
        if not self._free(architecture, most, math.inf):
            if self.alone:
                return False
            self._refresh()  # something may have come free
            if not self._free(architecture, most, math.inf):
                return False
        trial_id = self._storage.create_new_trial(self._id, template_trial=self._template(architecture))
        if not self.alone:
            self._refresh()
            own = [a.number for a in self._open.values() if (a.key, a.worker) == (architecture.key, self.worker)]
            if not self._free(architecture, most, max(own)):
                self._storage.set_trial_user_attr(trial_id, _WORKER, "")  # withdrawn: not to be taken over
                self._end(trial_id, None)
                return False
            self._told.add(max(own))
            self._keep_alive()
        self._mine[architecture] = trial_id
        return True

    def finish(self, architecture: Architecture, metrics: Metrics, seconds: float) -> Trial:
        return self._done(architecture, {"metrics": dict(metrics), "seconds": seconds, "error": None})

    def fail(self, architecture: Architecture, error: str, seconds: float) -> Trial:
        return self._done(architecture, {"metrics": None, "seconds": seconds, "error": error})

    def abandoned(self) -> Architecture | None:
        if not self.alone and time.monotonic() - self._looked > 1.0:
            self._looked = time.monotonic()
            self._refresh()
            for attempt in filter(self._dead, list(self._open.values())):
                self._give_up(attempt)
            self._refresh()
        orphans = self._orphans()
        return orphans[0].architecture if orphans else None

    def news(self) -> Iterable[Trial]:
        if self.alone:
            return []
        fresh = [a for a in self._closed.values() if a.end is not None and a.number not in self._told]
        self._told |= {attempt.number for attempt in fresh}
        return [self._known[attempt.architecture] for attempt in fresh]

    def trials(self) -> Sequence[Trial]:
        return list(self._known.values())

    def spent(self) -> tuple[int, float]:
        return len(self._known), self._seconds

    @property
    def _attempts(self) -> list[_Attempt]:
        return [*self._closed.values(), *self._open.values()]

    # ---- attempts ---------------------------------------------------------------------------------------------

    def _orphans(self) -> list[_Attempt]:
        """What dead processes were at and nobody has taken over, in the order in which it was begun."""
        live = {attempt.key for attempt in self._attempts if attempt.live}
        left = (a for a in self._attempts if not a.live and a.worker and a.key not in live)
        return sorted((a for a in left if a.architecture not in self._known), key=lambda attempt: attempt.number)

    def _free(self, architecture: Architecture, most: int | None, before: float) -> bool:
        """Whether of the attempts with a smaller number none is at the architecture, and fewer than `most` count.

        What dead processes were at counts too: the last places of the budget are kept for it.
        """
        if self.alone:
            return architecture not in self._known and (most is None or len(self._known) < most)
        attempts = self._attempts
        earlier = {a.key for a in attempts if a.live and a.number < before}
        # What is itself to be taken over waits only for what was begun before it: else two would wait for each other.
        begun = min(
            (a.number for a in attempts if a.key == architecture.key and a.worker and not a.live), default=math.inf
        )
        left = {a.key for a in self._orphans() if a.number < begun}
        taken = architecture in self._known or architecture.key in earlier
        return not taken and (most is None or len(earlier | left) < most)

    def _template(self, architecture: Architecture) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        held = parameters_of(self.space, architecture)
        return create_trial(
            state=TrialState.RUNNING,
            params={name: value for name, (value, _) in held.items()},
            distributions={name: distribution for name, (_, distribution) in held.items()},
            user_attrs={
                _ARCHITECTURE: architecture.to_json(),
                _KEY: architecture.key,
                _WORKER: self.worker,
                _ALIVE: time.time(),
            },
        )

    def _done(self, architecture: Architecture, end: dict[str, Any]) -> Trial:
        self._end(self._mine.pop(architecture), end)
        return self._known.get(architecture) or self._keep(architecture, end)

    def _end(self, trial_id: int, end: dict[str, Any] | None) -> None:
        """Close an attempt; what it came to goes first, so that a kill in between loses nothing that counts."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            if end is not None:
                self._storage.set_trial_user_attr(trial_id, _END, json.dumps(end))
            metrics = None if end is None else end["metrics"]
            if metrics is None:
                self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
            else:
                values = [float(metrics[objective.metric]) for objective in self.objectives]
                self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, values)
        except UpdateFinishedTrialError:
            pass  # this process was taken for dead, and another has done it

    def _give_up(self, attempt: _Attempt) -> None:
        """Close a dead process' attempt: with what it came to, if it said so, else without."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, attempt.number)
        said = self._storage.get_trial(trial_id).user_attrs.get(_END)
        self._end(trial_id, None if said is None else json.loads(said))

    def _keep(self, architecture: Architecture, end: dict[str, Any]) -> Trial:
        trial = Trial(len(self._known), architecture, end["metrics"], end["seconds"], end["error"])
        self._known[architecture] = trial
        self._seconds += trial.seconds
        return trial

    def _refresh(self) -> None:
        """Read what the study holds; only attempts that were open are read again."""
        fresh = []
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number not in self._closed and _KEY in trial.user_attrs:
                attempt = _attempt(trial)
                (self._open if attempt.running else self._closed)[trial.number] = attempt
                if not attempt.running:
                    self._open.pop(trial.number, None)
                    fresh.append((trial.datetime_complete, attempt))
        for _, attempt in sorted(fresh, key=lambda pair: (pair[0], pair[1].number)):
            if attempt.end is not None and attempt.architecture not in self._known:
                self._keep(attempt.architecture, attempt.end)

    # ---- life and death ---------------------------------------------------------------------------------------

    def _dead(self, attempt: _Attempt) -> bool:
        if attempt.worker in ("", self.worker):
            return not attempt.worker
        machine, pid, born = attempt.worker.rsplit("/", 2)
        if machine == _machine():
            return _born(int(pid)) != born
        sign, since = self._watched.get(attempt.number, (math.nan, 0.0))
        if sign != attempt.alive:
            self._watched[attempt.number] = attempt.alive, time.monotonic()
            return False
        return time.monotonic() - since > self.grace

    def _keep_alive(self) -> None:
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="signs of life", daemon=True)
            self._beating.start()

    def _beat(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        while True:
            time.sleep(self.beat)
            for trial_id in list(self._mine.values()):
                with suppress(UpdateFinishedTrialError):  # it ended meanwhile
                    self._storage.set_trial_user_attr(trial_id, _ALIVE, time.time())

    def _check(self, name: str, storage: str | Path) -> None:
        directions = [direction.name for direction in self._study.directions]
        wanted = ["MAXIMIZE" if objective.maximise else "MINIMIZE" for objective in self.objectives]
        held = self._study.user_attrs.get("space", self.space.digest), self._study.user_attrs.get("metrics")
        metrics = [objective.metric for objective in self.objectives]
        if directions != wanted or held[0] != self.space.digest or held[1] not in (None, metrics):
            raise RunError(f"study '{name}' in {storage} is of another space or other objectives; name another study")
        self._study.set_user_attr("space", self.space.digest)
        self._study.set_user_attr("metrics", metrics)


def _attempt(trial: FrozenTrial) -> _Attempt:
    said, end = trial.user_attrs, None
    running = not trial.state.is_finished()
    if not running and _END in said:
        end = json.loads(said[_END])
    architecture = Architecture.from_json(said[_ARCHITECTURE])
    return _Attempt(trial.number, said[_KEY], architecture, said[_WORKER], said[_ALIVE], running, end)


def _opened(storage: str | Path) -> RDBStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage

    url = str(storage) if "://" in str(storage) else f"sqlite:///{Path(storage).expanduser().resolve()}"
    local = url.startswith("sqlite")
    for left in reversed(range(_OPENINGS)):
        try:
            made = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}} if local else {})
            break
        except (ImportError, sqlalchemy.exc.SQLAlchemyError) as error:
            # Processes that begin at the same moment all make the tables; all but one fail, and then they are there.
            if not left or isinstance(error, ImportError):
                raise RunError(f"storage '{url}' cannot be opened ({' '.join(str(error).split())[:200]})") from None
            time.sleep(0.2)
    if local:
        # Readers do not wait for a writer then, and a commit is one write to the log: 13 ms a trial instead of 70.
        @sqlalchemy.event.listens_for(made.engine, "connect")
        def prepare(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        made.engine.dispose()  # connections that are open already do not have it
    return made


def _machine() -> str:
    """This machine's name and, where there are such, the name space of its process numbers."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str:
    """When a process began, so that its number alone does not stand for another; empty where there is none, or where
    nothing is left of it but its end that nobody has asked for."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in ("Z", "X") else fields[18]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
