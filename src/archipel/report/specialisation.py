"""Each device's network on every device: what a search for one is worth on another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.report.heat import Cell, HeatTable
from archipel.report.run_folder import Interval, RunFolder, interval, is_number
from archipel.report.wording import plain, signed_percent, spread, spread_ms

__all__ = ["cross_table"]

FULL = 0.5
"""How much slower than the fastest a cell in the full colour is."""


def cross_table(run: RunFolder) -> HeatTable | None:
    """Rows are networks, columns devices; the fastest of each column is framed. None without such figures."""
    part = run.part("specialisation")
    labels = [str(label) for label in part.get("targets") or []]
    raw = part.get("rows")
    rows: list[Mapping[str, Any]] = [row for row in raw if isinstance(row, Mapping)] if isinstance(raw, list) else []
    times = [[_time(row, label) for label in labels] for row in rows]
    if not any(value for line in times for value in line):
        return None
    here = part.get("measured")
    measured = here if isinstance(here, list) and len(here) == len(labels) else [True] * len(labels)
    columns = [_column(label, rows, [line[j] for line in times]) for j, label in enumerate(labels)]
    made = []
    for i, row in enumerate(rows):
        budget = row.get("budget_ms")
        accuracy = Cell(spread(interval(row.get("accuracy")), scale=100))
        made.append(
            (
                f"for {row.get('target')}",
                f"≤\u202f{plain(float(budget))}\u202fms" if is_number(budget) else "",
                [accuracy, *(column[i] for column in columns)],
            )
        )
    heads = [f"{label}, ms{'' if own else ' (published table)'}" for label, own in zip(labels, measured, strict=True)]
    caption = "Milliseconds per image of each device’s network (rows) on every device (columns)"
    if any(value.known for line in times for value in line if value):
        caption += ", mean ± half of the 95 % interval over seeds"
    return HeatTable(caption, ["network", "test accuracy, %", *heads], made, _sentence(rows, labels, times, measured))


def _time(row: Mapping[str, Any], label: str) -> Interval | None:
    ms = row.get("ms")
    return interval(ms.get(label)) if isinstance(ms, Mapping) else None


def _column(label: str, rows: list[Mapping[str, Any]], times: list[Interval | None]) -> list[Cell]:
    known = [value.mean for value in times if value]
    cells = []
    for row, value in zip(rows, times, strict=True):
        notes = ["own"] if str(row.get("target")) == label else []
        if value is None or len(known) < 2:
            cells.append(Cell(spread_ms(value), note=", ".join(notes)))
            continue
        slower = value.mean / min(known) - 1 if min(known) > 0 else 0.0
        fastest = value.mean == min(known)
        notes.append("fastest" if fastest else signed_percent(slower))
        cells.append(Cell(spread_ms(value), min(slower / FULL, 1.0), ", ".join(notes), marked=fastest))
    return cells


def _sentence(
    rows: list[Mapping[str, Any]], labels: list[str], times: list[list[Interval | None]], measured: list[Any]
) -> str:
    own = []
    for j, label in enumerate(labels):
        known = {str(row.get("target")): v.mean for row, line in zip(rows, times, strict=True) if (v := line[j])}
        if len(known) > 1 and label in known:
            own.append(known[label] == min(known.values()))
    told = []
    if own:
        told.append(
            f"Devices served fastest by the network that was searched for them: {sum(own)} of {len(own)} (means)."
        )
    told.append(
        f"Percentages, and the colour up to {signed_percent(FULL)}, are against the fastest of the column; "
        "rows differ in accuracy, too."
    )
    if not all(measured):
        told.append("Columns of a published table are its sums; nothing was measured there.")
    return " ".join(told)
