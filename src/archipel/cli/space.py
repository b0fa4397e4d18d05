"""`archipel space compare`: which of several spaces is the better one to search in."""

# Annotations are real objects here, because one is made from the recipe's settings.

import inspect
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.network import space_options
from archipel.cli.output import command_line, give, quoted
from archipel.cli.overrides import Whole, given, overriding
from archipel.cli.resuming import resumed
from archipel.cost.device import Device
from archipel.errors import OptionError, RunError
from archipel.evolve.quality import Sample
from archipel.progress import Progress
from archipel.recipes.opening import absolute_data, absolute_space, here, open_task
from archipel.recipes.space_compare import Settings, compare_spaces, is_table, read_table
from archipel.report import write as write_report
from archipel.report.wording import count
from archipel.run.atomic import StorageError
from archipel.run.config import from_dict, merge, to_dict
from archipel.run.console import Terminal, table
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import resolve
from archipel.tasks import Classification

__all__ = ["Comparison", "compare", "show_comparison"]

_SETTINGS = Settings()
_OVERRIDES = overriding(_SETTINGS)
_AGAIN = "archipel space compare --resume"


@dataclass(frozen=True)
class Comparison:
    """What a comparison is asked to do; its `config.yaml`."""

    spaces: tuple[str, ...]
    recipe: str = "space compare"
    options: dict[str, Any] = field(default_factory=dict)
    data: str = "digits"
    device: str = "cpu"
    threads: int | None = None
    seed: int = 0
    images: int | None = None
    test_images: int | None = None
    size: int | None = None
    settings: Settings = _SETTINGS

    @classmethod
    def of(cls, folder: RunFolder) -> "Comparison":
        """Read back from a run folder.

        Raises:
            RunError: the folder is another kind of run.
        """
        if folder.config.get("recipe") != cls.recipe:
            raise RunError(f"{folder.path} compares no spaces; see 'archipel show {quoted(folder.path)}'")
        return from_dict(cls, folder.config, source=str(folder.path / "config.yaml"))

    def open(self, progress: Progress) -> tuple[Classification, list[tuple[str, Space | Sample]]]:
        """The task, and what each name stands for."""
        task = open_task(
            self.data, images=self.images, test_images=self.test_images, size=self.size, seed=self.seed,
            progress=progress,
        )  # fmt: skip
        known = {} if all(map(is_table, self.spaces)) else self._functions()
        for option in self.options:
            if not any(option in inspect.signature(function).parameters for function in known.values()):
                raise OptionError(f"none of the spaces has an option '{option}'; leave out --option.{option}")
        entries: dict[str, Space | Sample] = {}
        for name in self.spaces:
            entry: Space | Sample
            if name in known:
                takes = inspect.signature(known[name]).parameters
                entry = task.space(known[name], **{o: v for o, v in self.options.items() if o in takes})
                title = Path(name).stem if name.endswith(".json") else entry.name
            else:
                entry = read_table(name, self.settings.judging.cost)
                title = entry.name
            while title in entries:
                title += "'"
            entries[title] = entry
        return task, list(entries.items())

    def _functions(self) -> dict[str, Any]:
        return {name: resolve(name) for name in self.spaces if not is_table(name)}


