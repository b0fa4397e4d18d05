"""The table of all points, and the shape that every plain table of the page has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archipel.report import theme
from archipel.report.frontier import devices, short_name
from archipel.report.run_folder import Interval, Point, RunFolder
from archipel.report.wording import count, listed, percent, plain, spread, spread_ms

__all__ = ["Table", "difference", "notes", "points_table"]


@dataclass(frozen=True)
class Table:
    """Head cells and rows of text; the first cell of a row names it. `kinds[i]` colours row i's name."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    kinds: list[theme.Kind | None]


def _figure(key: str, show: Callable[[Interval], str]) -> Callable[[Point], str | None]:
    return lambda p: None if (value := p[key]) is None else show(value)


_COLUMNS: tuple[tuple[str, Callable[[Point], str | None]], ...] = (
    ("budget, ms", lambda p: None if p.budget is None or p.unit != "ms" else plain(p.budget)),
    ("budget, M MAdds", lambda p: None if p.budget is None or p.unit == "ms" else plain(p.budget)),
    ("test accuracy, %", _figure("accuracy", lambda f: spread(f, scale=100))),
    ("table, ms", _figure("table_ms", spread_ms)),
    ("measured, ms", _figure("measured_ms", spread_ms)),
    ("over its budget, %", _figure("over_budget", lambda f: spread(f, scale=100, sign=True))),
    ("in a batch, ms", _figure("batch_ms", spread_ms)),
    ("MAdds", _figure("madds", lambda f: count(f.mean))),
    ("parameters", lambda p: None if p.parameters is None else count(p.parameters)),
    ("sent on to the second network", _figure("sent_on", lambda f: percent(f.mean))),
    ("distinct architectures", _figure("distinct_share", lambda f: percent(f.mean))),
    ("effective number", _figure("effective_number", lambda f: spread(f))),
    ("varying bits", _figure("varying_bits", lambda f: spread(f))),
    ("slowest / fastest image", _figure("latency_spread", lambda f: spread(f, digits=2))),
    ("ρ of latency and difficulty", _figure("difficulty", lambda f: spread(f, digits=2, sign=True))),
)


def points_table(run: RunFolder) -> Table | None:
    """Every point with every figure that at least one point has: device by device, budget by budget, kind by kind."""
    if not run.points:
        return None
    used = [(title, show) for title, show in _COLUMNS if any(show(p) is not None for p in run.points)]
    order = [*theme.KINDS, *dict.fromkeys(p.kind for p in run.points)]
    places = {label: place for place, label in enumerate(devices(run.result, run.points))}
    points = sorted(run.points, key=lambda p: (places.get(p.target or "", 0), p.budget or 0.0, order.index(p.kind)))
    rows = [[p.target or short_name(p), *(show(p) or "–" for _, show in used)] for p in points]
    caption = "All points, mean ± half of the 95 % interval over seeds" if run.seeds > 1 else "All points, one seed"
    return Table(caption, ["network", *(title for title, _ in used)], rows, [theme.kind(p.kind) for p in points])


def notes(run: RunFolder) -> list[tuple[str, str]]:
    """(the points it is about, note), each note once."""
    grouped: dict[str, list[str]] = {}
    for p in run.points:
        if p.note:
            name, kind = short_name(p), theme.kind(p.kind).label
            grouped.setdefault(p.note, []).append(kind if kind == name else f"{kind} {name}")
    return [(listed(names), note) for note, names in grouped.items()]


def difference(value: Interval | None) -> str:
    """`+1.2 [+0.3, +2.1]` in percentage points."""
    if value is None:
        return "–"
    ends = (value.mean, value.low, value.high) if value.known else (value.mean,)
    # A mean of -0.02 is shown as 0.0: a sign would claim more than the digits do.
    mean, *rest = (f"{100 * end:+.1f}" if abs(100 * end) >= 0.05 else "0.0" for end in ends)
    return (f"{mean} [{rest[0]}, {rest[1]}]" if rest else mean).replace("-", "−")
