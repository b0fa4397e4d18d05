"""What changed from epoch to epoch: one small figure for one question, several runs of it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from archipel.report import budgets, theme
from archipel.report.labels import ends, uprights
from archipel.report.run_folder import numbers
from archipel.report.wording import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SIZES", "Group", "Line", "Question", "panels"]

SIZES = ((470.0, 270.0), (340.0, 240.0))
_MARGINS = {"left": 46.0, "right": 92.0, "top": 30.0, "bottom": 40.0}

Runs = Sequence[Mapping[str, Any]]
"""Of each run (one a seed): the name of a curve → its value in each epoch; `epoch` numbers them (or another axis)."""


@dataclass(frozen=True)
class Group:
    """Figures that are shown and hidden together."""

    name: str
    panels: list[theme.Panel]


@dataclass(frozen=True)
class Line:
    """One curve. A `share` of 0–1 is shown as per cent."""

    key: str
    name: str
    colour: str
    dashes: str = "-"
    share: bool = False


@dataclass(frozen=True)
class Question:
    """One figure: lines of one unit on one scale, or `stacked`, each on its own.

    `band` names two curves and the area between them; `budgets` adds the budgets as level lines. `axis` is the curve
    along which the others are drawn, and what it is called.
    """

    title: str
    unit: str
    lines: tuple[Line, ...]
    sentence: str
    stacked: bool = False
    band: tuple[str, str, str] | None = None
    budgets: bool = False
    axis: tuple[str, str] = ("epoch", "epoch")


@dataclass(frozen=True)
class _Curve:
    """A line of every run that has it, and what stands for all of them: their mean, or the only one."""

    line: Line
    each: list[tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    y: np.ndarray

    @property
    def values(self) -> np.ndarray:
        return np.concatenate([y for _, y in self.each])


def panels(
    runs: Runs,
    questions: Sequence[Question],
    name: str,
    *,
    chosen: Mapping[str, float] | None = None,
    budgets_of: tuple[Sequence[float], str] = ((), "ms"),
) -> list[theme.Panel]:
    """One figure for each question that at least one run has a curve for.

    Args:
        name: unique within the page.
        chosen: name → epoch, marked by upright lines.
        budgets_of: budgets and their unit, for the questions that show them.
    """
    made = []
    for question in questions:
        curves = [curve for line in question.lines if (curve := _curve(runs, line, question.axis[0]))]
        if not curves:
            continue
        values = np.concatenate([curve.values for curve in curves])
        near, far = budgets.apart(budgets_of[0] if question.budgets else (), float(values.min()), float(values.max()))
        pictures = []
        for size in SIZES:
            if question.stacked:
                fig = _stacked(curves, question, chosen or {}, size)
            else:
                fig = _together(runs, curves, question, chosen or {}, near, size)
            words = f"{question.title}: {question.sentence}"
            pictures.append(theme.page_svg(fig, name=f"{name}-{question.title}-{size[0]:.0f}", label=words))
        sentences = [question.sentence]
        if len(runs) > 1:
            sentences.append(f"Thin lines are the {len(runs)} seeds, thick ones their mean.")
        if chosen and question.band:
            sentences.append("Upright lines, here and in the other figures, are the epochs chosen for the variants.")
        if far:
            sentences.append(budgets.said(far, budgets_of[1]))
        made.append(theme.Panel(question.title, pictures[0], " ".join(sentences), pictures[1]))
    return made


def _curve(runs: Runs, line: Line, axis: str) -> _Curve | None:
    """None where no run has it. The mean is over the epochs that all runs with this curve have."""
    scale = 100.0 if line.share else 1.0
    each = [(x, scale * y) for run in runs for x, y in [_paired(run, line.key, axis)] if len(x)]
    if not each:
        return None
    common = reduce(np.intersect1d, [x for x, _ in each])
    if len(each) == 1 or not len(common):
        return _Curve(line, each, *each[0])
    return _Curve(line, each, common, np.mean([y[np.isin(x, common)] for x, y in each], axis=0))


def _paired(curves: Mapping[str, Any], key: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values as far as both go, without holes; empty where the curve is absent."""
    x, y = numbers(curves.get(axis)), numbers(curves.get(key))
    length = min(len(x), len(y))
    x, y = x[:length], y[:length]
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _together(
    runs: Runs,
    curves: Sequence[_Curve],
    question: Question,
    chosen: Mapping[str, float],
    levels: Sequence[float],
    size: tuple[float, float],
) -> Figure:
    palette = theme.SENTINEL
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, **_MARGINS)  # type: ignore[arg-type]
    named = []
    if band := question.band:
        (x, low), (x_high, high) = (_paired(runs[0], key, question.axis[0]) for key in band[:2])
        if len(x) and len(x) == len(x_high):
            ax.fill_between(x, low, high, color=palette["tint"], linewidth=0, zorder=1)
            named.append((float((low[-1] + high[-1]) / 2), band[2], "soft"))
    for level in levels:
        ax.axhline(level, color=palette["faint"], linewidth=1.1, zorder=2)
        named.append((level, f"≤ {plain(level)}", "soft"))
    for curve in curves:
        _draw(ax, curve, palette)
        named.append((float(curve.y[-1]), curve.line.name, curve.line.colour))
    if any(curve.line.share for curve in curves):
        low_end, high_end = ax.get_ylim()
        ax.set_ylim(max(low_end, 0), min(high_end, 101))
    _finish(ax, palette, curves, question, chosen)
    ends(ax, palette, named)
    return fig


