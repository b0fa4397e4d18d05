"""Accuracy against latency: InstaNAS variants and every baseline, on the page and as a picture of its own."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from archipel.errors import OptionError, RunError
from archipel.report import theme
from archipel.report.labels import Box, Label, place
from archipel.report.run_folder import Point, RunFolder, point, read
from archipel.report.wording import listed, milliseconds, plain, plural, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_svg", "headline", "kinds_legend", "panels", "save_frontier", "short_name", "undominated"]

LATENCIES = (
    ("table_ms", "Table latency", "table latency, ms per image"),
    ("measured_ms", "Measured, batch 1", "measured wall-clock, ms per image"),
    ("batch_ms", "Measured, routed batch", "measured wall-clock in a batch, ms per image"),
)
_WORDS = {"table_ms": "table latency", "measured_ms": "measured time", "batch_ms": "measured time in a batch"}
_SCALE = 100.0


def short_name(point: Point) -> str:
    """The point's name without the words its colour and marker say already: `A`, `0.5x`."""
    look = theme.kind(point.kind)
    known = {*point.kind.lower().split("_"), *look.label.lower().split(), "of", "mobilenetv2", "×"}
    words = [w for w in re.split(r"[\s_/·:,()-]+", point.name) if w and w.lower() not in known]
    return " ".join(words) or look.label


def undominated(points: Sequence[Point], figure: str) -> tuple[list[str], int]:
    """InstaNAS variants that no baseline equals or beats in both mean accuracy and mean `figure`.

    Returns:
        Their names, and how many variants have both numbers.
    """
    both = [(p, a, t) for p in points if (a := p["accuracy"]) and (t := p[figure])]
    ours = [row for row in both if row[0].kind == "instanas"]
    rivals = [row for row in both if row[0].kind != "instanas"]
    names = [p.name for p, a, t in ours if not any(b.mean >= a.mean and s.mean <= t.mean for _, b, s in rivals)]
    return names, len(ours)


def headline(run: RunFolder) -> list[str]:
    """What the run gave, in sentences made of its numbers alone."""
    for figure, words in (("measured_ms", "measured one image at a time"), ("table_ms", "by the latency table")):
        rows = [(p.kind, a, t) for p in run.points if (a := p["accuracy"]) and (t := p[figure])]
        sentences = []
        for kind, noun in (("instanas", "InstaNAS variant"), ("mobilenet_v2", "MobileNetV2 width")):
            mine = [(100 * a.mean, t.mean) for k, a, t in rows if k == kind]
            if mine:
                scores, times = zip(*mine, strict=True)
                score = _range(f"{min(scores):.1f}", f"{max(scores):.1f}", "%")
                time = _range(plain(min(times)), plain(max(times)), "ms")
                sentences.append(f"{plural(len(mine), noun)}: {score} test accuracy at {time} per image.")
        if sentences:
            sentences[0] = f"{sentences[0][:-1]}, {words}."
            names, count = undominated(run.points, figure)
            if count and len(rows) > count:
                sentences.append(_verdict(names, count, _WORDS[figure]))
            return sentences
    return ["This run has no InstaNAS variant with both an accuracy and a latency."]


def _range(low: str, high: str, unit: str) -> str:
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def _verdict(names: list[str], count: int, words: str) -> str:
    if not names:
        return f"In {words} every variant is matched by a baseline at least as fast and as accurate (means)."
    who = f"variant {names[0]}" if len(names) == 1 else f"variants {listed(names)}"
    return (
        f"In {words} no baseline is both as fast and as accurate as {who} ({len(names)} of {count}, comparing means)."
    )