def compare(
    *spaces: str,
    data: str | None = None,
    option: dict[str, str] | None = None,
    device: str | None = None,
    threads: Whole | None = None,
    seed: Whole | None = None,
    images: Whole | None = None,
    test_images: Whole | None = None,
    size: Whole | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    quiet: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    settings: Annotated[_OVERRIDES, Parameter(name="*")] = _OVERRIDES(),  # type: ignore[valid-type]  # noqa: B008
) -> None:
    """Compare search spaces by what random networks of each come to when all are trained alike.

    Every trained network is kept: a stopped comparison goes on with --resume.

    Args:
        spaces: two or more: a listed space, an evolved one's file.json, your own file.py:function, or a table of
            networks that are trained already, FILE.csv or FILE.npz, with :ACCURACIES or :ACCURACIES:COSTS behind it
            where the columns have other names than accuracy and the cost's (see --judging.cost).
        data: a folder of pictures or "digits", the default; as for "archipel run".
        option: further options of the spaces' functions, such as --option.macro light; given to those that have them.
        device: cpu, the default, or cuda:0.
        threads: CPU threads; measured and chosen when not given.
        seed: of the data splits, the samples and the weights, 0 if not given.
        images: use at most so many images for training and validation.
        test_images: use at most so many test images.
        size: side of the images in pixels; they are scaled to it.
        out: the run folder; runs/DATE-TIME-spaces-N if not given.
        resume: continue this run folder with its own settings.
        quiet: show alarms and the result only.
        json: print the result as JSON.
        settings: of the comparison.
    """
    asked: dict[str, Any] = {
        "spaces": tuple(map(_located, spaces)) or None,
        "options": space_options(option) or None,
        "data": absolute_data(data) if data is not None else None,
        "device": device,
        "threads": threads,
        "seed": seed,
        "images": images,
        "test_images": test_images,
        "size": size,
        "settings": given(settings) or None,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    progress = Terminal(quiet=quiet)
    with ExitStack() as stack:
        if resume is not None:
            folder, request = stack.enter_context(resumed(resume, Comparison.of, asked, out=out))
            task, entries = request.open(progress)
        else:
            if len(spaces) < 2:
                raise OptionError("which spaces? Name two or more, such as 'archipel space compare proxyless fbnet'")
            chosen = merge(_SETTINGS, asked.pop("settings", {}), source="the command line")
            request = replace(from_dict(Comparison, asked, source="the command line"), settings=chosen)
            chosen.training.check(Device.parse(request.device, request.threads).for_training().torch_device)
            task, entries = request.open(progress)
            where = here(request.device, request.threads or 1, progress)
            request = replace(request, device=where.name, threads=where.threads)
            folder = stack.enter_context(RunFolder.create(out, to_dict(request), command_line(), task="spaces"))
        where = Device.parse(request.device, request.threads)
        try:
            result = compare_spaces(
                folder, task, where, entries, request.settings, seed=request.seed, progress=progress
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; continue with '{_AGAIN} {quoted(folder.path)}'") from None
        except StorageError as error:
            raise StorageError(f"{error}; then continue with '{_AGAIN} {quoted(folder.path)}'") from error
        except OptionError:
            if not folder.stages:
                folder.discard()
            raise
        if not json:
            show_comparison(result)
        page = write_report(folder.path)
        give(result | {"run": str(folder.path), "report": str(page)}, json, lambda: print(f"Report: {page}"))


def _located(name: str) -> str:
    """Files with their full path, so that the run can go on from elsewhere."""
    if is_table(name):
        path, *columns = name.split(":")
        return ":".join([str(Path(path).expanduser().resolve()), *columns])
    return absolute_space(name)


def show_comparison(result: Mapping[str, Any]) -> None:
    """Print what each space's networks come to, then how far every two spaces are apart."""
    unit = result["cost"]["unit"]
    rows = [
        [
            row["name"],
            str(row["n"]),
            f"{100 * row['least']:.2f}",
            _between(row["top"]),
            _between(row["mean"]),
            _between(row["median"]),
            None if row["mean_equalised"] is None else f"{100 * row['mean_equalised']:.2f}",
            None if row["cost"] is None else count(row["cost"]),
        ]
        for row in result["spaces"]
    ]
    head = ["space", "networks", "least\nerror %", "top tier\nerror %", "mean\nerror %", "median\nerror %"]
    table(result["title"], [*head, "mean at equal\ncost %", f"mean\n{unit}"], rows)
    print()
    names = [row["name"] for row in result["spaces"]]
    lines = [
        [
            f"{names[pair['first']]} – {names[pair['second']]}",
            _between(pair["mean_difference"]),
            "{:.3f} [{:.3f}, {:.3f}]".format(pair["distance"], *pair["distance_interval"]),
            f"{pair['p']:.2g}",
            None if pair["distance_equalised"] is None else f"{pair['distance_equalised']:.3f}",
        ]
        for pair in result["pairs"]
    ]
    table("Every two", ["spaces", "difference of\nmean errors %", "distance D", "p", "D at equal\ncost"], lines)
    equal = result["equalised"]
    if equal is None:
        print("The spaces have no cost in common: nothing is said at equal cost.")
    else:
        print(
            f"Equal cost: {equal['bins']} bins from {count(equal['low'])} to {count(equal['high'])} {unit}; "
            f"networks inside: {', '.join(map(str, equal['counts']))}."
        )


def _between(figure: Mapping[str, float]) -> str:
    mean, low, high = (f"{100 * figure[key]:.2f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
