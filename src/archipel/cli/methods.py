"""`archipel methods`: what there is, each with its paper."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from archipel.cli.output import listing

__all__ = ["methods"]


def methods(*, json: Annotated[bool, Parameter(negative=(), show_default=False)] = False) -> None:
    """List the methods, each with its paper.

    Args:
        json: print the list as JSON.
    """
    from archipel.recipes import METHODS

    rows = [
        {"name": name, "status": method.status, "tags": ", ".join(method.tags), "paper": method.paper}
        for name, method in METHODS.items()
    ]
    listing("Methods", rows, json)
