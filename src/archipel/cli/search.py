"""`archipel search METHOD`: a network for every device and latency budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.cli.recipe_command import command
from archipel.recipes import proxylessnas
from archipel.report.frontier import short_name
from archipel.report.run_folder import Interval, interval, point
from archipel.report.theme import kind
from archipel.report.wording import count, duration, plain, spread
from archipel.run.console import table

__all__ = ["search_proxylessnas", "show_search"]


def show_search(result: Mapping[str, Any]) -> None:
    """Print the networks of every target and budget, then the cross table, what the search was worth, and alarms."""
    columns = [
        "network", "test\naccuracy %", "table ms\nan image", "measured ms\nan image", "of its\nbudget %", "MAdds",
        "parameters",
    ]  # fmt: skip
    rows = [_row(row) for row in result["points"]]
    table(f"{result['title']} ({duration(result['seconds'])})", columns, rows)
    cross = result.get("specialisation")
    if cross:
        print()
        heads = [f"ms on\n{label}" + ("" if here else "\n(published)") for label, here in _heads(cross)]
        lines = [
            [f"for {row['target']}", spread(interval(row["accuracy"]), scale=100), *_cells(row, cross["targets"])]
            for row in cross["rows"]
        ]
        table("Each device's network on every device", ["network", "test\naccuracy %", *heads], lines)
    print(result["awareness"]["sentence"])
    for each in result["tables"]:
        if each["fidelity"]:
            f = each["fidelity"]
            tau = "–" if f["tau"] is None else f"{f['tau']:.2f}"
            print(
                f"Latency table of {each['target']} on {f['n']} networks it never saw: mean error {f['mape']:.1f} %, "
                f"Kendall's τ {tau}, {f['coverage']:.0f} % inside their {f['nominal']:.0f} % interval."
            )
    for alarm in result["alarms"]:
        print(f"! {alarm['kind']}: {alarm['text']}")


def _row(row: Mapping[str, Any]) -> list[str | None]:
    each = point(row)
    over, madds = interval(row.get("over_budget")), each["madds"]
    return [
        f"{kind(each.kind).label} {short_name(each)}",
        spread(each["accuracy"], scale=100),
        _ms(each["table_ms"]),
        _ms(each["measured_ms"]),
        None if over is None else f"{100 * (1 + over.mean):.0f}",
        count(madds.mean) if madds else None,
        count(each.parameters) if each.parameters else None,
    ]


def _heads(cross: Mapping[str, Any]) -> list[tuple[str, bool]]:
    return list(zip(cross["targets"], cross["measured"], strict=True))


def _cells(row: Mapping[str, Any], targets: list[str]) -> list[str | None]:
    return [_ms(interval(row["ms"].get(target))) for target in targets]


def _ms(value: Interval | None) -> str | None:
    return plain(value.mean) if value else None


search_proxylessnas = command(
    proxylessnas,
    "Search directly on your images and devices for a network within each latency budget. "
    "Trains a meta-graph along sampled paths, learns gates with latency in the loss, derives a network for every "
    "budget, trains it from scratch beside controls, and measures it again.",
    show=show_search,
)
