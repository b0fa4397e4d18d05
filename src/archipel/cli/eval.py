"""`archipel eval`: the network of a training run, judged again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from archipel.architecture import Architecture
from archipel.cli.network import title_of
from archipel.cli.output import facts, give
from archipel.cli.train import Training
from archipel.recipes.train import judge
from archipel.report.wording import percent
from archipel.run.console import Terminal
from archipel.run.folder import RunFolder

__all__ = ["evaluate"]


def evaluate(
    run: Path,
    *,
    split: Literal["val", "test"] = "test",
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Evaluate the network of a training run again, on the data and device the run names.

    Args:
        run: a folder that "archipel train" made.
        split: which images.
        json: print the metrics as JSON.
    """
    folder = RunFolder.open(run, write=False)
    request = Training.of(folder)
    task, device, space = request.open(Terminal(quiet=True))
    metrics = judge(folder, task, device, space, Architecture.from_json(request.architecture or {}), split)
    result = {"run": str(run), "split": split, "images": task.splits[split], **metrics}
    give(
        result,
        json,
        lambda: facts(
            f"{title_of(request.network, space)} on {task.splits[split]} {split} images of {task.spec.name}",
            [("accuracy", percent(metrics["score"], 2)), ("cross-entropy", f"{metrics['cross_entropy']:.4f}")],
        ),
    )
