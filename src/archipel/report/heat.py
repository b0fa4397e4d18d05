"""A table whose cells are also coloured by a share; the number stays in the cell, so that none relies on colour."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cell", "HeatTable"]


@dataclass(frozen=True)
class Cell:
    """A text, and what is said about it besides."""

    text: str
    heat: float | None = None
    """0 to 1: how strongly it is coloured; None: not at all."""
    note: str = ""
    marked: bool = False
    """Whether it has a frame."""


@dataclass(frozen=True)
class HeatTable:
    """Rows have a name, a remark beside it that may be empty, and a cell for each head but the first."""

    caption: str
    head: list[str]
    rows: list[tuple[str, str, list[Cell]]]
    sentence: str
