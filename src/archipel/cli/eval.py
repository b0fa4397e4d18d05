"""`archipel eval`: a trained network of a run, judged again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from archipel.cli.output import facts, give
from archipel.cli.trained import trained
from archipel.report.wording import percent
from archipel.run.console import Terminal
from archipel.sharing import evaluate as evaluate_network

__all__ = ["evaluate"]


def evaluate(
    run: Path,
    *,
    network: str | None = None,
    split: Literal["val", "test"] = "test",
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Evaluate a trained network again, on the data that its run names.

    Args:
        run: a folder that "archipel train", "archipel search proxylessnas" or "archipel search trials" made.
        network: of a search, which of its networks, such as proxylessnas-cpu-1-0 (KIND-DEVICE-BUDGET-SEED) or A-0; the
            one found for the middle budget, or the best, if not given.
        split: which images.
        json: print the metrics as JSON.
    """
    found = trained(run, network, Terminal(quiet=True))
    with found.device.use():
        where = found.device.torch_device
        metrics = evaluate_network(found.network.to(where), found.task, split, device=where).metrics
    images = found.task.splits[split]
    result = {"run": str(run), "network": found.title, "split": split, "images": images, **metrics}
    give(
        result,
        json,
        lambda: facts(
            f"{found.title} on {images} {split} images of {found.task.spec.name}",
            [("accuracy", percent(metrics["score"], 2)), ("cross-entropy", f"{metrics['cross_entropy']:.4f}")],
        ),
    )
