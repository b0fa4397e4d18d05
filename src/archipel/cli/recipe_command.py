"""The command that runs a recipe, with every setting of the recipe as an option."""

# Annotations are real objects here, because one is made from the recipe's settings while the command is built.

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.output import command_line, give
from archipel.cli.overrides import given, overriding
from archipel.errors import OptionError
from archipel.recipes.job import Recipe, go_on, start
from archipel.run.config import read_yaml
from archipel.run.console import Terminal

__all__ = ["command"]


def command(recipe: Recipe, summary: str, *, show: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """The command-line function that runs `recipe`, with every setting of the recipe as an option.

    Args:
        summary: what it does, for its help.
        show: prints a result for a person.
    """
    questions = overriding(recipe.Request(), None)
    overrides = overriding(recipe.PRESETS["cpu"], "cpu")

    def run(
        *,
        asked: Annotated[questions, Parameter(name="*")] = questions(),  # type: ignore[valid-type]  # noqa: B008
        config: Path | None = None,
        out: Path | None = None,
        resume: Path | None = None,
        quiet: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        settings: Annotated[overrides, Parameter(name="*")] = overrides(),  # type: ignore[valid-type]  # noqa: B008
    ) -> None:
        """{summary}

        Every stage is kept: a stopped run goes on with --resume. Presets: {presets}.

        Args:
            asked: what to search on and for.
            config: a YAML file with any of these settings; another run's config.yaml repeats that run.
            out: the run folder; runs/DATE-TIME-DATA-N if not given.
            resume: continue this run folder with its own settings.
            quiet: show alarms and the result only.
            json: print the result as JSON.
            settings: of the recipe.
        """
        options = given(settings)
        how: dict[str, Any] = {
            "command": command_line(),
            "progress": Terminal(quiet=quiet),
            "show": None if json else show,
        }
        if resume is not None:
            if config is not None or out is not None:
                unwanted = "--config" if config is not None else "--out"
                raise OptionError(f"--resume takes everything from {resume}; leave out {unwanted}")
            done = go_on(recipe, resume, given(asked), options, **how)
        else:
            document = read_yaml(config) if config is not None else {}
            done = start(recipe, given(asked), options, document=document, source=str(config), out=out, **how)
        content = done.result | {"run": str(done.folder), "report": str(done.report)}
        give(content, json, lambda: print(f"Report: {done.report}"))

    run.__doc__ = (run.__doc__ or "").format(presets=", ".join(recipe.PRESETS), summary=summary)
    return run
