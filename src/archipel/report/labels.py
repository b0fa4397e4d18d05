"""Text beside its mark, without two texts on each other: greedy placement, then a few rounds of repair."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archipel.report import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Box", "Label", "ends", "overlap", "place", "text_size", "uprights"]

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in pixels of the figure."""

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (-0.8, 0.8), (0.8, -0.8), (-0.8, -0.8))
_DISTANCES = (7.0, 13.0, 21.0, 31.0)


@dataclass(frozen=True)
class Label:
    """A text that belongs to a point `(x, y)` in data coordinates."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "normal"


def overlap(a: Box, b: Box) -> float:
    """Shared area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


@functools.cache
def text_size(text: str, size: float, weight: str = "normal") -> tuple[float, float]:
    """Width and height in pixels, in matplotlib's own font: wider than the system fonts it is shown in."""
    box = theme.figure(10, 10).text(0, 0, text, fontsize=size, fontweight=weight).get_window_extent()
    return float(box.width), float(box.height)


def place(ax: Axes, labels: Sequence[Label], obstacles: Sequence[Box], *, size: float = 11.5) -> list[str]:
    """Write every label near its point where it covers neither a mark nor another label.

    The first labels choose first. A label away from its point gets a thin leader line.

    Args:
        obstacles: marks and error bars, in pixels; the axes' limits must be final.

    Returns:
        The texts for which there was no room; they are not written.
    """
    if not labels:
        return []
    frame = ax.get_window_extent()
    points = ax.transData.transform([(label.x, label.y) for label in labels])
    choices = []
    for label, (x, y) in zip(labels, points, strict=True):
        width, height = text_size(label.text, size, label.weight)
        boxes = []
        for distance in _DISTANCES:
            for dx, dy in _DIRECTIONS:
                centre_x = x + dx * distance + (width / 2) * ((dx > 0) - (dx < 0))
                centre_y = y + dy * distance + (height / 2) * ((dy > 0) - (dy < 0))
                box = (
                    centre_x - width / 2,
                    centre_y - height / 2,
                    centre_x + width / 2,
                    centre_y + height / 2,
                )
                inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
                if inside:
                    fixed = distance / 10 + sum(overlap(box, other) for other in obstacles)
                    boxes.append((fixed, box, distance))
        choices.append(boxes)
    chosen: list[tuple[float, Box, float] | None] = [None] * len(labels)
    for _ in range(3):
        for i, boxes in enumerate(choices):
            others = [c[1] for j, c in enumerate(chosen) if c and j != i]
            chosen[i] = min(boxes, key=lambda c: c[0] + 20 * sum(overlap(c[1], o) for o in others), default=None)
    left_out = []
    kept: list[Box] = []
    for label, (x, y), choice in zip(labels, points, chosen, strict=True):
        if choice is None or choice[0] > 60 or any(overlap(choice[1], other) > 1 for other in kept):
            left_out.append(label.text)
            continue
        _, box, distance = choice
        kept.append(box)
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        ax.annotate(
            label.text,
            xy=(label.x, label.y),
            xytext=(centre[0] - x, centre[1] - y),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            fontsize=size,
            fontweight=label.weight,
            color=label.colour,
            zorder=6,
            annotation_clip=False,
        )
        if distance >= 13:
            near = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
            (x0, y0), (x1, y1) = ax.transData.inverted().transform([(x, y), near])
            ax.plot([x0, x1], [y0, y1], color=label.colour, linewidth=0.7, alpha=0.6, zorder=2)
    return left_out


def ends(ax: Axes, palette: theme.Palette, lines: Sequence[tuple[float, str, str]], *, size: float = 11) -> None:
    """Name lines at their right end, moved apart where they end close together.

    Args:
        lines: (height of the end in data coordinates, text, colour).
    """
    if not lines:
        return
    frame = ax.get_window_extent()
    gap = size * 1.25
    heights = [float(ax.transData.transform((0, y))[1]) for y, _, _ in lines]
    order = sorted(range(len(lines)), key=heights.__getitem__)
    moved = [heights[i] for i in order]
    for _ in range(200):
        for i in range(len(moved) - 1):
            short = gap - (moved[i + 1] - moved[i])
            if short > 0:
                moved[i] -= short / 2
                moved[i + 1] += short / 2
        moved[0] = max(moved[0], frame.y0 + 4)
        moved[-1] = min(moved[-1], frame.y1 - 2)
    for i, height in zip(order, moved, strict=True):
        _, text, colour = lines[i]
        ax.annotate(
            text,
            xy=(1, 0),
            xycoords="axes fraction",
            xytext=(6, height - frame.y0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=size,
            color=palette[colour],
            annotation_clip=False,
        )


def uprights(
    ax: Axes,
    palette: theme.Palette,
    lines: Sequence[tuple[str, float]],
    *,
    colour: str = "accent",
    named: bool = True,
    dashes: str | tuple[int, tuple[int, int]] = "-",
    size: float = 10.5,
) -> None:
    """Thin upright lines with their names above the frame; names of lines that are too close stand side by side.

    Args:
        lines: (name, place in data coordinates); the axes' limits must be final.
        named: without, only the lines.
    """
    groups: list[tuple[list[float], list[str]]] = []
    for name, x in sorted(lines, key=lambda line: line[1]):
        ax.axvline(x, color=palette["faint"], linewidth=0.9, linestyle=dashes, zorder=2)
        if groups:
            before = float(ax.transData.transform((sum(groups[-1][0]) / len(groups[-1][0]), 0))[0])
            here = float(ax.transData.transform((x, 0))[0])
            reach = text_size(" ".join(groups[-1][1]), size)[0] / 2 + text_size(name, size)[0]
            if here - before < reach:
                groups[-1][0].append(x)
                groups[-1][1].append(name)
                continue
        groups.append(([x], [name]))
    for places, names in groups if named else ():
        ax.text(
            sum(places) / len(places),
            1.02,
            " ".join(names),
            transform=ax.get_xaxis_transform(),
            ha="center",
            fontsize=size,
            fontweight="bold",
            color=palette[colour],
        )
