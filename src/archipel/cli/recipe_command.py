"""The command that runs a recipe, with every setting of the recipe as an option."""

# Annotations are real objects here, because one is made from the recipe's settings while the command is built.

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.frontier import show_result
from archipel.cli.output import command_line, give
from archipel.cli.overrides import Whole, given, overriding
from archipel.errors import OptionError
from archipel.recipes.job import Recipe, absolute_data, absolute_space, go_on, start
from archipel.run.config import read_yaml
from archipel.run.console import Terminal

__all__ = ["command"]


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
        options = given(settings)
        how: dict[str, Any] = {
            "command": command_line(),
            "progress": Terminal(quiet=quiet),
            "show": None if json else show_result,
        }
        if resume is not None:
            if config is not None or out is not None:
                unwanted = "--config" if config is not None else "--out"
                raise OptionError(f"--resume takes everything from {resume}; leave out {unwanted}")
            done = go_on(recipe, resume, asked, options, **how)
        else:
            document = read_yaml(config) if config is not None else {}
            done = start(recipe, asked, options, document=document, source=str(config), out=out, **how)
        content = done.result | {"run": str(done.folder), "report": str(done.report)}
        give(content, json, lambda: print(f"Report: {done.report}"))

    run.__doc__ = (run.__doc__ or "").format(presets=", ".join(recipe.PRESETS))
    return run
