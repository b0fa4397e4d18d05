"""What the page of a comparison of spaces shows: distributions of errors, random searches, every two spaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from archipel.report import theme
from archipel.report.run_folder import RunFolder, is_number, numbers
from archipel.report.tables import Table
from archipel.report.wording import count, listed, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["context"]

COLOURS = ("accent", "o2", "o4", "o5", "o6", "o3", "o1", "o7")
DASHES = ("-", "--", ":", "-.")
_SIZES = ((520.0, 340.0), (340.0, 290.0))


def context(run: RunFolder) -> dict[str, Any]:
    """What `spaces.html.j2` needs."""
    spaces, pairs = run.rows("spaces"), run.rows("pairs")
    unit = str(run.part("cost").get("unit", "MAdds"))
    return {
        "template": "spaces.html.j2",
        "frontier": None,
        "fidelity": None,
        "points": None,
        "headline": _headline(spaces, pairs),
        "without_verdict": _verdict(spaces, pairs, run.part("equalised")),
        "nav": [("errors", "Errors"), ("search", "Random search"), ("pairs", "Every two")],
        "watched": (),
        "watched_when": "",
        "space_legend": _legend(spaces),
        "errors": _error_panels(spaces, run.part("equalised"), unit),
        "searches": _search_panels(spaces),
        "spaces_table": _spaces_table(spaces, unit),
        "pairs_table": _pairs_table(spaces, pairs),
    }


# ---- sentences ----------------------------------------------------------------------------------------------------


def _headline(spaces: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [str(space["name"]) for space in spaces]
    drawn = listed(f"{space['n']:,} of {name}".replace(",", " ") for name, space in zip(names, spaces))
    best = min(spaces, key=lambda space: space["mean"]["mean"])
    told = [
        f"Networks compared: {drawn}.",
        f"The least mean error is that of {best['name']}, {_figure(best['mean'])} %.",
    ]
    sure = [pair for pair in pairs if pair["mean_difference"]["low"] > 0 or pair["mean_difference"]["high"] < 0]
    if not sure:
        told.append("No two spaces differ in it by more than chance explains (95 % intervals of the differences).")
    elif len(sure) < len(pairs):
        told.append(f"Of {plural(len(pairs), 'pair')} of spaces {len(sure)} differ in it by more than chance explains.")
    return told


def _verdict(spaces: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], equal: Mapping[str, Any]) -> str:
    """Who dominates whom, at equal cost where that can be said."""
    kind = "_equalised" if equal else ""
    names = [str(space["name"]) for space in spaces]
    told = []
    for pair in pairs:
        first, second = names[pair["first"]], names[pair["second"]]
        leads, lags = pair[f"first_leads{kind}"], pair[f"second_leads{kind}"]
        if lags <= 0.02 < leads:
            told.append(f"{first} dominates {second}")
        elif leads <= 0.02 < lags:
            told.append(f"{second} dominates {first}")
        else:
            told.append(f"neither of {first} and {second} dominates the other")
    where = "At equal cost" if equal else "As drawn, whatever they cost"
    return f"{where}, {listed(told)} (at every error, but for 0.02 of the networks)."


# ---- figures ------------------------------------------------------------------------------------------------------


def _legend(spaces: Sequence[Mapping[str, Any]]) -> Markup:
    rows = []
    for i, space in enumerate(spaces):
        dashes = {"-": "none", "--": "6 3", ":": "1.5 3", "-.": "6 3 1.5 3"}[DASHES[i % len(DASHES)]]
        rows.append(
            f'<li><svg viewBox="0 0 24 12" style="width:24px" aria-hidden="true"><path d="M0 6h24" '
            f'style="fill:none;stroke:var(--{COLOURS[i % len(COLOURS)]});stroke-width:2.2;stroke-dasharray:{dashes}"/>'
            f"</svg>{escape(str(space['name']))} <small>{space['n']:,} networks</small></li>".replace(",", " ")
        )
    return Markup('<ul class="legend">' + "".join(rows) + "</ul>")


def _error_panels(spaces: Sequence[Mapping[str, Any]], equal: Mapping[str, Any], unit: str) -> list[theme.Panel]:
    made = [
        _panel(
            spaces, "edf", "Errors", _edf,
            "Share of each space’s networks whose error is at most what stands below. The further left a curve, the "
            "better the space; dots are means. The longest tenth of a tail may be cut off.",
        )
    ]  # fmt: skip
    if equal:
        made.append(
            _panel(
                spaces, "edf_equalised", "Errors at equal cost", _edf,
                f"The same with weights that make cost uniform in {plural(int(equal['bins']), 'bin')} from "
                f"{count(equal['low'])} to {count(equal['high'])} {unit}, so that no space is better only because it "
                f"is dearer. Networks inside: {listed(str(n) for n in equal['counts'])}.",
            )
        )  # fmt: skip
    return made


def _search_panels(spaces: Sequence[Mapping[str, Any]]) -> list[theme.Panel]:
    made = [
        _panel(
            spaces, "best_of", "Random search", _search,
            "Error of the best of so many networks drawn at random: mean, and between thin lines 95 % of all searches. "
            "Exact for the sample, so near its end a curve says what a search in the sample finds.",
        )
    ]  # fmt: skip
    if any(space.get("best_of_equalised") for space in spaces):
        made.append(
            _panel(
                spaces, "best_of_equalised", "Random search at equal cost", _search,
                "The same with the weights that make cost uniform.",
            )
        )  # fmt: skip
    return made


def _panel(
    spaces: Sequence[Mapping[str, Any]],
    key: str,
    title: str,
    draw: Callable[[Axes, Mapping[str, Any], str, str, str], None],
    sentence: str,
) -> theme.Panel:
    pictures = []
    for size in _SIZES:
        fig = _figure_of(spaces, key, draw, size)
        pictures.append(theme.page_svg(fig, name=f"{key}-{size[0]:.0f}", label=f"{title}: {sentence}"))
    return theme.Panel(title, pictures[0], sentence, pictures[1])


def _figure_of(
    spaces: Sequence[Mapping[str, Any]],
    key: str,
    draw: Callable[[Axes, Mapping[str, Any], str, str, str], None],
    size: tuple[float, float],
) -> Figure:
    from matplotlib.ticker import MaxNLocator

    palette = theme.SENTINEL
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, left=46, right=16, top=26, bottom=42)
    for i, space in enumerate(spaces):
        if space.get(key):
            draw(ax, space, key, palette[COLOURS[i % len(COLOURS)]], DASHES[i % len(DASHES)])
    if draw is _edf:
        ax.set_ylim(0, 101)
        ax.set_xlim(*_range([space[key] for space in spaces if space.get(key)]))
        ax.set_xlabel("error, %")
        said = "share of networks, %"
    else:
        ax.set_xscale("log", base=2)
        most = max((each["draws"] for space in spaces for each in space.get(key) or ()), default=1)
        ticks = [2**k for k in range(0, int(most).bit_length(), 1 if most < 200 else 3)]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.set_xlabel("networks drawn")
        said = "error of the best, %"
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_title(said, loc="left", fontsize=11, color=palette["soft"], pad=8, x=-0.09)
    return fig


def _range(found: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Errors in per cent from the least to where 90 % of every space's networks are, and a quarter beyond."""
    at, shares = [100 * numbers(each["error"]) for each in found], [numbers(each["share"]) for each in found]
    low = min(float(errors[0]) for errors in at)
    inner = max(float(errors[int(np.searchsorted(s, 0.9).clip(max=len(s) - 1))]) for errors, s in zip(at, shares))
    high = min(inner + 0.25 * (inner - low), max(float(errors[-1]) for errors in at))
    pad = 0.04 * (high - low or 1.0)
    return low - pad, high + pad


