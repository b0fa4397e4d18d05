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
from archipel.errors import OptionError
from archipel.recipes import instanas, pipeline
from archipel.recipes.opening import located
from archipel.run.config import over, read_yaml
from archipel.run.console import Terminal

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
    how: dict[str, Any] = {"command": command_line(), "progress": Terminal(quiet=quiet)}
    if resume is not None:
        if request or options or config is not None or out is not None:
            raise OptionError(f"--resume takes everything from {resume}; leave out everything else")
        done = pipeline.go_on(resume, **how)
    else:
        document = {} if config is None else read_yaml(config)
        source = "the given settings" if config is None else str(config)
        done = pipeline.start(pipeline.Asked.of(over(document, {**request, **options}), source=source), out=out, **how)
    if not json:
        show_result(done.result)
    content = done.result | {"run": str(done.folder), "report": str(done.report)}
    give(content, json, lambda: print(f"Report: {done.report}"))


run = _evolving(_plain)
