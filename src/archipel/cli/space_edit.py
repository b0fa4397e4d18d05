"""`archipel space drop|narrow|shrink`: a smaller space made of one, kept as a file for --space."""

# Annotations are real objects here, because one is made from the settings of the shrinking.

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.architecture import Architecture
from archipel.cli.network import space_options
from archipel.cli.output import command_line, facts, give, quoted
from archipel.cli.overrides import Whole, given, overriding
from archipel.cli.resuming import resumed
from archipel.cost.device import Device
from archipel.errors import OptionError, RunError
from archipel.evolve.angle import ByAngle, Shrinking
from archipel.evolve.editors import Definition, Drop, Editor, Promising
from archipel.recipes.opening import absolute_data, absolute_space, open_task
from archipel.recipes.result import origin
from archipel.recipes.space_compare import read_architectures
from archipel.run.config import from_dict, merge, to_dict
from archipel.run.console import Terminal, table
from archipel.run.folder import RunFolder
from archipel.space import Space, SpaceFunction, count_text
from archipel.spaces import definition

__all__ = ["drop", "narrow", "show_edit", "shrink"]

_SETTINGS = Shrinking()
_OVERRIDES = overriding(_SETTINGS)
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def drop(space: str, *options: str, out: Path, option: dict[str, str] | None = None, json: Flag = False) -> None:
    """Leave options out of a search space.

    Args:
        space: a listed space, a file.json, or your own file.py:function.
        options: CHOICE:OPTION, in which * and ? stand for anything, such as 'b*:zero'.
        out: the file that the smaller space is written to.
        option: further options of the space's function, such as --option.macro cifar.
        json: print what was done as JSON.
    """
    if not options:
        raise OptionError("which options? Name them as CHOICE:OPTION, such as 'b*:zero'; see 'archipel show SPACE'")
    _edited(space, Drop(options), out, space_options(option), json)


def narrow(
    space: str,
    samples: Path,
    *,
    out: Path,
    share: float = 0.25,
    least: float = 0.05,
    option: dict[str, str] | None = None,
    json: Flag = False,
) -> None:
    """Leave what the best of many small samples of trained networks have (the empirical bootstrap of RegNet).

    Args:
        space: a listed space, a file.json, or your own file.py:function.
        samples: networks of it with their accuracy: the samples-SPACE.csv of 'archipel space compare'.
        out: the file that the smaller space is written to.
        share: of the networks, the size of each small sample.
        least: how many of the best must have an option, as a share, for it to stay.
        option: further options of the space's function, as in the comparison.
        json: print what was done as JSON.
    """
    networks, errors = read_architectures(samples)
    editor = Promising(tuple(map(Architecture, networks)), tuple(errors), share=share, least=least)
    _edited(space, editor, out, space_options(option), json)


def _edited(name: str, editor: Editor, out: Path, options: Mapping[str, Any], json: bool) -> None:
    if out.suffix != ".json":
        raise OptionError(f"--out is {out}; a space is kept in a file whose name ends in .json")
    if out.exists():
        raise OptionError(f"{out} exists already; name another file with --out")

    def opened(function: SpaceFunction) -> Space:
        return Space(function, **options)

    given_ = definition(absolute_space(name))
    made = editor(given_, opened)
    made.save(out)
    told = _told(opened(given_.function), opened(made.function), str(out))
    give(told, json, lambda: show_edit(told))


def _told(before: Space, after: Space, out: str) -> dict[str, Any]:
    """What an editor did, in plain values."""
    old = {choice.name: choice.options for choice in before.choices}
    gone = {c.name: [o for o in old[c.name] if o not in c.options] for c in after.choices}
    gone |= {name: list(options) for name, options in old.items() if name not in gone}  # nothing opens it any more
    return {"space": out, "of": before.name, "before": str(before.size), "after": str(after.size), "gone": gone}


def show_edit(told: Mapping[str, Any]) -> None:
    """Print what was left out, and how many networks that leaves."""
    rows = [[name, ", ".join(map(str, options))] for name, options in told["gone"].items() if options]
    table(f"Left out of {told['of']}", ["choice", "gone"], rows)
    before, after = (count_text(int(told[key])) for key in ("before", "after"))
    facts("", [("architectures", f"{before} → {after}"), ("space", told["space"])])