def _edf(ax: Axes, space: Mapping[str, Any], key: str, colour: str, dashes: str) -> None:
    at, share = 100 * numbers(space[key]["error"]), 100 * numbers(space[key]["share"])
    ax.step([at[0], *at], [0.0, *share], dashes, where="post", color=colour, linewidth=1.8, zorder=3)
    mean = space["mean"]["mean"] if key == "edf" else space.get("mean_equalised")
    if is_number(mean):
        height = share[max(0, int(np.searchsorted(at, 100 * mean, side="right")) - 1)]
        ax.plot(100 * mean, height, "o", color=colour, markersize=6.5, zorder=4)


def _search(ax: Axes, space: Mapping[str, Any], key: str, colour: str, dashes: str) -> None:
    draws, mean, low, high = (np.array([row[name] for row in space[key]]) for name in ("draws", "mean", "low", "high"))
    for ends in (low, high):
        ax.plot(draws, 100 * ends, dashes, color=colour, linewidth=0.7, alpha=0.55, zorder=2)
    ax.plot(draws, 100 * mean, dashes, color=colour, linewidth=1.8, zorder=3, marker="o", markersize=3.5)


# ---- tables -------------------------------------------------------------------------------------------------------


def _spaces_table(spaces: Sequence[Mapping[str, Any]], unit: str) -> Table:
    head = [
        "space", "networks", "least error, %", "top tier, %", "mean, %", "median, %", "mean at equal cost, %",
        f"mean {unit}",
    ]  # fmt: skip
    rows = [
        [
            str(space["name"]),
            f"{space['n']:,}".replace(",", " "),
            f"{100 * space['least']:.2f}",
            *(_figure(space[key]) for key in ("top", "mean", "median")),
            "–" if space["mean_equalised"] is None else f"{100 * space['mean_equalised']:.2f}",
            "–" if space["cost"] is None else count(space["cost"]),
        ]
        for space in spaces
    ]
    where = " on the validation split" if all(space.get("trained_here") for space in spaces) else ""
    caption = f"Every space: errors{where}, with 95 % bootstrap intervals"
    return Table(caption, head, rows, [None] * len(rows))


def _pairs_table(spaces: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> Table:
    names = [str(space["name"]) for space in spaces]
    head = [
        "spaces", "difference of mean errors, points", "Kolmogorov-Smirnov D", "p", "D at equal cost",
        "first ahead by at most", "second ahead by at most",
    ]  # fmt: skip
    rows = [
        [
            f"{names[pair['first']]} – {names[pair['second']]}",
            _figure(pair["mean_difference"]),
            "{:.3f} [{:.3f}, {:.3f}]".format(pair["distance"], *pair["distance_interval"]),
            f"{pair['p']:.2g}",
            "–" if pair["distance_equalised"] is None else f"{pair['distance_equalised']:.3f}",
            f"{pair['first_leads']:.3f}",
            f"{pair['second_leads']:.3f}",
        ]
        for pair in pairs
    ]
    return Table("Every two spaces: shares of networks by which one is ahead", head, rows, [None] * len(rows))


def _figure(value: Mapping[str, float]) -> str:
    mean, low, high = (f"{100 * value[key]:.2f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]".replace("-", "−")
