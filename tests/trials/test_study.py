"""Studies on disk: what a ledger promises, with several processes at it and one of them killed; what Optuna reads."""

from __future__ import annotations

import functools
import glob
import multiprocessing
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.errors import RunError
from archipel.evaluators import Metrics, Objective
from archipel.space import Space
from archipel.strategies import RandomSearch
from archipel.trials import Budget, StudyLedger, search

optuna = pytest.importorskip("optuna")


def flat(choose: Choose) -> nn.Module:
    options = {"a": nn.Identity, "b": nn.Identity, "c": nn.Identity}
    return nn.Sequential(*[choose.op(f"l{i}", options) for i in range(4)])


SPACE = Space(flat)
OBJECTIVES = (Objective("accuracy"), Objective("ms", maximise=False))


@pytest.fixture
def open_study(tmp_path: Path) -> Callable[..., StudyLedger]:
    return lambda **settings: StudyLedger(tmp_path / "study.db", SPACE, OBJECTIVES, **settings)


A, B, C = (SPACE.unrank(i) for i in (0, 1, 2))


class TestAnother:
    """Two ledgers on one study, in one process: each sees what the other does."""

    def test_nothing_is_given_to_both(self, open_study) -> None:
        one, two = open_study(), open_study()
        assert one.claim(A, most=None)
        assert not two.claim(A, most=None)
        done = one.finish(A, {"accuracy": 90.0, "ms": 2.0}, 3.0)
        assert not two.claim(A, most=None)
        assert [t.architecture for t in two.news()] == [A]
        assert list(two.news()) == []
        assert list(one.news()) == [], "what it did itself is no news"
        assert two.known(A) == done
        assert two.spent() == one.spent() == (1, 3.0)

    def test_what_is_under_way_counts_to_the_budget(self, open_study) -> None:
        one, two = open_study(), open_study()
        assert one.claim(A, most=2)
        assert two.claim(B, most=2)
        assert not two.claim(C, most=2)
        assert not one.claim(C, most=2)
        one.fail(A, "does not train", 1.0)
        assert not two.claim(C, most=2), "what failed for good is done"

    def test_both_at_once(self, open_study, monkeypatch) -> None:
        """Each looks, sees nothing, and writes: the one with the larger number withdraws."""
        one, two = open_study(), open_study()
        assert one.claim(A, most=None)
        fresh = two._free
        answers = iter([True])
        monkeypatch.setattr(two, "_free", lambda *given: next(answers, None) or fresh(*given))
        assert not two.claim(A, most=None)
        assert two.abandoned() is None, "what was withdrawn is nobody's loss"
        one.finish(A, {"accuracy": 1.0, "ms": 1.0}, 0.0)


class TestContinued:
    def test_with_what_was_found(self, open_study) -> None:
        first = open_study(alone=True)
        assert first.claim(A, most=None)
        done = first.finish(A, {"accuracy": 90.0, "ms": 2.0, "seconds": 4.0}, 4.0)
        assert first.claim(B, most=None)
        failed = first.fail(B, "does not train", 1.0)
        again = open_study(alone=True)
        assert list(again.trials()) == [done, failed]
        assert again.spent() == (2, 5.0)
        assert list(again.news()) == [], "a search that begins again asks for them itself"
        assert [t.architecture for t in open_study().news()] == [A, B]

    def test_what_was_under_way_is_done_first(self, open_study) -> None:
        first = open_study(alone=True)
        assert first.claim(A, most=None)
        again = open_study(alone=True)
        assert again.known(A) is None
        assert again.abandoned() == A
        assert again.claim(A, most=1)
        again.finish(A, {"accuracy": 1.0, "ms": 1.0}, 0.0)
        assert again.abandoned() is None

    def test_what_was_found_and_not_yet_closed_is_not_done_again(self, open_study) -> None:
        first = open_study(alone=True)
        assert first.claim(A, most=None)
        first._storage.set_trial_user_attr(
            first._mine[A], "end", '{"metrics": {"accuracy": 7.0, "ms": 1.0}, "seconds": 2.0, "error": null}'
        )
        again = open_study(alone=True)
        assert again.abandoned() is None
        found = again.known(A)
        assert found is not None
        assert found.metrics == {"accuracy": 7.0, "ms": 1.0}

    def test_the_last_place_is_kept_for_it(self, open_study, monkeypatch) -> None:
        """Another worker's own proposal does not take it, whoever is first."""
        first, second = open_study(), open_study(grace=0.0)
        monkeypatch.setattr(first, "worker", "elsewhere/1/1")
        assert first.claim(A, most=1)
        assert second.abandoned() is None
        second._looked = -10.0
        time.sleep(0.01)
        assert second.abandoned() == A
        third = open_study()
        assert not third.claim(B, most=1)
        assert third.claim(B, most=2), "there is a place beside it"
        assert second.claim(A, most=2)

    def test_of_a_machine_that_says_nothing_any_more(self, open_study, monkeypatch) -> None:
        first, second = open_study(), open_study(grace=0.0)
        monkeypatch.setattr(first, "worker", "elsewhere/1/1")
        assert first.claim(A, most=None)
        assert second.abandoned() is None, "it is watched from now on"
        second._looked = -10.0
        time.sleep(0.01)
        assert second.abandoned() == A


