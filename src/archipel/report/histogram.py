"""How long single images take: one histogram a variant, static networks as lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archipel.report import theme
from archipel.report.frontier import short_name
from archipel.report.frontier_figure import kinds_legend
from archipel.report.labels import text_size
from archipel.report.run_folder import Point, RunFolder, Variant
from archipel.report.wording import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["histogram"]


def _controller_ms(run: RunFolder, variant: Variant) -> float | None:
    """What to add to the images' latencies so that they count the controller, as the points do.

    The file of architectures may hold the latency of the child alone: then the point's table latency of the same
    seed exceeds its mean by the controller's cost. None when it exceeds it by anything else (a fifth of that cost
    is allowed for), and nothing can be said.
    """
    cost = run.part("fidelity").get("controller_ms")
    mine = [p["table_ms"] for p in run.points if p.kind == run.method and p.name == variant.name]
    if not isinstance(cost, int | float) or not mine or mine[0] is None or not mine[0].values:
        return None
    gap = mine[0].values[0] - float(variant.latency_ms.mean())
    return next((added for added in (0.0, float(cost)) if abs(gap - added) <= 0.2 * cost), None)


def histogram(run: RunFolder) -> theme.Panel | str:
    """Latency of every test image, one row a variant, with the static networks as lines; or why there is none."""
    variants = [v for v in run.variants.values() if len(v.latency_ms)]
    if not variants:
        return "The run kept no latency per image, so there is no histogram."
    added = [_controller_ms(run, v) for v in variants]
    values = [v.latency_ms + (a or 0.0) for v, a in zip(variants, added, strict=True)]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    names = {v.name for v in variants}
    own: dict[str, list[Point]] = {}
    common: list[Point] = []
    for p in run.points:
        if theme.kind(p.kind).ours or p.kind == "random_policy" or p["sent_on"] is not None or p["table_ms"] is None:
            continue
        if short_name(p) in names:
            own.setdefault(short_name(p), []).append(p)
        else:
            common.append(p)
    reach = (low - 0.25 * (high - low or low), high + 0.25 * (high - low or high))
    lines = [p for ps in (*own.values(), common) for p in ps if reach[0] <= _table_ms(p) <= reach[1]]
    hidden = sum(map(len, own.values())) + len(common) - len(lines)
    low = min([low, *(_table_ms(p) for p in lines)])
    high = max([high, *(_table_ms(p) for p in lines)])
    pad = 0.03 * (high - low or high)
    bins = np.linspace(low - pad, high + pad, 49 if len(values[0]) >= 1000 else 33)
    label = "Histograms of the latency of single test images, one row a variant, with static networks as lines."
    pictures = [
        theme.page_svg(
            _draw_histogram(variants, values, bins, own, common, lines, width),
            name=f"histogram-{width}",
            label=label,
        )
        for width in (1060, 340)
    ]
    sentence = "Table latency of every test image of the first seed"
    if all(a is not None for a in added):
        sentence += ", the controller included"
    if lines:
        sentence += "; a line is a static network, which spends the same time on every image"
    sentence += "; σ is the standard deviation over the mean."
    if hidden:
        sentence += f" {plural(hidden, 'static network')} outside the range {'is' if hidden == 1 else 'are'} left out."
    return theme.Panel(
        "Latency of single images", pictures[0], sentence, pictures[1], kinds_legend(lines) if lines else None
    )


def _draw_histogram(
    variants: Sequence[Variant],
    values: Sequence[np.ndarray],
    bins: np.ndarray,
    own: dict[str, list[Point]],
    common: list[Point],
    lines: list[Point],
    width: float,
) -> Figure:
    row, bottom, left = 64.0, 40.0, 78.0
    named = [p for p in common if p in lines]
    levels = _levels(named, lambda ms: left + (ms - bins[0]) / (bins[-1] - bins[0]) * (width - left - 12), width)
    top = 8 + 15.0 * (1 + max((level for _, _, level in levels), default=-1))
    height = top + row * len(variants) + bottom
    fig = theme.figure(width, height)
    palette = theme.SENTINEL
    for i, (variant, latency) in enumerate(zip(variants, values, strict=True)):
        last = i == len(variants) - 1
        ax = theme.axes(
            fig,
            palette,
            left=left,
            top=top + row * i + 8,
            bottom=bottom + row * (len(variants) - 1 - i),
            grid="",
        )
        heights, _ = np.histogram(latency, bins)
        ax.set_xlim(bins[0], bins[-1])
        ax.set_ylim(0, 1.08)
        ax.fill_between(
            np.repeat(bins, 2)[1:-1],
            np.repeat(heights / heights.max(), 2),
            color=palette["instanas"],
            alpha=0.85,
            linewidth=0,
            zorder=3,
        )
        ax.set_yticks([])
        if not last:
            ax.set_xticks([])
        share = latency.std() / latency.mean()
        ax.text(
            -8 / (width - left - 12),
            0.30,
            f"{variant.name}",
            transform=ax.transAxes,
            ha="right",
            fontsize=13,
            fontweight="bold",
            color=palette["instanas"],
        )
        ax.text(
            -8 / (width - left - 12),
            0.0,
            f"σ {100 * share:.1f} %",
            transform=ax.transAxes,
            ha="right",
            fontsize=10.5,
            color=palette["soft"],
        )
        for p in (*own.get(variant.name, ()), *common):
            if p in lines:
                x = _table_ms(p)
                colour = palette[theme.kind(p.kind).colour]
                ax.plot([x, x], [0, 1.08], color=colour, linewidth=1.2, zorder=4)
                if p not in common:
                    ax.plot([x], [1.0], theme.kind(p.kind).marker, color=colour, markersize=6, zorder=5)
        if last:
            ax.set_xlabel("table latency, ms per image")
    for p, x, level in levels:
        fig.text(
            x / width,
            1 - (top + 2 - 15 * level) / height,
            short_name(p),
            ha="center",
            va="bottom",
            fontsize=10.5,
            color=palette[theme.kind(p.kind).colour],
        )
    return fig


def _levels(points: Sequence[Point], pixel: Callable[[float], float], width: float) -> list[tuple[Point, float, int]]:
    """Names of lines in rows above the picture, the lowest row first: (point, centre in pixels, row).

    A name for which three rows are not enough is left out; the table of points has it.
    """
    rows: list[float] = [-1.0, -1.0, -1.0]
    placed = []
    for p in sorted(points, key=_table_ms):
        half = text_size(short_name(p), 10.5)[0] / 2
        x = min(pixel(_table_ms(p)), width - half - 2)
        for level, right in enumerate(rows):
            if x - half > right + 6:
                rows[level] = x + half
                placed.append((p, x, level))
                break
    return placed


def _table_ms(point: Point) -> float:
    latency = point["table_ms"]
    return latency.mean if latency else float("nan")
