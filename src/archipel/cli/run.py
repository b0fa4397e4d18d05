"""`archipel run`: the main job, from images and a device to a frontier and a report; in an evolved space if asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.frontier import show_result
from archipel.cli.output import command_line, give
from archipel.cli.overrides import given
from archipel.cli.recipe_command import command
from archipel.errors import ArchipelError, OptionError, RunError
from archipel.recipes import instanas, pipeline
from archipel.recipes.job import located
from archipel.run.console import Terminal
from archipel.run.folder import RunFolder

__all__ = ["run"]

_plain = command(
    instanas,
    "Search on your images for your device, and compare with honest static networks. "
    "Pre-trains a meta-graph, measures a latency table on this device, searches a controller, fine-tunes what it "
    "found and writes a report.",
    show=show_result,
)


def _evolving(plain: Callable[..., None]) -> Callable[..., None]:
    """The same command with `--evolve`."""

    def run(*, evolve: bool = False, **options: Any) -> None:
        if evolve:
            _pipeline(**options)
        else:
            plain(**options)

    flag = Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="first evolve a space and search it for the device; what was found is then the space of this search.",
        ),
    ]
    signature = inspect.signature(plain)
    own = inspect.Parameter("evolve", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flag)
    run.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {"evolve": flag, **plain.__annotations__}
    run.__doc__ = plain.__doc__
    return run


def _pipeline(
    *,
    asked: Any = None,
    settings: Any = None,
    config: Path | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    quiet: bool = False,
    json: bool = False,
) -> None:
    request = {} if asked is None else located(given(asked))
    options = {} if settings is None else given(settings)
    if config is not None:
        raise OptionError("--evolve takes no --config; repeat a pipeline by its command")
    progress = Terminal(quiet=quiet)
    if resume is not None:
        if request or options or out is not None:
            raise OptionError(f"--resume takes everything from {resume}; leave out everything else")
        folder = RunFolder.open(resume)
        if folder.config.get("recipe") != pipeline.COMMAND:
            folder.close()
            raise RunError(f"{resume} is no run of 'archipel {pipeline.COMMAND}'; leave out --evolve")
        wanted = pipeline.Asked.of(folder)
    else:
        wanted = pipeline.Asked(request, options)
        folder = RunFolder.create(out, wanted.to_config(), command_line(), task="pipeline")
    with folder:
        try:
            done = pipeline.run(folder, wanted, command=command_line(), progress=progress)
        except ArchipelError:
            if resume is None and not any((folder.path / part).exists() for part in pipeline.PARTS):
                folder.discard()  # a mistake in what was asked: nothing was made that would be worth keeping
            raise
    if not json:
        show_result(done.result)
    content = done.result | {"run": str(done.folder), "report": str(done.report)}
    give(content, json, lambda: print(f"Report: {done.report}"))


run = _evolving(_plain)
