"""`archipel demo`: a run as a page whose networks run in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archipel.cli.output import facts, give, quoted
from archipel.cli.overrides import Whole
from archipel.report.wording import percent

__all__ = ["demo"]


def demo(
    run: Path,
    *,
    out: Path | None = None,
    model: list[str] | None = None,
    seed: Whole | None = None,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Write a page that any file server shows: your picture in, its architecture and class out, all in the browser.

    Args:
        run: a run folder that "archipel run" made.
        out: a new folder; demo inside the run if not given.
        model: families that the page offers, such as early_exit; all that decide by image if not given.
        seed: which of the run's networks; the first if not given.
        json: print what was written as JSON.
    """
    from archipel.deploy.demo import build_demo

    made = build_demo(run, out or run / "demo", models=model or (), seed=seed)
    worst = min(made.files, key=lambda one: one.same_answers)

    def show() -> None:
        rows: list[tuple[str, object]] = [
            ("networks", ", ".join(made.models)),
            ("test images", made.images),
            ("size", f"{made.bytes / 1e6:.1f} MB, of which the browser's runtime 14.3"),
            ("answers as PyTorch's", f"{percent(worst.same_answers)} of {worst.images} or more"),
            ("look at it", f"python -m http.server --directory {quoted(made.path)} 8000"),
        ]
        facts(f"Demo: {made.path}", rows)

    give(made.to_json(), json, show)
