"""The command that runs a recipe, with every setting of the recipe as an option."""

# Annotations are real objects here, because one is made from the recipe's settings while the command is built.

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from cyclopts import Parameter

from archipel.cli.frontier import show_result
from archipel.cli.latency import stored
from archipel.cli.network import absolute_data, absolute_space, here, open_task
from archipel.cli.output import command_line, give, quoted
from archipel.cli.overrides import Whole, given, overriding, replaced
from archipel.cost import Device, LatencyTable
from archipel.errors import ArchipelError, OptionError, RunError, did_you_mean
from archipel.progress import Progress
from archipel.report import write as write_report
from archipel.run.atomic import StorageError
from archipel.run.config import from_dict, merge, read_yaml, to_dict
from archipel.run.console import Terminal
from archipel.run.folder import RunFolder
from archipel.space import Space, SpaceFunction
from archipel.spaces import resolve
from archipel.tasks import Classification

__all__ = ["Recipe", "Request", "command"]


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


def command(recipe: Recipe) -> Callable[..., None]:
    """The command-line function that runs `recipe`, with every setting of the recipe as an option."""
    overrides = overriding(recipe.PRESETS["cpu"], "cpu")

    def run(
        *,
        data: str | None = None,
        space: str | None = None,
        preset: str | None = None,
        device: str | None = None,
        threads: Whole | None = None,
        seeds: Whole | None = None,
        seed: Whole | None = None,
        images: Whole | None = None,
        test_images: Whole | None = None,
        size: Whole | None = None,
        target_ms: float | None = None,
        table: Path | None = None,
        config: Path | None = None,
        out: Path | None = None,
        resume: Path | None = None,
        quiet: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        settings: Annotated[overrides, Parameter(name="*")] = overrides(),  # type: ignore[valid-type]  # noqa: B008
    ) -> None:
        """Search on your images for your device, and compare with honest static networks.

        Pre-trains a meta-graph, measures a latency table on this device, searches a controller, fine-tunes
        what it found and writes a report. Every stage is kept: a stopped run goes on with --resume.

        Args:
            data: a folder with one subfolder of pictures a class, a folder with the files of CIFAR-10, Fashion-MNIST
                or MNIST, or "digits", the default.
            space: a search space (see "archipel spaces") or your own function, file.py:function.
            preset: the settings to start from; {presets}. What fits the data if not given.
            device: cpu, the default, or cuda:0.
            threads: CPU threads; measured and chosen when not given.
            seeds: how many controllers are searched and compared, 3 if not given.
            seed: of the data splits, the weights and the first controller, 0 if not given.
            images: use at most so many images for training and validation.
            test_images: use at most so many test images.
            size: side of the images in pixels; they are scaled to it.
            target_ms: only look for networks of at most so many milliseconds.
            table: a latency table measured before on this device (see "archipel latency build").
            config: a YAML file with any of these settings; another run's config.yaml repeats that run.
            out: the run folder; runs/DATE-TIME-DATA-N if not given.
            resume: continue this run folder with its own settings.
            quiet: show alarms and the result only.
            json: print the result as JSON.
            settings: of the recipe.
        """
        asked = {
            "data": absolute_data(data) if data is not None else None,
            "space": absolute_space(space) if space is not None else None,
            "preset": preset,
            "device": device,
            "threads": threads,
            "seeds": seeds,
            "seed": seed,
            "images": images,
            "test_images": test_images,
            "size": size,
            "target_ms": target_ms,
            "table": str(table.expanduser().resolve()) if table is not None else None,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        progress = Terminal(quiet=quiet)
        with ExitStack() as stack:
            if resume is not None:
                folder = stack.enter_context(RunFolder.open(resume))
                _refuse_other_settings(folder, asked | given(settings), config=config, out=out)
                job = _Job.of(recipe, folder.config, {}, {}, source=str(folder.path / "config.yaml"))
                job.open(progress, with_table="latency" not in folder.stages)  # then the run has its own copy
                folder.event("resumed", command=command_line())
            else:
                document = read_yaml(config) if config is not None else {}
                job = _Job.of(recipe, document, asked, given(settings), source=str(config))
                job.open(progress)
                folder = RunFolder.create(out, job.config(), command_line(), task=job.task.spec.name)
                stack.enter_context(folder)
            result = _finish(job, folder, progress, new=resume is None)
            if not json:
                show_result(result)
            page = write_report(folder.path)
            give(result | {"run": str(folder.path), "report": str(page)}, json, lambda: print(f"Report: {page}"))

    run.__doc__ = (run.__doc__ or "").format(presets=", ".join(recipe.PRESETS))
    return run


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
    ) -> "_Job":
        """Settings by falling weight: the command line, the document, the preset.

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
        settings = merge(settings, options, source="the command line")
        held = {key: value for key, value in document.items() if key in own}
        from_dict(Request, held, source=source)  # so that an error names where the value stands
        everything = {**held, **asked, "preset": preset}
        return cls(recipe, from_dict(Request, everything, source="the command line"), settings)

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


def _finish(job: _Job, folder: RunFolder, progress: Progress, *, new: bool) -> dict[str, Any]:
    """Run or continue the recipe; however it ends early, say how to go on."""
    request = job.request
    again = f"archipel run --resume {quoted(folder.path)}"
    try:
        with job.device.use():
            return job.recipe.run(
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
            raise type(error)(f"{error}; what was measured is kept: --table {quoted(table)}") from error
        raise


def _refuse_other_settings(
    folder: RunFolder, asked: Mapping[str, Any], *, config: Path | None, out: Path | None
) -> None:
    if config is not None or out is not None:
        option = "--config" if config is not None else "--out"
        raise OptionError(f"--resume takes everything from {folder.path}; leave out {option}")
    for name, held, value in replaced(folder.config, dict(asked)):
        raise RunError(
            f"--{name.replace('_', '-')} {value} contradicts {folder.path}, which has {held}; "
            "a resumed run keeps its settings"
        )
