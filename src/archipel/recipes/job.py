"""One run of a recipe, from the words a user gives to the run folder: behind `archipel run` and `archipel.run`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from archipel.cost import Device, LatencyTable, choose_threads
from archipel.errors import ArchipelError, OptionError, RunError, TableError, did_you_mean
from archipel.progress import Progress
from archipel.report import write as write_report
from archipel.run.atomic import StorageError
from archipel.run.config import from_dict, merge, replaced, to_dict
from archipel.run.folder import RunFolder
from archipel.space import Space, SpaceFunction
from archipel.spaces import resolve
from archipel.tasks import TASKS, Classification, load

__all__ = [
    "Done",
    "Recipe",
    "Request",
    "absolute_data",
    "absolute_space",
    "go_on",
    "here",
    "open_task",
    "start",
    "stored",
]


class Recipe(Protocol):
    """What a module in `archipel.recipes` offers to be the main job."""

    @property
    def PRESETS(self) -> Mapping[str, Any]:
        """Settings by name; `cpu` is among them. Settings have the parts `network` and `latency`."""

    def preset_for(self, data: str) -> str:
        """The preset for a data set when none is asked for."""

    def open_space(self, task: Classification, function: SpaceFunction, network: Any) -> Space:
        """The space that a run with these `network` settings searches."""

    def run(
        self,
        folder: RunFolder,
        task: Classification,
        device: Device,
        space_function: SpaceFunction,
        settings: Any,
        *,
        seed: int,
        seeds: int,
        progress: Progress,
        table: LatencyTable | None,
        target_ms: float | None,
    ) -> dict[str, Any]:
        """Do what is still to be done and return the content of `result.json`."""


@dataclass(frozen=True)
class Request:
    """What a run is asked to do, besides the recipe's own settings. `config.yaml` holds both."""

    data: str = "digits"
    space: str = "instanas"
    preset: str = "cpu"
    device: str = "cpu"
    threads: int | None = None
    seeds: int = 3
    seed: int = 0
    images: int | None = None
    test_images: int | None = None
    size: int | None = None
    table: str | None = None
    target_ms: float | None = None

    def __post_init__(self) -> None:
        for name in ("threads", "seeds", "images", "test_images", "size", "target_ms"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(f"{name.replace('_', '-')} is {value}; give a number above 0")


@dataclass(frozen=True)
class Done:
    """A finished run."""

    folder: Path
    result: dict[str, Any]
    """The content of `result.json`."""
    report: Path


def start(
    recipe: Recipe,
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    document: Mapping[str, Any] | None = None,
    source: str = "settings",
    out: Path | None = None,
    command: str,
    progress: Progress,
    show: Callable[[dict[str, Any]], None] | None = None,
) -> Done:
    """Make a new run folder and run the recipe in it to the end.

    Args:
        asked: fields of `Request` that were given.
        options: the recipe's settings that were given, nested as they are.
        document: both, as in a `config.yaml`; weighs less than `asked` and `options`, more than the preset.
        source: where `document` comes from, for errors.
        out: the run folder; None for a new one in `runs`.
        command: what to write down as the way to get this run again.
        show: called with the result before its report is made.

    Raises:
        ArchipelError: a mistake in what was asked; no folder is left.
    """
    job = _Job.of(recipe, document or {}, asked, options, source=source)
    job.open(progress)
    with RunFolder.create(out, job.config(), command, task=job.task.spec.name) as folder:
        return _finished(job, folder, progress, show, new=True)


def go_on(
    recipe: Recipe,
    resume: Path,
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    command: str,
    progress: Progress,
    show: Callable[[dict[str, Any]], None] | None = None,
) -> Done:
    """Continue a run folder with its own settings; a finished one is only read and reported again.

    Args:
        asked, options: what was given besides the folder; it must not contradict what the folder holds.
        show: called with the result before its report is made.

    Raises:
        RunError: it does, or the folder is no run.
    """
    with RunFolder.open(resume) as folder:
        for name, held, value in replaced(folder.config, {**asked, **options}):
            raise RunError(
                f"--{name.replace('_', '-')} {value} contradicts {folder.path}, which has {held}; "
                "a resumed run keeps its settings"
            )
        job = _Job.of(recipe, folder.config, {}, {}, source=str(folder.path / "config.yaml"))
        job.open(progress, with_table="latency" not in folder.stages)  # then the run has its own copy
        folder.event("resumed", command=command)
        return _finished(job, folder, progress, show, new=False)


class _Job:
    """One run about to be made: the request, the recipe's settings, and what they name."""

    task: Classification
    device: Device
    table: LatencyTable | None = None

    def __init__(self, recipe: Recipe, request: Request, settings: Any) -> None:
        self.recipe, self.request, self.settings = recipe, request, settings

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        document: Mapping[str, Any],
        asked: Mapping[str, Any],
        options: Mapping[str, Any],
        source: str,
    ) -> _Job:
        """Settings by falling weight: what was asked, the document, the preset.

        Raises:
            OptionError: an unknown key or preset, or a value of the wrong type.
        """
        given_data = asked.get("data", document.get("data", Request.data))
        preset = asked.get("preset", document.get("preset", recipe.preset_for(str(given_data))))
        if preset not in recipe.PRESETS:
            known = recipe.PRESETS
            raise OptionError(f"there is no preset '{preset}' ({', '.join(known)}){did_you_mean(preset, known)}")
        base = recipe.PRESETS[preset]
        own = {field.name for field in dataclasses.fields(Request)}
        groups = {field.name for field in dataclasses.fields(base)}
        for key in document:
            if key not in own | groups | {"archipel"}:
                raise OptionError(f"unknown key '{key}' in {source}{did_you_mean(key, own | groups)}")
        settings = merge(base, {key: value for key, value in document.items() if key in groups}, source=source)
        settings = merge(settings, options, source="the given settings")
        held = {key: value for key, value in document.items() if key in own}
        from_dict(Request, held, source=source)  # so that an error names where the value stands
        everything = {**held, **asked, "preset": preset}
        return cls(recipe, from_dict(Request, everything, source="the given settings"), settings)

    def open(self, progress: Progress, *, with_table: bool = True) -> None:
        """Open device, data, space and table, so that a mistake in any of them ends before a folder is made."""
        request = self.request
        threads = request.threads
        Device.parse(request.device, threads)
        if request.table is not None and with_table:
            measured_with = stored(Path(request.table))["device"]["fingerprint"].get("threads")
            threads = threads or measured_with
        self.function = resolve(request.space)
        self.task = open_task(
            request.data,
            images=request.images,
            test_images=request.test_images,
            size=request.size,
            seed=request.seed,
            progress=progress,
        )
        space = self.recipe.open_space(self.task, self.function, self.settings.network)
        self.device = here(request.device, threads, progress)
        if request.table is not None and with_table:
            batch = self.settings.latency.batch
            self.table = LatencyTable.load(request.table, space=space, device=self.device, batch=batch)
        self.request = dataclasses.replace(request, device=self.device.name, threads=self.device.threads)

    def config(self) -> dict[str, Any]:
        """Every resolved setting; as `--config` it repeats the run."""
        return to_dict(self.request) | to_dict(self.settings)


