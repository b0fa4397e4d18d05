"""The run folder: everything one execution made, and enough to go on from a kill."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import io
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from archipel.errors import OptionError, RunError
from archipel.run.atomic import replace, storage_error
from archipel.run.checkpoint import Checkpoint, read_tensors, write_tensors
from archipel.run.config import read_yaml, to_yaml

__all__ = ["RunFolder"]

_CONFIG = "config.yaml"
_LOCK = ".lock"
_SCHEMA = 1
_PATIENCE = 0.5
"""Seconds to wait for a lock: the forked jobs of a process that was just killed need a moment to end."""


class RunFolder:
    """A folder with `config.yaml`, `log.jsonl`, `stages/`, `checkpoints/` and whatever the recipe writes.

    Every file is replaced atomically. One process at a time may write a run: the lock goes with the process,
    so a kill frees it. Use it as a context manager, or `close` it.

    Attributes:
        path: the folder.
        config: every resolved setting, as `create` was given it.
        command: the command line that made the run.
        started: ISO time of `create`.
    """

    def __init__(self, path: Path, document: Mapping[str, Any], lock: IO[str] | None) -> None:
        self.path = path
        self.config: dict[str, Any] = {key: value for key, value in document.items() if key != "archipel"}
        self.command: str = document["archipel"]["command"]
        self.started: str = document["archipel"]["started"]
        self._lock = lock

    @classmethod
    def create(
        cls, path: Path | str | None, config: Mapping[str, Any], command: str, *, task: str = "run"
    ) -> RunFolder:
        """Make a new run and lock it.

        Args:
            path: an absent or empty folder; None for `runs/<date>-<time>-<task>-<n>` in the current folder.
            config: every resolved setting: plain values that YAML holds.
            command: the command line, kept for the report.
            task: names the default folder.

        Raises:
            RunError: `path` holds a run or foreign files, or cannot be made; nothing in it was changed.
        """
        now = datetime.now().astimezone()
        path = _fresh(now, task) if path is None else Path(path)
        if (path / _CONFIG).is_file():
            raise RunError(f"{path} already holds a run; go on with it by --resume {path}, or name another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            foreign = [entry.name for entry in path.iterdir() if entry.name != _LOCK and not _temporary(entry)]
        except (FileExistsError, NotADirectoryError):
            file = next((part for part in (path, *path.parents) if part.is_file()), path)
            raise RunError(f"{file} is a file; --out names a folder") from None
        except OSError as error:
            raise storage_error(path / _CONFIG, error) from error
        if foreign:
            raise RunError(f"{path} is not empty (it holds {min(foreign)}); name a new folder with --out")
        lock = _locked(path)
        document = {
            "archipel": {"schema": _SCHEMA, "command": command, "started": now.isoformat(timespec="seconds")},
            **_plain(config),
        }
        try:
            replace(path / _CONFIG, to_yaml(document).encode())
        except BaseException:
            lock.close()
            raise
        return cls(path, document, lock)

    @classmethod
    def open(cls, path: Path | str, *, write: bool = True) -> RunFolder:
        """An existing run: locked for going on with it, or only read.

        Raises:
            RunError: the folder is no run, its config is damaged, or another process is working on it.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"{path} is no run: {'it is a file' if path.exists() else 'there is no such folder'}")
        if not (path / _CONFIG).is_file():
            raise RunError(f"{path} is no run: it holds no {_CONFIG}")
        try:
            document = read_yaml(path / _CONFIG)
        except OptionError as error:
            raise RunError(f"{path} is no run: {error}") from error
        head = document.get("archipel")
        if not isinstance(head, dict) or not {"schema", "command", "started"} <= head.keys():
            raise RunError(f"{path} is no run: its {_CONFIG} was not written by archipel")
        if head["schema"] != _SCHEMA:
            raise RunError(f"{path} was made by another version of archipel (run schema {head['schema']!r})")
        if not write:
            return cls(path, document, None)
        folder = cls(path, document, _locked(path))
        folder._sweep()
        return folder

    def part(self, name: str) -> RunFolder:
        """A folder inside it with stages and checkpoints of its own, under this run's lock and configuration."""
        head = {"schema": _SCHEMA, "command": self.command, "started": self.started}
        return RunFolder(self.path / name, {"archipel": head, **self.config}, None)

    def discard(self) -> None:
        """Remove the folder and all in it: for a run that failed before it made anything."""
        shutil.rmtree(self.path)
        self.close()

    def close(self) -> None:
        """Let other processes work on the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunFolder({self.path}, started {self.started}, stages done: {', '.join(self.stages) or 'none'})"

    def write_json(self, name: str, content: Any) -> Path:
        """Write `name`; tensors and NumPy numbers become plain, NaN and infinities null (JSON has none)."""
        return self._write(name, _json(_finite(_plain(content)), indent=1).encode())

    def read_json(self, name: str) -> Any:
        """Raises `RunError` when `name` is missing or damaged."""
        return _read_json(self.path / name)

    def write_csv(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return self._write(name, text.getvalue().encode())

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any] | None = None) -> Path:
        """Write a safetensors file; `meta` travels in its header."""
        write_tensors(self.path / name, tensors, {"meta": _plain(meta or {})})
        return self.path / name

    def read_tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and meta. Raises `RunError` when `name` is missing or damaged."""
        tensors, header = read_tensors(self.path / name)
        return tensors, header.get("meta", {})

    def checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint(self.path / "checkpoints" / f"{name}.safetensors")

    def mark_done(self, stage: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a finished stage's result and return it as `stage_done` will: go on with what this returns.

        So a resumed run works with the very values the uninterrupted one had (JSON turns tuples into lists
        and keys into strings; floats keep every bit).
        """
        text = _json(_plain(result), indent=1)
        self._write(f"stages/{stage}.json", text.encode())
        self.event("stage done", stage=stage)
        return json.loads(text)

    def stage_done(self, stage: str) -> dict[str, Any] | None:
        """The result of a finished stage, None when it is not finished."""
        path = self.path / "stages" / f"{stage}.json"
        return _read_json(path) if path.is_file() else None

    @property
    def stages(self) -> list[str]:
        """The finished stages, in the order in which they finished."""
        done = [path for path in (self.path / "stages").glob("*.json") if not _temporary(path)]
        return [path.stem for path in sorted(done, key=lambda path: (path.stat().st_mtime_ns, path.name))]

    def event(self, kind: str, **fields: Any) -> None:
        """Append one line to `log.jsonl`: time, kind and fields."""
        line = _json({"time": datetime.now().astimezone().isoformat(timespec="milliseconds"), "event": kind} | fields)
        path = self.path / "log.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise storage_error(path, error, len(line)) from error

    def events(self) -> list[dict[str, Any]]:
        """The log so far. A last line torn by a kill is left out.

        Raises:
            RunError: a line before the last is damaged.
        """
        path = self.path / "log.jsonl"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        found = []
        for i, line in enumerate(lines):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                if i + 1 < len(lines):
                    raise RunError(f"line {i + 1} of {path} is damaged ({error})") from error
        return found

    def _write(self, name: str, content: bytes) -> Path:
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(path, error, len(content)) from error
        replace(path, content)
        return path

    def _sweep(self) -> None:
        """Clear what a kill left: temporary files, and a torn last line of the log."""
        for path in self.path.rglob(".*.tmp"):
            path.unlink(missing_ok=True)
        log = self.path / "log.jsonl"
        if log.is_file() and (content := log.read_bytes()) and not content.endswith(b"\n"):
            replace(log, content[: content.rfind(b"\n") + 1])


def _fresh(now: datetime, task: str) -> Path:
    """A new empty folder `runs/<date>-<time>-<task>-<n>`, also for two processes in the same second."""
    stem = f"{now:%Y%m%d-%H%M%S}-{task}"
    n = 1
    while True:
        path = Path("runs") / f"{stem}-{n}"
        try:
            path.parent.mkdir(exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not path.parent.is_dir():
                raise RunError("'runs' in the current folder is a file; name a folder with --out") from None
            n += 1
        except OSError as error:
            raise storage_error(path / _CONFIG, error) from error
        else:
            return path


def _locked(path: Path) -> IO[str]:
    """The open lock file of the run; the kernel frees the lock when the process ends, however it ends."""
    try:
        file = open(path / _LOCK, "a+", encoding="utf-8")  # noqa: SIM115 (held as long as the run is)
    except OSError as error:
        raise storage_error(path / _LOCK, error) from error
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() < patience:
                time.sleep(0.02)
                continue
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise RunError(f"{path} is in use by another archipel (process {owner}); wait for it or stop it") from None
    with suppress(OSError):  # the number is a courtesy; the lock holds on a full disk too
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    return file


def _temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".tmp"


def _json(content: Any, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, ensure_ascii=False)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error})") from error


def _plain(value: Any) -> Any:
    """`value` made of what JSON and YAML hold: dataclasses become dicts, tensors lists, paths text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | int | float) or value is None:
        return value
    if hasattr(value, "tolist"):  # tensors, NumPy arrays and their scalars
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written to a run folder; give plain values")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