def panels(run: RunFolder) -> list[theme.Panel]:
    """One panel for each latency that at least one point has."""
    made = []
    batch = run.part("device").get("throughput_batch")
    for figure, title, xlabel in LATENCIES:
        if figure == "batch_ms" and isinstance(batch, int):
            title, xlabel = f"Measured, batch {batch}", f"measured at batch {batch}, ms per image"
        points = [p for p in run.points if p["accuracy"] and p[figure]]
        if not points:
            continue
        wide, notes = _draw(points, figure, xlabel, (540, 400), theme.SENTINEL)
        narrow, notes_narrow = _draw(points, figure, xlabel, (340, 350), theme.SENTINEL)
        names, count = undominated(points, figure)
        sentence = (
            "Bars are 95 % intervals over the seeds, both ways."
            if any(p[axis].known for p in points for axis in ("accuracy", figure))  # type: ignore[union-attr]
            else "One seed, so there are no intervals."
        )
        if count and len(points) > count:
            sentence += " " + _verdict(names, count, _WORDS[figure])
        if figure == "batch_ms":
            sentence += " InstaNAS groups the batch by option, and each option runs once for its images."
        sentence += "".join(f" {note}" for note in dict.fromkeys([*notes, *notes_narrow]))
        label = f"Scatter plot of test accuracy against {xlabel}; the table below holds every point."
        made.append(
            theme.Panel(
                title,
                theme.page_svg(wide, name=f"frontier-{figure}", label=label),
                sentence,
                theme.page_svg(narrow, name=f"frontier-{figure}-narrow", label=label),
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


def _draw(
    points: list[Point], figure: str, xlabel: str, size: tuple[float, float], palette: theme.Palette
) -> tuple[Figure, list[str]]:
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, left=42, right=14, top=24)
    return fig, _fill(ax, points, figure, xlabel, palette)


def _fill(ax: Axes, points: list[Point], figure: str, xlabel: str, palette: theme.Palette) -> list[str]:
    """Draw one panel; returns what must be said about it."""
    spots = [(p, p[figure], p["accuracy"]) for p in points]
    ours = {i for i, (p, _, _) in enumerate(spots) if p.kind == "instanas"}
    x0, x1, out_x, cut_x = _limits([(t.low, t.mean, t.high) for _, t, _ in spots if t], ours, floor=0.0)
    heights = [(_SCALE * a.low, _SCALE * a.mean, _SCALE * a.high) for _, _, a in spots if a]
    y0, y1, out_y, cut_y = _limits(heights, ours, floor=0.0, ceiling=100.0)
    outside = sorted(out_x | out_y)
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)
    ax.set_xlabel(xlabel)
    ax.set_title("test accuracy, %", loc="left", fontsize=11.5, color=palette["soft"], pad=8, x=-0.075)
    inside = [spot for i, spot in enumerate(spots) if i not in outside]
    obstacles: list[Box] = []
    order = list(theme.KINDS)
    kinds = sorted({p.kind for p, _, _ in inside}, key=lambda k: order.index(k) if k in order else 99)
    for name in reversed(kinds):
        look = theme.kind(name)
        colour = palette[look.colour]
        rows = sorted(((t, a) for p, t, a in inside if p.kind == name and t and a), key=lambda r: r[0].mean)
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
            markersize=7 if name == "instanas" else 6,
            markeredgewidth=0,
            zorder=5 if name == "instanas" else 4,
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
            short_name(p),
            palette[theme.kind(p.kind).colour],
            "bold" if p.kind == "instanas" else "normal",
        )
        for name in kinds
        for p, t, a in inside
        if p.kind == name and t and a
    ]
    unlabelled = place(ax, labels, obstacles)
    notes = []
    if outside:
        names = (
            f"{spots[i][0].name} ({milliseconds(spots[i][1].mean)}, {spread(spots[i][2], scale=_SCALE)} %)"  # type: ignore[union-attr]
            for i in outside
        )
        notes.append(f"Outside the frame: {listed(names)}.")
    if cut_x or cut_y:
        notes.append("Bars that end at the frame go on beyond it.")
    if unlabelled:
        notes.append("Where points crowd, some go without a name here; the table has them all.")
    return notes


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
    shown = [
        entry for entry in LATENCIES if entry[0] != "batch_ms" and any(p["accuracy"] and p[entry[0]] for p in points)
    ]
    if not shown:
        raise RunError("this run has no point with both an accuracy and a latency; there is no frontier to draw")
    width = 440.0 * len(shown) + 20
    foot = 34.0
    height = 400.0 + foot
    fig = theme.figure(width, height)
    fig.patch.set_facecolor(theme.LIGHT["paper"])
    fig.patch.set_alpha(1.0)
    for number, (figure, _, xlabel) in enumerate(shown):
        ax = theme.axes(
            fig,
            theme.LIGHT,
            left=50 + 440 * number,
            right=width - 440 * (number + 1) + 4,
            top=66,
            bottom=46 + foot,
        )
        notes = _fill(ax, [p for p in points if p["accuracy"] and p[figure]], figure, xlabel, theme.LIGHT)
        fig.text(
            (50 + 440 * number) / width,
            (foot - 4) / height,
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