def _finished(
    job: _Job, folder: RunFolder, progress: Progress, show: Callable[[dict[str, Any]], None] | None, *, new: bool
) -> Done:
    """Run or continue the recipe and write its report; however it ends early, say how to go on."""
    request = job.request
    again = f"archipel run --resume {shlex.quote(str(folder.path))}"
    try:
        with job.device.use():
            result = job.recipe.run(
                folder,
                job.task,
                job.device,
                job.function,
                job.settings,
                seed=request.seed,
                seeds=request.seeds,
                progress=progress,
                table=job.table,
                target_ms=request.target_ms,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; continue with '{again}'") from None
    except StorageError as error:
        raise StorageError(f"{error}; then continue with '{again}'") from error
    except ArchipelError as error:
        if new and not folder.stages:
            folder.discard()  # a mistake in what was asked: nothing was made that would be worth keeping
        table = folder.path / "latency" / "table.json"
        if new and table.is_file():
            kept = f"what was measured is kept: --table {shlex.quote(str(table))}"
            raise type(error)(f"{error}; {kept}") from error
        raise
    if show is not None:
        show(result)
    return Done(folder.path, result, write_report(folder.path))


# ---- what a request names -----------------------------------------------------------------------------------------


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


def absolute_data(data: str) -> str:
    """A folder's full path, so that the run can go on from elsewhere; a name, or what is no folder, stays."""
    folder = Path(data).expanduser()
    return str(folder.resolve()) if data not in TASKS and folder.exists() else data


def absolute_space(name: str) -> str:
    """`file.py:function` with the file's full path; a name stays."""
    path, colon, function = name.rpartition(":")
    return f"{Path(path).expanduser().resolve()}:{function}" if colon else name


def here(device: str, threads: int | None, progress: Progress, *, efficiency: float = 0.9) -> Device:
    """The device, with the CPU threads that are worth taking where none are named (see `choose_threads`)."""
    where = Device.parse(device, threads)
    if threads is not None or where.name != "cpu":
        return where
    choice = choose_threads(efficiency=efficiency)
    progress.say(choice.sentence())
    return Device.parse(device, choice.threads)


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
