"""One run of a recipe, from the words a user gives to the run folder: behind `archipel run` and `archipel.run`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from archipel.errors import ArchipelError, OptionError, RunError, did_you_mean
from archipel.progress import Progress
from archipel.recipes.opening import located, open_task
from archipel.report import write as write_report
from archipel.report.page import PAGES
from archipel.run.atomic import StorageError
from archipel.run.config import from_dict, merge, replaced, to_dict
from archipel.run.folder import RunFolder
from archipel.space import SpaceFunction
from archipel.spaces import resolve
from archipel.tasks import Classification

__all__ = [
    "Done",
    "Prepared",
    "Recipe",
    "Request",
    "check",
    "go_on",
    "held",
    "start",
]


@dataclass(frozen=True)
class Request:
    """What a run is asked to do, besides the recipe's own settings. `config.yaml` holds both."""

    data: str = "digits"
    """A folder with one subfolder of pictures a class, a folder with the files of CIFAR-10, Fashion-MNIST or MNIST, or
    "digits", the default."""
    space: str = "instanas"
    """A search space (see "archipel spaces") or your own function, file.py:function."""
    preset: str = "cpu"
    """The settings to start from. What fits the data if not given."""
    threads: int | None = None
    """CPU threads; measured and chosen when not given."""
    seeds: int = 3
    """How many searches are made and compared, 3 if not given."""
    seed: int = 0
    """Of the data splits, the weights and the first search, 0 if not given."""
    images: int | None = None
    """Use at most so many images for training and validation."""
    test_images: int | None = None
    """Use at most so many test images."""
    size: int | None = None
    """Side of the images in pixels; they are scaled to it."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, tuple) else (value,):
                if field.name != "seed" and isinstance(number, int | float) and not number > 0:
                    raise OptionError(f"{field.name.replace('_', '-')} is {number}; give a number above 0")


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: nothing in what was asked is a mistake any more."""

    request: Any
    """With devices and threads as they were found."""
    run: Callable[[RunFolder, Progress], dict[str, Any]]
    """Does what is still to be done and returns the content of `result.json`."""


class Recipe(Protocol):
    """What a module in `archipel.recipes` offers to be called by name."""

    @property
    def COMMAND(self) -> str:
        """The words behind `archipel` that run it."""

    @property
    def Request(self) -> type[Request]:
        """What it can be asked."""

    @property
    def PRESETS(self) -> Mapping[str, Any]:
        """Settings by name; `cpu` is among them."""

    def preset_for(self, data: str) -> str:
        """The preset for a data set when none is asked for."""

    def prepare(
        self,
        request: Any,
        settings: Any,
        task: Classification,
        function: SpaceFunction,
        progress: Progress,
        *,
        measured: bool,
    ) -> Prepared:
        """Open space, devices and latency tables, so that a mistake in any of them ends before a folder is made.

        Args:
            measured: a resumed run holds the tables it needs.
        """


@dataclass(frozen=True)
class Done:
    """A finished run."""

    folder: Path
    result: dict[str, Any]
    """The content of `result.json`."""
    report: Path
    """The page; `result.json` where the method has none."""


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
        asked: fields of the recipe's `Request` that were given.
        options: the recipe's settings that were given, nested as they are.
        document: both, as in a `config.yaml`; weighs less than `asked` and `options`, more than the preset.
        source: where `document` comes from, for errors.
        out: the run folder; None for a new one in `runs`.
        command: what to write down as the way to get this run again.
        show: called with the result before its report is made.

    Raises:
        ArchipelError: a mistake in what was asked; no folder is left.
    """
    job = _Job.of(recipe, document or {}, located(asked), options, source=source)
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
        if folder.config.get("recipe", recipe.COMMAND) != recipe.COMMAND:
            raise RunError(
                f"{folder.path} is a run of 'archipel {folder.config['recipe']}'; continue it with "
                f"'archipel {folder.config['recipe']} --resume {shlex.quote(str(folder.path))}'"
            )
        for name, held, value in replaced(folder.config, {**located(asked), **options}):
            raise RunError(
                f"--{name.replace('_', '-')} {value} contradicts {folder.path}, which has {held}; "
                "a resumed run keeps its settings"
            )
        job = _Job.of(recipe, folder.config, {}, {}, source=str(folder.path / "config.yaml"))
        job.open(progress, measured="latency" in folder.stages)  # then the run has its own copy
        folder.event("resumed", command=command)
        return _finished(job, folder, progress, show, new=False)


def check(recipe: Recipe, asked: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Whether a run could be asked this, by names, types and ranges alone: nothing is opened.

    Raises:
        OptionError: as `start`.
    """
    _Job.of(recipe, {}, located(asked), options, source="settings")


def held(recipe: Recipe, folder: RunFolder) -> tuple[Any, Any]:
    """The request and the settings that a run folder of this recipe was made with."""
    job = _Job.of(recipe, folder.config, {}, {}, source=str(folder.path / "config.yaml"))
    return job.request, job.settings


class _Job:
    """One run about to be made: the request, the recipe's settings, and what they name."""

    task: Classification
    prepared: Prepared

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
        own = {field.name for field in dataclasses.fields(recipe.Request)}
        groups = {field.name for field in dataclasses.fields(base)}
        for key in document:
            if key not in own | groups | {"archipel", "recipe"}:
                raise OptionError(f"unknown key '{key}' in {source}{did_you_mean(key, own | groups)}")
        settings = merge(base, {key: value for key, value in document.items() if key in groups}, source=source)
        settings = merge(settings, options, source="the given settings")
        held = {key: value for key, value in document.items() if key in own}
        from_dict(recipe.Request, held, source=source)  # so that an error names where the value stands
        everything = {**held, **asked, "preset": preset}
        return cls(recipe, from_dict(recipe.Request, everything, source="the given settings"), settings)

    def open(self, progress: Progress, *, measured: bool = False) -> None:
        """Open everything that the request names, so that a mistake ends before a folder is made."""
        request = self.request
        function = resolve(request.space)
        self.task = open_task(
            request.data,
            images=request.images,
            test_images=request.test_images,
            size=request.size,
            seed=request.seed,
            progress=progress,
        )
        self.prepared = self.recipe.prepare(request, self.settings, self.task, function, progress, measured=measured)

    def config(self) -> dict[str, Any]:
        """Every resolved setting; as `--config` it repeats the run."""
        return {"recipe": self.recipe.COMMAND} | to_dict(self.prepared.request) | to_dict(self.settings)


def _finished(
    job: _Job, folder: RunFolder, progress: Progress, show: Callable[[dict[str, Any]], None] | None, *, new: bool
) -> Done:
    """Run or continue the recipe and write its report; however it ends early, say how to go on."""
    again = f"archipel {job.recipe.COMMAND} --resume {shlex.quote(str(folder.path))}"
    try:
        result = job.prepared.run(folder, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; continue with '{again}'") from None
    except StorageError as error:
        raise StorageError(f"{error}; then continue with '{again}'") from error
    except ArchipelError as error:
        tables = sorted((folder.path / "latency").glob("*.json")) if new else []
        if new and not tables and all(stage.startswith("latency") for stage in folder.stages):
            folder.discard()  # a mistake in what was asked: nothing was made that would be worth keeping
        if tables:
            kept = " ".join(f"--table {shlex.quote(str(table))}" for table in tables)
            raise type(error)(f"{error}; what was measured is kept: {kept}") from error
        raise
    if show is not None:
        show(result)
    if result.get("method", "instanas") not in PAGES:
        return Done(folder.path, result, folder.path / "result.json")
    return Done(folder.path, result, write_report(folder.path))
