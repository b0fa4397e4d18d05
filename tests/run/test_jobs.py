"""Jobs side by side: order, results, errors, and ends that are not their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from archipel.errors import DataError
from archipel.progress import SILENT, Bar, Progress
from archipel.run.atomic import replace
from archipel.run.jobs import Job, run_jobs


class Heard:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: dict[str, int] = {}

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:  # noqa: ARG002
        self.bars[title] = 0
        heard = self

        class Counting:
            def advance(self, n: int = 1, **figures: float | str) -> None:
                heard.bars[title] += n
                heard.lines += [f"{title} {key}={value}" for key, value in figures.items()]

        yield Counting()

    def say(self, text: str) -> None:
        self.lines.append(text)

    def alarm(self, text: str) -> None:
        self.lines.append(f"! {text}")


def writing(folder: Path, name: str, *, then: tuple[str, ...] = ()) -> Job:
    """A job that leaves a file saying which process and how many threads it had."""

    def work(progress: Progress) -> None:
        with progress.bar(name, 3) as bar:
            for _ in range(3):
                bar.advance(loss=0.5)
        progress.alarm(f"{name} was here")
        (folder / name).write_text(f"{os.getpid()} {torch.get_num_threads()} {time.monotonic_ns()}")

    return Job(name, work, 1.0, lambda: [writing(folder, child) for child in then])


@pytest.mark.parametrize("workers", [1, 3])
class TestRunJobs:
    def test_all_jobs_and_those_they_open_are_done_with_one_thread(self, tmp_path: Path, workers: int) -> None:
        jobs = [writing(tmp_path, "first", then=("second", "third")), writing(tmp_path, "other")]
        heard = Heard()
        run_jobs(jobs, workers=workers, progress=heard, title="all", total=4.0)
        told = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
        assert sorted(told) == ["first", "other", "second", "third"]
        assert {threads for _, threads, _ in told.values()} == {"1"}
        assert int(told["first"][2]) < min(int(told["second"][2]), int(told["third"][2]))
        mine = {pid == str(os.getpid()) for pid, _, _ in told.values()}
        assert mine == {workers == 1}

    def test_progress_arrives(self, tmp_path: Path, workers: int) -> None:
        heard = Heard()
        run_jobs([writing(tmp_path, "first")], workers=workers, progress=heard, title="all", total=1.0)
        assert heard.bars == {"all": 1000, "first": 3}
        assert "! first was here" in heard.lines
        assert "first loss=0.5" in heard.lines

    def test_a_mistake_comes_through_as_itself(self, workers: int) -> None:
        def work(_: Progress) -> None:
            raise DataError("picture 'a.png' is damaged; remove it")

        with pytest.raises(DataError, match=r"picture 'a\.png' is damaged; remove it"):
            run_jobs([Job("bad", work)], workers=workers, progress=SILENT, title="all", total=1.0)

    def test_threads_are_as_before_afterwards(self, tmp_path: Path, workers: int) -> None:
        before = torch.get_num_threads()
        run_jobs([writing(tmp_path, "first")], workers=workers, progress=SILENT, title="all", total=1.0)
        assert torch.get_num_threads() == before


def test_another_error_names_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    def work(_: Progress) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(RuntimeError, match="'broken' ended with exit code 1"):
        run_jobs([Job("broken", work)], workers=2, progress=SILENT, title="all", total=1.0)
    assert "ZeroDivisionError: by nothing" in capfd.readouterr().err


def test_when_one_fails_the_others_are_stopped(tmp_path: Path) -> None:
    process = tmp_path / "process"

    def long(_: Progress) -> None:
        replace(process, str(os.getpid()).encode())
        time.sleep(60)
        (tmp_path / "late").touch()

    def bad(_: Progress) -> None:
        while not process.exists():
            time.sleep(0.01)
        raise DataError("no")

    with pytest.raises(DataError):
        run_jobs([Job("long", long), Job("bad", bad)], workers=2, progress=SILENT, title="all", total=2.0)
    assert not (tmp_path / "late").exists(), "it was waited for"
    assert not Path(f"/proc/{process.read_text()}").exists(), "it goes on"


@pytest.mark.skipif(sys.platform != "linux", reason="a job dies with its parent through a signal that Linux has")
def test_jobs_die_with_a_killed_parent(tmp_path: Path) -> None:
    program = f"""
import os, time
from pathlib import Path
from archipel.progress import SILENT
from archipel.run.jobs import Job, run_jobs

def work(progress):
    Path({str(tmp_path)!r}, str(os.getpid())).touch()
    time.sleep(600)

run_jobs([Job("a", work), Job("b", work)], workers=2, progress=SILENT, title="all", total=2.0)
"""
    parent = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 300
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    jobs = [int(path.name) for path in tmp_path.iterdir()]
    assert len(jobs) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = [pid for pid in jobs if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text()]
    assert not alive
