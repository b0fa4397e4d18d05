"""What one search gives: for every cost the likeliest architecture within it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from archipel.report import budgets, theme
from archipel.report.labels import ends, uprights
from archipel.report.search_run import Search, Target
from archipel.report.wording import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LEGEND", "pareto"]

_DASHES = ("-", "--", ":", "-.")
_COLOURS = ("accent", "ink", "soft")

LEGEND = Markup(
    '<ul class="legend">'
    '<li><svg viewBox="0 0 12 12" aria-hidden="true"><path d="M0 6h12M6 2.5a3.5 3.5 0 1 0 .01 0Z" '
    'style="fill:var(--accent);stroke:var(--accent)"/></svg>derived for a budget, with the table’s interval</li>'
    '<li><svg viewBox="0 0 12 12" aria-hidden="true"><path d="M6 2.5a3.5 3.5 0 1 0 .01 0Z" '
    'style="fill:none;stroke:var(--accent);stroke-width:1.5"/></svg>likeliest within a budget</li>'
    '<li><svg viewBox="0 0 12 12" aria-hidden="true"><path d="M2 2h8v8h-8Z" '
    'style="fill:none;stroke:var(--ink);stroke-width:1.5"/></svg>likeliest of all</li>'
    "</ul>"
)


def pareto(targets: Sequence[Target]) -> list[theme.Panel]:
    """One panel for each device whose searches kept their Pareto sets."""
    made = []
    for number, target in enumerate(targets):
        searches = [search for search in target.searches if len(search.pareto)]
        if not searches:
            continue
        costs = np.concatenate([search.pareto[:, 0] for search in searches])
        near, far = budgets.apart(target.budgets, float(costs.min()), float(costs.max()))
        label = f"Log-probability of the likeliest architecture within each {_what(target.unit)} on {target.label}."
        pictures = [
            theme.page_svg(_draw(searches, near, size, target.unit), name=f"pareto-{number}-{size[0]:.0f}", label=label)
            for size in ((540.0, 340.0), (340.0, 300.0))
        ]
        made.append(theme.Panel(target.label, pictures[0], _sentence(searches, far, target.unit), pictures[1]))
    return made


def _what(unit: str) -> str:
    return "latency" if unit == "ms" else "number of multiply-adds"


def _sentence(searches: Sequence[Search], far: Sequence[float], unit: str) -> str:
    sizes = sorted({search.pareto_size for search in searches})
    who = "One search with a" if len(searches) == 1 else f"{len(searches)} searches, each with a"
    size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    told = f"{who} Pareto set of {size} architecture{'s' if sizes[-1] > 1 else ''}"
    if any(search.pareto_size > len(search.pareto) for search in searches):
        told += f", of which at most {max(len(search.pareto) for search in searches)} are drawn"
    told += ". Dashed upright lines are the budgets"
    told += ", which hold for the upper end of the interval." if unit == "ms" else "."
    if not all(each.exact for search in searches for each in search.derived):
        told += " The space is too large to prove that no architecture within a budget is likelier than the one shown."
    return f"{told} {budgets.said(far, unit)}" if far else told


def _draw(searches: Sequence[Search], near: Sequence[float], size: tuple[float, float], unit: str) -> Figure:
    palette = theme.SENTINEL
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, left=46, right=62, top=38, bottom=42)
    costs = np.concatenate([search.pareto[:, 0] for search in searches])
    low, high = min([float(costs.min()), *near]), max([float(costs.max()), *near])
    pad = 0.05 * (high - low or high or 1.0)
    ax.set_xlim(low - pad, high + pad)
    ax.set_xlabel("latency by the table, ms per image" if unit == "ms" else "million multiply-adds per image")
    ax.set_title("log-probability, nats", loc="left", fontsize=11.5, color=palette["soft"], pad=22, x=-0.085)
    named = []
    for number, search in enumerate(searches):
        colour = palette[_COLOURS[number % len(_COLOURS)]]
        x, y = search.pareto.T
        # The best within a cost stays the best until the next: steps, and level beyond the last.
        ax.step(
            [*x, high + pad],
            [*y, y[-1]],
            _DASHES[number % len(_DASHES)],
            where="post",
            color=colour,
            linewidth=1.4,
            alpha=0.8,
            zorder=3,
        )
        named.append((float(y[-1]), f"seed {search.seed}", _COLOURS[number % len(_COLOURS)]))
        if search.argmax is not None:
            ax.plot(search.argmax, y[-1], "s", color="none", markeredgecolor=palette["ink"], markersize=8, zorder=4)
        for each in search.derived:
            if each.likeliest:
                ax.plot(*each.likeliest, "o", color="none", markeredgecolor=colour, markersize=7, zorder=4)
            if each.cost is None or each.log_probability is None:
                continue
            if each.interval:
                ax.plot(each.interval, [each.log_probability] * 2, color=colour, linewidth=1.3, zorder=5)
            ax.plot(each.cost, each.log_probability, "o", color=colour, markersize=6, markeredgewidth=0, zorder=6)
    uprights(ax, palette, [(plain(budget), budget) for budget in near], colour="soft", dashes=budgets.DASHES)
    ends(ax, palette, named)
    return fig