def _stacked(
    curves: Sequence[_Curve], question: Question, chosen: Mapping[str, float], size: tuple[float, float]
) -> Figure:
    """Curves of different units above each other, each with its own scale."""
    from matplotlib.ticker import MaxNLocator

    palette = theme.SENTINEL
    row = max((size[1] - 40) / len(curves), 68.0)
    height = row * len(curves) + 40
    fig = theme.figure(size[0], height)
    for i, curve in enumerate(curves):
        ax = theme.axes(fig, palette, left=46, right=14, top=row * i + 26, bottom=40 + row * (len(curves) - 1 - i))
        _draw(ax, curve, palette)
        ax.set_title(curve.line.name, loc="left", fontsize=11, color=palette[curve.line.colour], pad=5)
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        low, high = float(curve.values.min()), float(curve.values.max())
        pad = 0.12 * (high - low or abs(high) or 1.0)
        ax.set_ylim(low - pad, high + pad)
        uprights(ax, palette, list(chosen.items()), named=False)
        if i < len(curves) - 1:
            ax.set_xticklabels([])
        else:
            ax.set_xlabel(question.axis[1])
    return fig


def _draw(ax: Axes, curve: _Curve, palette: theme.Palette) -> None:
    colour, dashes = palette[curve.line.colour], curve.line.dashes
    if len(curve.each) > 1:
        for x, y in curve.each:
            ax.plot(x, y, dashes, color=colour, linewidth=0.8, alpha=0.55, zorder=3)
    ax.plot(curve.x, curve.y, dashes, color=colour, linewidth=1.7, zorder=3, solid_capstyle="round")
    if len(curve.x) == 1:
        ax.plot(curve.x, curve.y, "o", color=colour, markersize=5)


def _finish(
    ax: Axes, palette: theme.Palette, curves: Sequence[_Curve], question: Question, chosen: Mapping[str, float]
) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = np.concatenate([x for curve in curves for x, _ in curve.each])
    first, last = float(epochs.min()), float(epochs.max())
    if last > first:
        ax.set_xlim(first, last)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=question.axis[0] in ("epoch", "iteration")))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(question.axis[1])
    ax.set_title(question.unit, loc="left", fontsize=11, color=palette["soft"], pad=15 if chosen else 8, x=-0.14)
    uprights(ax, palette, list(chosen.items()))
