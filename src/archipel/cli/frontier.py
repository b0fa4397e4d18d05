"""A finished run on the terminal: its frontier beside the baselines, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.report.frontier import short_name
from archipel.report.run_folder import Point, point
from archipel.report.theme import kind
from archipel.report.wording import count, duration, percent, plain, spread

__all__ = ["show_result"]

_ALARMS = 8


def show_result(result: Mapping[str, Any]) -> None:
    """Print the points as a table, then what instance-awareness was worth, the table's fidelity and the alarms."""
    from rich.console import Console
    from rich.text import Text

    from archipel.run.console import table

    points = [point(row) for row in result.get("points") or []]
    columns = ["point", "test\naccuracy %", "table\nms", "measured\nms", "ms at\nbatch 128", "MAdds", "distinct"]
    title = f"{result.get('title', 'Result')} ({duration(result.get('seconds') or 0.0)})"
    table(title, columns, [_row(each) for each in points])
    console = Console(highlight=False)
    lines = [
        result.get("saved"),
        (result.get("awareness") or {}).get("sentence"),
        _fidelity(result.get("fidelity") or {}),
    ]
    for line in filter(None, lines):
        console.print(Text(str(line)), soft_wrap=not console.is_terminal)
    alarms = result.get("alarms") or []
    for alarm in alarms[:_ALARMS]:
        where = ", ".join(f"{key} {alarm[key]}" for key in ("stage", "seed", "epoch") if alarm.get(key) is not None)
        text = Text(f"! {alarm.get('kind')}: {alarm.get('text')} ({where})", style="bold yellow")
        console.print(text, soft_wrap=not console.is_terminal)
    if len(alarms) > _ALARMS:
        console.print(Text(f"! and {len(alarms) - _ALARMS} more alarms, all in the report", style="bold yellow"))


def _row(each: Point) -> list[str | None]:
    label, name = kind(each.kind).label, short_name(each)
    madds, distinct = each["madds"], each["distinct_share"]
    return [
        label if label == name else f"{label} {name}",
        spread(each["accuracy"], scale=100),
        _ms(each, "table_ms"),
        _ms(each, "measured_ms"),
        _ms(each, "batch_ms"),
        count(madds.mean) if madds else None,
        percent(distinct.mean) if distinct else None,
    ]


def _ms(each: Point, figure: str) -> str | None:
    value = each[figure]
    return plain(value.mean) if value else None


def _fidelity(fidelity: Mapping[str, Any]) -> str | None:
    if fidelity.get("mape") is None:
        return None
    parts = [f"mean absolute error {fidelity['mape']:.1f} %"]
    if fidelity.get("tau") is not None:
        parts.append(f"Kendall's τ {fidelity['tau']:.2f}")
    if fidelity.get("coverage") is not None:
        parts.append(f"{fidelity.get('nominal', 90):.0f} % intervals hold {fidelity['coverage']:.0f} %")
    return f"Latency table on {fidelity.get('n', '?')} networks it never saw: {', '.join(parts)}."
