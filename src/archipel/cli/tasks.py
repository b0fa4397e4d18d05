"""`archipel tasks`: the data sets that can be read."""

from __future__ import annotations

import inspect
from typing import Annotated

from cyclopts import Parameter

from archipel.cli.output import listing

__all__ = ["tasks"]


def tasks(*, json: Annotated[bool, Parameter(negative=(), show_default=False)] = False) -> None:
    """List the data sets and how each is named on the command line.

    Args:
        json: print the list as JSON.
    """
    from archipel.tasks import TASKS

    rows = []
    for name, function in TASKS.items():
        needs_files = "root" in inspect.signature(function).parameters
        about = (inspect.getdoc(function) or "").partition("\n")[0]
        rows.append({"name": name, "give": "--data FOLDER" if needs_files else f"--data {name}", "about": about})
    listing("Data sets (a folder is recognised by what it holds)", rows, json)
