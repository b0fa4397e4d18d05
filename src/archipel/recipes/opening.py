"""What a request names, found on this machine: data sets, files with their full paths, devices, latency tables."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archipel.cost import Device, LatencyTable, choose_threads
from archipel.errors import OptionError, TableError
from archipel.progress import Progress
from archipel.space import Space
from archipel.tasks import TASKS, Classification, load

__all__ = [
    "absolute_data",
    "absolute_devices",
    "absolute_space",
    "absolute_tables",
    "here",
    "located",
    "open_device",
    "open_task",
    "stored",
]


def open_task(
    data: str,
    *,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
    progress: Progress,
) -> Classification:
    """The task of `--data`: a name or a folder.

    Raises:
        OptionError: the data set's files must be given as a folder. Otherwise as `archipel.tasks.load`.
    """
    if data in TASKS and "root" in inspect.signature(TASKS[data]).parameters:
        raise OptionError(f"'{data}' is read from files of yours; name their folder with --data FOLDER")
    task = load(data, images=images, test_images=test_images, size=size, seed=seed, progress=progress)
    if task.skipped:
        shown = "; ".join(f"{skip.path} ({skip.why})" for skip in task.skipped[:5])
        more = f"; and {len(task.skipped) - 5} more" if len(task.skipped) > 5 else ""
        progress.alarm(f"{len(task.skipped)} unreadable files are left out: {shown}{more}")
    return task


def located(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, files and folders with their full paths, so that the run can go on from elsewhere."""
    full: dict[str, Callable[[Any], Any]] = {
        "data": absolute_data, "space": absolute_space, "table": absolute_tables, "device": absolute_devices
    }  # fmt: skip
    return {name: full[name](value) if name in full else value for name, value in asked.items()}


def absolute_tables(named: Any) -> Any:
    """Full paths of one file or of several."""
    if isinstance(named, list | tuple):
        return tuple(map(absolute_tables, named))
    return None if named is None else str(Path(named).expanduser().resolve())


def absolute_devices(named: Any) -> Any:
    """Devices, of those that a file stands for its full path: `tables/phone.json:pixel3`, `mine.py:function`."""
    if isinstance(named, list | tuple):
        return tuple(map(absolute_devices, named))
    path, colon, rest = str(named).partition(":")
    return f"{Path(path).expanduser().resolve()}{colon}{rest}" if Path(path).expanduser().is_file() else named


def absolute_data(data: str) -> str:
    """A folder's full path, so that the run can go on from elsewhere; a name, or what is no folder, stays."""
    folder = Path(data).expanduser()
    return str(folder.resolve()) if data not in TASKS and folder.exists() else data


def absolute_space(name: str) -> str:
    """`file.py:function` and an evolved space's `file.json` with the file's full path; a name stays."""
    if name.endswith(".json"):
        return str(Path(name).expanduser().resolve())
    path, colon, function = name.rpartition(":")
    return f"{Path(path).expanduser().resolve()}:{function}" if colon else name


def here(device: str, threads: int | None, progress: Progress, *, efficiency: float = 0.9) -> Device:
    """The device, with the CPU threads that are worth taking where none are named (see `choose_threads`)."""
    where = Device.parse(device, threads)
    if threads is not None or not where.backend.threaded:
        return where
    choice = choose_threads(efficiency=efficiency)
    progress.say(choice.sentence())
    return Device.parse(device, choice.threads)


def open_device(
    name: str, threads: int | None, table: Path | None, *, space: Space, batch: int, progress: Progress
) -> tuple[Device, LatencyTable | None]:
    """A device and, where a file of one is given, its latency table; without `threads`, with as many as that has.

    Raises:
        TableError: the table is not of this device, space or batch size.
    """
    if table is None:
        return here(name, threads, progress), None
    device = here(name, threads or stored(table)["device"]["fingerprint"].get("threads"), progress)
    return device, LatencyTable.load(table, space=space, device=device, batch=batch)


def stored(file: Path) -> dict[str, Any]:
    """A latency table's content as it is on disk.

    Raises:
        TableError: there is no such file, or it is no latency table.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TableError(f"there is no latency table {file}; 'archipel latency build' makes one") from None
    except (OSError, ValueError) as error:
        raise TableError(f"latency table {file} cannot be read ({error})") from error
    needed = {"space", "device", "batch", "input_shape", "units", "base", "fidelity", "date"}
    if not isinstance(content, dict) or not needed <= content.keys():
        raise TableError(f"{file} is no latency table; 'archipel latency build' makes one")
    return content