class TestOptuna:
    def test_reads_it(self, open_study, tmp_path: Path) -> None:
        ledger = open_study(alone=True)
        assert ledger.claim(B, most=None)
        ledger.finish(B, {"accuracy": 90.0, "ms": 2.0}, 3.0)
        assert ledger.claim(C, most=None)
        ledger.fail(C, "does not train", 0.0)
        study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'study.db'}")
        assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        first, second = study.trials
        assert (first.values, first.params) == ([90.0, 2.0], dict(B))
        assert second.state.name == "FAIL"

    def test_a_log_of_its_own(self, open_study, tmp_path: Path) -> None:
        open_study()
        assert sqlite3.connect(tmp_path / "study.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)


class TestMistakes:
    def test_another_space_or_other_objectives(self, open_study, tmp_path: Path) -> None:
        open_study()
        small_space = Space(lambda choose: choose.op("l0", {"a": nn.Identity, "b": nn.Identity}))
        with pytest.raises(RunError, match="is of another space or other objectives; name another study"):
            StudyLedger(tmp_path / "study.db", small_space, OBJECTIVES)
        with pytest.raises(RunError, match="study 'search' in"):
            StudyLedger(tmp_path / "study.db", SPACE, OBJECTIVES[:1])

    def test_a_storage_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no database, " * 100)
        with pytest.raises(RunError, match="cannot be opened"):
            StudyLedger(tmp_path / "text", SPACE, OBJECTIVES)
        with pytest.raises(RunError, match="storage 'nosuch://host/db' cannot be opened"):
            StudyLedger("nosuch://host/db", SPACE, OBJECTIVES)


class Slow:
    """Evaluates in a moment, and writes down that it did."""

    space, objectives = SPACE, OBJECTIVES

    def __init__(self, log: Path, seconds: float) -> None:
        self.log, self.seconds = log, seconds

    def __call__(self, architecture: Architecture, /) -> Metrics:
        self._note("begun", architecture)
        time.sleep(self.seconds)
        self._note("done", architecture)
        return {"accuracy": float(SPACE.rank(architecture)), "ms": 1.0, "seconds": 1.0}

    def _note(self, what: str, architecture: Architecture) -> None:
        with self.log.open("a") as file:
            file.write(f"{what} {architecture.key} {os.getpid()}\n")


def _worker(storage: str | Path, log: Path, seed: int, trials: int) -> None:
    ledger = StudyLedger(storage, SPACE, OBJECTIVES)
    search(RandomSearch(SPACE, seed=seed), Slow(log, 0.05), Budget(trials=trials), ledger=ledger)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A server of our own, on a socket in a folder of its own: its URL. It does not run as root."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: PostgreSQL's driver")
    found = [shutil.which("initdb"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))]
    if not (initdb := next(filter(None, found), None)):
        pytest.skip("there is no PostgreSQL server here (Debian's package postgresql)")
    user = "postgres" if os.geteuid() == 0 else None
    if user and user not in (entry.pw_name for entry in pwd.getpwall()):
        pytest.skip("there is no user postgres, and the server does not run as root")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if user:
            shutil.chown(folder, user)
        programs = Path(initdb).resolve().parent
        run = functools.partial(subprocess.run, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        run([programs / "initdb", "-D", f"{folder}/data", "-U", "archipel", "-A", "trust", "-E", "UTF8", "--no-sync"])
        server = [programs / "postgres", "-D", f"{folder}/data", "-k", folder, "-F", "-c", "listen_addresses="]
        with subprocess.Popen(server, user=user, cwd=folder, stderr=subprocess.DEVNULL) as running:
            try:
                ready = [programs / "pg_isready", "-q", "-h", folder]
                while subprocess.run(ready, check=False).returncode:
                    assert running.poll() is None, "the server does not start"
                    time.sleep(0.1)
                yield f"postgresql+psycopg://archipel@/postgres?host={folder}"
            finally:
                running.send_signal(signal.SIGINT)  # without waiting for clients


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_four_workers_one_of_them_killed(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No trial lost, none evaluated twice to its end, the budget met exactly."""
    trials, log = 16, tmp_path / "log"
    storage = tmp_path / "study.db" if kind == "sqlite" else request.getfixturevalue(kind)
    StudyLedger(storage, SPACE, OBJECTIVES)._storage.engine.dispose()  # connections are not for forks
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_worker, args=(storage, log, seed, trials)) for seed in range(4)]
    for worker in workers:
        worker.start()
    victim = None
    while victim is None:  # one that has begun something, in the middle of it
        time.sleep(0.01)
        lines = log.read_text().splitlines() if log.exists() else []
        for worker in workers:
            own = [line for line in lines if line.endswith(f" {worker.pid}")]
            if len(lines) > 4 and own and own[-1].startswith("begun"):
                victim = worker
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers if worker is not victim] == [0, 0, 0]
    ledger = StudyLedger(storage, SPACE, OBJECTIVES)
    assert ledger.spent() == (trials, float(trials))
    lines = [line.split() for line in log.read_text().splitlines()]
    done = Counter(key for what, key, _ in lines if what == "done")
    assert set(done) >= {trial.architecture.key for trial in ledger.trials()}
    twice = [key for key, count in done.items() if count > 1]
    assert all(any(pid == str(victim.pid) for what, k, pid in lines if k == key) for key in twice)
    begun = {key for what, key, pid in lines if what == "begun" and pid == str(victim.pid)}
    assert begun <= {trial.architecture.key for trial in ledger.trials()}, "what it was at was done by another"
