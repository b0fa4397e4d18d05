"""Accuracy against latency, drawn: on the page, and as a picture of its own."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from archipel.errors import OptionError, RunError
from archipel.report import budgets, theme
from archipel.report.frontier import View, verdict, views
from archipel.report.labels import Box, Label, place, uprights
from archipel.report.run_folder import Point, RunFolder, point, read
from archipel.report.wording import listed, milliseconds, plain, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_svg", "kinds_legend", "panels", "save_frontier"]

_SCALE = 100.0
_COLUMNS = 3
"""Most panels beside each other in a picture of its own."""


def panels(run: RunFolder) -> list[theme.Panel]:
    """One panel for each view of the run."""
    made = []
    for number, view in enumerate(views(run.result, run.points)):
        wide, notes = _draw(view, (540, 400), theme.SENTINEL)
        narrow, notes_narrow = _draw(view, (340, 350), theme.SENTINEL)
        sentences = [
            "Bars are 95 % intervals over the seeds, both ways."
            if any((value := p[axis]) and value.known for p in view.points for axis in ("accuracy", view.figure))
            else "One seed, so there are no intervals.",
        ]
        if view.budgets:
            sentences.append(f"Dashed upright lines are budgets in {view.unit}; a point bears the number of its own.")
        if told := verdict(view):
            sentences.append(told)
        if view.figure == "batch_ms" and any(point.kind == "instanas" for point in view.points):
            sentences.append("InstaNAS groups the batch by option, and each option runs once for its images.")
        if view.without:
            sentences.append(f"Without a latency here, so only in the table: {listed(view.without)}.")
        sentences += dict.fromkeys([*notes, *notes_narrow])
        label = f"Scatter plot of test accuracy against {view.xlabel}; the table below holds every point."
        made.append(
            theme.Panel(
                view.title,
                theme.page_svg(wide, name=f"frontier-{number}", label=label),
                " ".join(sentences),
                theme.page_svg(narrow, name=f"frontier-{number}-narrow", label=label),
            )
        )
    return made


def kinds_legend(points: Iterable[Point]) -> Markup:
    """Marker and name of every kind that occurs, as an HTML list."""
    found = dict.fromkeys(p.kind for p in points)
    names = sorted(found, key=[*theme.KINDS, *found].index)
    items = "".join(
        f'<li><svg viewBox="0 0 12 12" aria-hidden="true"><path d="{look.path}" '
        f'style="fill:var(--{look.colour})"/></svg>{escape(look.label)}</li>'
        for look in map(theme.kind, names)
    )
    return Markup(f'<ul class="legend">{items}</ul>')


def _draw(view: View, size: tuple[float, float], palette: theme.Palette) -> tuple[Figure, list[str]]:
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, left=42, right=14, top=38 if view.budgets else 24)
    return fig, _fill(ax, view, palette)


def _fill(ax: Axes, view: View, palette: theme.Palette, *, heading: str = "") -> list[str]:
    """Draw one panel; returns what must be said about it."""
    spots = [(p, t, a) for p in view.points if (t := p[view.figure]) and (a := p["accuracy"])]
    own = theme.own(p.kind for p in view.points)
    ours = {i for i, (p, _, _) in enumerate(spots) if p.kind == own}
    x0, x1, out_x, cut_x = _limits([(t.low, t.mean, t.high) for _, t, _ in spots], ours, floor=0.0)
    heights = [(_SCALE * a.low, _SCALE * a.mean, _SCALE * a.high) for _, _, a in spots]
    y0, y1, out_y, cut_y = _limits(heights, ours, floor=0.0, ceiling=100.0)
    outside = sorted(out_x | out_y)
    lines, far = budgets.apart(view.budgets, x0, x1)
    margin = 0.04 * (x1 - x0)
    ax.set_xlim(min([x0, *(line - margin for line in lines)]), max([x1, *(line + margin for line in lines)]))
    ax.set_ylim(y0, y1)
    ax.set_xlabel(view.xlabel)
    title = f"{heading}test accuracy, %"
    pad = 22 if lines else 8
    ax.set_title(title, loc="left", fontsize=11.5, color=palette["soft"], pad=pad, x=-0.075)
    uprights(ax, palette, [(plain(line), line) for line in lines], colour="soft", dashes=budgets.DASHES)
    inside = [spot for i, spot in enumerate(spots) if i not in outside]
    obstacles: list[Box] = []
    for line in lines:
        (x, low), (_, high) = ax.transData.transform([(line, y0), (line, y1)])
        obstacles.append((x - 1, low, x + 1, high))
    order = list(theme.KINDS)
    kinds = sorted({p.kind for p, _, _ in inside}, key=lambda k: order.index(k) if k in order else 99)
    for name in reversed(kinds):
        look = theme.kind(name)
        colour = palette[look.colour]
        rows = sorted(((t, a) for p, t, a in inside if p.kind == name), key=lambda r: r[0].mean)
        x = [t.mean for t, _ in rows]
        y = [_SCALE * a.mean for _, a in rows]
        ax.errorbar(
            x,
            y,
            xerr=[[t.mean - t.low for t, _ in rows], [t.high - t.mean for t, _ in rows]],
            yerr=[[_SCALE * (a.mean - a.low) for _, a in rows], [_SCALE * (a.high - a.mean) for _, a in rows]],
            fmt="none",
            ecolor=colour,
            elinewidth=1.1,
            alpha=0.45,
            zorder=3,
        )
        if look.joined:
            ax.plot(x, y, color=colour, linewidth=1.2, alpha=0.55, zorder=2)
        ax.plot(
            x,
            y,
            look.marker,
            color=colour,
            markersize=7 if name == own else 6,
            markeredgewidth=0,
            zorder=5 if name == own else 4,
        )
        for (t, a), (px, py) in zip(rows, ax.transData.transform(list(zip(x, y, strict=True))), strict=True):
            (left, low), (right, high) = ax.transData.transform([(t.low, _SCALE * a.low), (t.high, _SCALE * a.high)])
            obstacles.append((px - 5, py - 5, px + 5, py + 5))
            obstacles.append((left, py - 0.7, right, py + 0.7))
            obstacles.append((px - 0.7, low, px + 0.7, high))
    labels = [
        Label(
            t.mean,
            _SCALE * a.mean,
            view.name(p),
            palette[theme.kind(p.kind).colour],
            "bold" if name == own else "normal",
        )
        for name in kinds
        for p, t, a in inside
        if p.kind == name
    ]
    unlabelled = place(ax, labels, obstacles)
    notes = []
    if outside:
        names = (
            f"{spots[i][0].name} ({_cost(spots[i][1].mean, view.unit)}, {spread(spots[i][2], scale=_SCALE)} %)"
            for i in outside
        )
        notes.append(f"Outside the frame: {listed(names)}.")
    if cut_x or cut_y:
        notes.append("Bars that end at the frame go on beyond it.")
    if far:
        notes.append(budgets.said(far, view.unit))
    if unlabelled:
        notes.append("Where points crowd, some go without a name here; the table has them all.")
    return notes


def _cost(value: float, unit: str) -> str:
    return milliseconds(value) if unit == "ms" else f"{plain(value)} {unit}"


def _limits(
    rows: list[tuple[float, float, float]], ours: set[int], *, floor: float, ceiling: float = float("inf")
) -> tuple[float, float, set[int], bool]:
    """Axis limits round (low, mean, high) rows, the rows left outside, and whether an interval is cut off.

    A few rows that lie further from all others than three times the others' range would squeeze the picture into
    a corner: they are left out and the figure's sentence names them; never those of `ours`. An interval of two
    seeds may be ten times as wide as the picture: none widens it by more than half of the means' range.
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i][1])
    outside: set[int] = set()
    for line in (order, order[::-1]):
        for cut in range(1, len(line) // 3):
            dropped, rest = line[:cut], line[cut:]
            gap = abs(rows[rest[0]][1] - rows[dropped[-1]][1])
            if len(rest) > 2 and not ours & set(dropped) and gap > 3 * abs(rows[rest[0]][1] - rows[rest[-1]][1]) > 0:
                outside |= set(dropped)
    kept = [row for i, row in enumerate(rows) if i not in outside]
    first, last = min(row[1] for row in kept), max(row[1] for row in kept)
    reach = 0.5 * (last - first) or float("inf")
    ends = min(row[0] for row in kept), max(row[2] for row in kept)
    low, high = max(ends[0], first - reach, floor), min(ends[1], last + reach, ceiling)
    pad = 0.07 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - pad if low > floor else low - pad / 3, high + pad
    return low, high, outside, ends[0] < low or ends[1] > high


def _plain(result: dict[str, Any]) -> Figure:
    points = [point(row) for row in result.get("points") or []]
    shown = [view for view in views(result, points) if view.figure != "batch_ms"]
    if not shown:
        raise RunError("this run has no point with both an accuracy and a latency; there is no frontier to draw")
    columns = min(len(shown), _COLUMNS)
    rows = math.ceil(len(shown) / columns)
    top, panel, foot = 66.0, 368.0, 34.0
    width, height = 440.0 * columns + 20, top + panel * rows
    fig = theme.figure(width, height)
    fig.patch.set_facecolor(theme.LIGHT["paper"])
    fig.patch.set_alpha(1.0)
    for number, view in enumerate(shown):
        row, column = divmod(number, columns)
        below = panel * (rows - 1 - row)
        ax = theme.axes(
            fig,
            theme.LIGHT,
            left=50 + 440 * column,
            right=width - 440 * (column + 1) + 4,
            top=top + panel * row + (20 if row or view.budgets else 0),
            bottom=46 + foot + below,
        )
        heading = "" if view.target is None else f"{view.target}: "
        notes = _fill(ax, view, theme.LIGHT, heading=heading)
        fig.text(
            (50 + 440 * column) / width,
            (foot - 4 + below) / height,
            "\n".join(textwrap.wrap(" ".join(notes), 66)[:2]),
            fontsize=11,
            color=theme.LIGHT["soft"],
            va="top",
        )
    from matplotlib.lines import Line2D

    kinds = [k for k in theme.KINDS.values() if any(p.kind == k.name for p in points)]
    handles = [
        Line2D([], [], marker=k.marker, color=theme.LIGHT[k.colour], linestyle="", markersize=7, label=k.label)
        for k in kinds
    ]
    fig.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(24 / width, 1 - 8 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=12,
        labelcolor=theme.LIGHT["ink"],
        handletextpad=0.1,
        columnspacing=1.2,
    )
    return fig


def frontier_svg(result: dict[str, Any]) -> str:
    """The frontier alone, as an SVG file on its own white paper: legible on light and dark pages alike.

    Args:
        result: what result.json holds.

    Raises:
        RunError: no point has both an accuracy and a latency.
    """
    return theme.plain_svg(_plain(result), name="frontier")


def save_frontier(run_dir: Path, path: Path) -> Path:
    """Write the frontier of a run as `.svg` or `.png` (twice the pixels); returns the path.

    Raises:
        OptionError: another ending.
        RunError: not a run, or a run without points.
    """
    path = Path(path)
    if path.suffix.lower() not in (".svg", ".png"):
        raise OptionError(f"picture '{path.name}' ends in '{path.suffix}'; use .svg or .png")
    result = read(run_dir).result
    if path.suffix.lower() == ".svg":
        path.write_text(frontier_svg(result), encoding="utf-8")
    else:
        _plain(result).savefig(path, dpi=144, metadata={"Software": None})
    return path