@dataclass(frozen=True)
class _Request:
    """What a shrinking is asked to do; its `config.yaml`."""

    space: str
    recipe: str = "space shrink"
    options: dict[str, Any] = field(default_factory=dict)
    data: str = "digits"
    device: str = "cpu"
    seed: int = 0
    images: int | None = None
    test_images: int | None = None
    size: int | None = None
    settings: Shrinking = _SETTINGS


def _held(folder: RunFolder) -> _Request:
    if folder.config.get("recipe") != _Request.recipe:
        raise RunError(f"{folder.path} shrinks no space; see 'archipel show {quoted(folder.path)}'")
    return from_dict(_Request, folder.config, source=str(folder.path / "config.yaml"))


def shrink(
    space: str | None = None,
    *,
    data: str | None = None,
    option: dict[str, str] | None = None,
    device: str | None = None,
    seed: Whole | None = None,
    images: Whole | None = None,
    test_images: Whole | None = None,
    size: Whole | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    quiet: Flag = False,
    json: Flag = False,
    settings: Annotated[_OVERRIDES, Parameter(name="*")] = _OVERRIDES(),  # type: ignore[valid-type]  # noqa: B008
) -> None:
    """Leave out the options whose weights turn least while the space is learned (angle-based shrinking).

    Args:
        space: a listed space, a file.json, or your own file.py:function.
        data: a folder of pictures or "digits", the default; as for "archipel run".
        option: further options of the space's function, such as --option.macro light.
        device: cpu, the default, or cuda:0.
        seed: of the data splits and the weights, 0 if not given.
        images: use at most so many images for training and validation.
        test_images: use at most so many test images.
        size: side of the images in pixels; they are scaled to it.
        out: the run folder, in which the space is shrunk.json; runs/DATE-TIME-DATA-N if not given.
        resume: continue this run folder with its own settings.
        quiet: show alarms and the result only.
        json: print what was done as JSON.
        settings: of the shrinking.
    """
    asked: dict[str, Any] = {
        "space": None if space is None else absolute_space(space), "options": space_options(option) or None,
        "data": None if data is None else absolute_data(data), "device": device, "seed": seed, "images": images,
        "test_images": test_images, "size": size, "settings": given(settings) or None,
    }  # fmt: skip
    asked = {name: value for name, value in asked.items() if value is not None}
    progress = Terminal(quiet=quiet)
    with ExitStack() as stack:
        if resume is None:
            if space is None:
                raise OptionError("which space? Name one, such as 'archipel space shrink proxyless', or --resume a run")
            chosen = merge(_SETTINGS, asked.pop("settings", {}), source="the command line")
            request = replace(from_dict(_Request, asked, source="the command line"), settings=chosen)
        else:
            folder, request = stack.enter_context(resumed(resume, _held, asked, out=out))
        task = open_task(
            request.data, images=request.images, test_images=request.test_images, size=request.size,
            seed=request.seed, progress=progress,
        )  # fmt: skip
        where = Device.parse(request.device, 1).for_training()
        request.settings.learning.check(where.torch_device)
        whole = definition(request.space)

        def opened(function: SpaceFunction) -> Space:
            return task.space(function, **request.options)

        before = opened(whole.function)
        if resume is None:
            folder = stack.enter_context(RunFolder.create(out, to_dict(request), command_line(), task=task.spec.name))
        editor = ByAngle(
            task, request.settings, request.seed, where.torch_device, checkpoint=folder.checkpoint, progress=progress
        )
        begin = time.monotonic()
        try:
            with where.use():
                made: Definition = editor(whole, opened)
        except KeyboardInterrupt:
            again = f"archipel space shrink --resume {quoted(folder.path)}"
            raise KeyboardInterrupt(f"stopped; continue with '{again}'") from None
        folder.write_json("shrunk.json", made.to_json())
        told = _told(before, opened(made.function), "shrunk.json")
        title = f"{before.name} shrunk on {task.spec.name}"
        result = origin(folder, title, time.monotonic() - begin, threads=1) | {"method": "space_shrink", **told}
        folder.write_json("result.json", result)
        give(result | {"run": str(folder.path)}, json, lambda: show_edit(told))
