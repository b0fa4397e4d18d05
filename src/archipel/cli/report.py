"""`archipel report`: a run's HTML page, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archipel.cli.output import give, quoted
from archipel.errors import RunError
from archipel.run.folder import RunFolder

__all__ = ["report"]


def report(run: Path, *, json: Annotated[bool, Parameter(negative=(), show_default=False)] = False) -> None:
    """Write the report of a finished run again: one HTML file that opens offline.

    Args:
        run: the run folder.
        json: print the report's path as JSON.
    """
    from archipel.report import write

    folder = RunFolder.open(run, write=False)
    if folder.config.get("recipe") == "train":
        raise RunError(f"{run} trained one network, which needs no report; 'archipel show {quoted(run)}' tells all")
    page = write(folder.path)
    give({"run": str(folder.path), "report": str(page)}, json, lambda: print(f"Report: {page}"))
