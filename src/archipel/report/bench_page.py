"""What the page of a comparison of strategies shows: anytime curves, what was found, what papers report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from archipel.report import theme
from archipel.report.run_folder import RunFolder, numbers
from archipel.report.spaces_page import COLOURS, DASHES
from archipel.report.tables import Table
from archipel.report.wording import listed, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["context"]

_SIZES = ((520.0, 340.0), (340.0, 290.0))


def context(run: RunFolder) -> dict[str, Any]:
    """What `bench.html.j2` needs."""
    sets, ranks, seeds = run.rows("sets"), run.rows("ranks"), int(run.result.get("seeds", 0))
    names = [str(row["strategy"]) for row in ranks]
    published = _published_table(sets)
    nav = [
        ("anytime", "How soon"),
        *([("fronts", "Fronts")] if any(map(_two, sets)) else []),
        ("found", "What was found"),
    ]
    return {
        "template": "bench.html.j2",
        "frontier": None,
        "fidelity": None,
        "points": None,
        "headline": _headline(sets, ranks, seeds),
        "without_verdict": _verdict(sets, str(run.result.get("control"))),
        "nav": [*nav, ("published", "What papers report")] if published else nav,
        "watched": (),
        "watched_when": "",
        "strategy_legend": _legend(names),
        "curves": [_panel(one, names) for one in sets],
        "fronts": [_front_panel(one, names) for one in sets if _two(one)],
        "found_tables": [_found_table(one, str(run.result["control"]), str(run.result["leader"])) for one in sets],
        "ranks_table": _ranks_table(ranks, sets, seeds),
        "published_table": published,
    }


def _two(one: Mapping[str, Any]) -> bool:
    """Whether accuracy and cost were searched for at once."""
    return one["cost"] is not None


def _cost(one: Mapping[str, Any]) -> str:
    """`pixel3_ms` → `pixel3, ms`."""
    name, _, unit = str(one["cost"]).rpartition("_")
    return f"{name.replace('_', ' ')}, {unit.replace('mj', 'mJ')}"


# ---- sentences ----------------------------------------------------------------------------------------------------


def _headline(sets: Sequence[Mapping[str, Any]], ranks: Sequence[Mapping[str, Any]], seeds: int) -> list[str]:
    best = min(ranks, key=lambda row: row["rank"]["mean"])
    what = "device" if all(map(_two, sets)) else "image set"
    return [
        f"Strategies compared: {len(ranks)}, on {plural(len(sets), what)} with {plural(seeds, 'seed')}.",
        f"Best mean rank: {best['strategy']}, {best['rank']['mean']:.2f} of {len(ranks)}.",
    ]


def _verdict(sets: Sequence[Mapping[str, Any]], control: str) -> str:
    """Who is better than the control on every image set, by intervals of the difference."""
    rows = [{row["strategy"]: row for row in one["strategies"]} for one in sets]
    compared = [name for name in rows[0] if all("difference" in one[name] for one in rows)]
    if not compared:
        return "No strategy is compared with random search: it, or a second seed, is missing."
    sure = [name for name in compared if all(one[name]["difference"]["low"] > 0 for one in rows)]
    several = "with every device" if any(map(_two, sets)) else "on every image set"
    where = several if len(sets) > 1 else f"on {sets[0]['name']}"
    if not sure:
        return f"No strategy finds more than {control} {where} beyond what chance explains (95 % intervals)."
    return f"More than {control} {where}, beyond what chance explains (95 % intervals): {listed(sure)}."


# ---- figures ------------------------------------------------------------------------------------------------------


def _look(i: int) -> tuple[str, str]:
    """Colour and dashes of the i-th strategy: no two alike up to 32."""
    return COLOURS[i % len(COLOURS)], DASHES[(i // len(COLOURS)) % len(DASHES)]


def _legend(names: Sequence[str]) -> Markup:
    rows = []
    for i, name in enumerate(names):
        colour, dashes = _look(i)
        pattern = {"-": "none", "--": "6 3", ":": "1.5 3", "-.": "6 3 1.5 3"}[dashes]
        rows.append(
            f'<li><svg viewBox="0 0 24 12" style="width:24px" aria-hidden="true"><path d="M0 6h24" '
            f'style="fill:none;stroke:var(--{colour});stroke-width:2.2;stroke-dasharray:{pattern}"/>'
            f"</svg>{escape(name)}</li>"
        )
    return Markup('<ul class="legend">' + "".join(rows) + "</ul>")


def _panel(one: Mapping[str, Any], names: Sequence[str]) -> theme.Panel:
    over = "simulated seconds" if one["axis"] == "seconds" else "architectures tried"
    what, most = (
        ("Hypervolume of the true figures", "what the table’s own front dominates, 100\u00a0%")
        if _two(one)
        else ("True accuracy", f"the optimum, {one['optimum']:.2f}\u00a0%")
    )
    sentence = (
        f"{what} of what looked best so far, over {over}: mean over seeds, and a 95 % interval where the colour is "
        f"light. The thin line is {most}. The first tenth is left out."
    )
    pictures = []
    for size in _SIZES:
        fig = _drawn(one, names, over, size)
        label = f"{one['name']}: {sentence}"
        pictures.append(theme.page_svg(fig, name=f"anytime-{one['name']}-{size[0]:.0f}", label=label))
    return theme.Panel(str(one["name"]), pictures[0], sentence, pictures[1])


def _drawn(one: Mapping[str, Any], names: Sequence[str], over: str, size: tuple[float, float]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    palette = theme.SENTINEL
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, left=52, right=16, top=26, bottom=42)
    grid = numbers(one["grid"])
    shown = slice(len(grid) // 10, None)
    ax.axhline(one["optimum"], color=palette["faint"], linewidth=1.1, zorder=1)
    for row in one["strategies"]:
        colour, dashes = _look(names.index(row["strategy"]))
        mean, low, high = (numbers(row["curve"][end])[shown] for end in ("mean", "low", "high"))
        known = np.isfinite(mean)
        x = grid[shown][known]
        ax.fill_between(x, low[known], high[known], color=palette[colour], alpha=0.13, linewidth=0, zorder=2)
        ax.plot(x, mean[known], dashes, color=palette[colour], linewidth=1.7, zorder=3)
    ax.set_xlim(grid[shown][0], grid[-1])
    # Intervals of few seeds are wide: the means and the optimum set the scale, not they.
    means = np.concatenate([numbers(row["curve"]["mean"])[shown] for row in one["strategies"]])
    if np.isfinite(means).any():
        room = 0.25 * (one["optimum"] - np.nanmin(means)) or 1.0
        ax.set_ylim(np.nanmin(means) - room, one["optimum"] + room / 2)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(over)
    ax.set_title(
        "hypervolume, %" if _two(one) else "test accuracy, %",
        loc="left",
        fontsize=11,
        color=palette["soft"],
        pad=8,
        x=-0.1,
    )
    return fig


def _front_panel(one: Mapping[str, Any], names: Sequence[str]) -> theme.Panel:
    sentence = (
        "True test accuracy and measured cost of what looked best to the middle one of each strategy’s searches. The "
        "thin line is the table’s own front; it begins at the median network’s accuracy."
    )
    pictures = []
    for size in _SIZES:
        fig = _fronts(one, names, size)
        pictures.append(
            theme.page_svg(fig, name=f"front-{one['name']}-{size[0]:.0f}", label=f"{one['name']}: {sentence}")
        )
    return theme.Panel(str(one["name"]), pictures[0], sentence, pictures[1])


def _fronts(one: Mapping[str, Any], names: Sequence[str], size: tuple[float, float]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    palette = theme.SENTINEL
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, left=52, right=16, top=26, bottom=42)
    best = np.array(one["front"])
    ax.step(-best[:, 1], best[:, 0], where="post", color=palette["faint"], linewidth=1.1, zorder=1)
    for row in one["strategies"]:
        colour, _ = _look(names.index(row["strategy"]))
        front = np.array(row["front"]).reshape(-1, 2)
        shown = front[front[:, 0] > one["corner"][0]]
        ax.plot(-shown[:, 1], shown[:, 0], "o", color=palette[colour], markersize=4, alpha=0.75, zorder=3)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(_cost(one))
    ax.set_title("test accuracy, %", loc="left", fontsize=11, color=palette["soft"], pad=8, x=-0.1)
    return fig


# ---- tables -------------------------------------------------------------------------------------------------------


def _found_table(one: Mapping[str, Any], control: str, leader: str) -> Table:
    budget = one["budget"]
    spent = (
        f"{budget['seconds']:,.0f} simulated seconds".replace(",", " ")
        if one["axis"] == "seconds"
        else f"{budget['trials']} architectures"
    )
    head = [
        "strategy", "hypervolume, %" if _two(one) else "test accuracy, %", "standard deviation",
        f"over {control}, points", f"behind {leader}, points", "p", "of the gap closed, %", "trials",
    ]  # fmt: skip
    rows = [
        [
            str(row["strategy"]),
            _figure(row["final"]),
            "–" if row["spread"] is None else f"{row['spread']:.2f}",
            "–" if "difference" not in row else _figure(row["difference"], sign="+"),
            "–" if row.get("behind") is None else _figure(row["behind"], sign="+"),
            "–" if "p" not in row else f"{row['p']:.2g}",
            "–" if "gap" not in row else f"{100 * row['gap']:.0f}".replace("-", "−"),
            f"{row['trials']['mean']:.0f}",
        ]
        for row in sorted(one["strategies"], key=lambda row: -row["final"]["mean"])
    ]
    seen = str(one["seen"]).replace("valid_", "validation_").replace("_", " ")
    sees = (
        f"the {seen} and the cost ({_cost(one)}); 100 % is what the table’s own front dominates, above the median "
        "network’s accuracy and below the largest cost"
        if _two(one)
        else f"the {seen}; optimum {one['optimum']:.2f} %"
    )
    caption = (
        f"{one['name']}: {spent} a search, which sees {sees}. In brackets 95 % intervals over seeds; p of Mann and "
        "Whitney’s test against the control, corrected after Holm"
    )
    return Table(caption, head, rows, [None] * len(rows))


def _ranks_table(ranks: Sequence[Mapping[str, Any]], sets: Sequence[Mapping[str, Any]], seeds: int) -> Table:
    rows = [[str(row["strategy"]), _figure(row["rank"])] for row in sorted(ranks, key=lambda row: row["rank"]["mean"])]
    over = "device" if all(map(_two, sets)) else "image set"
    caption = f"Mean rank over {plural(len(sets), over)} and {plural(seeds, 'seed')}, 1 is best"
    return Table(caption, ["strategy", "rank [95 %]"], rows, [None] * len(rows))


def _published_table(sets: Sequence[Mapping[str, Any]]) -> Table | None:
    rows = []
    for one in sets:
        own = {row["strategy"]: row for row in one["strategies"]}
        for row in one["published"]:
            ours = own.get(row["strategy"])
            rows.append(
                [
                    str(row["method"]),
                    str(one["name"]),
                    f"{row['test']:.2f} ± {row['spread']:.2f}",
                    "–" if ours is None else f"{ours['final']['mean']:.2f} ± {ours['spread'] or 0.0:.2f}",
                    str(row["source"]),
                    "read in a text that quotes it" if row["trust"] == "read" else "recalled, not checked",
                ]
            )
    if not rows:
        return None
    head = ["method", "image set", "published, %", "here, %", "source", "how sure"]
    return Table("Test accuracy, mean ± standard deviation over runs", head, rows, [None] * len(rows))


def _figure(value: Mapping[str, float], sign: str = "") -> str:
    mean, low, high = (f"{value[key]:{sign}.2f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]".replace("-", "−")
