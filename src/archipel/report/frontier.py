"""Accuracy against latency, in words: what is compared with what, whom nobody beats, and the page's first lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archipel.report import theme
from archipel.report.run_folder import Point, RunFolder
from archipel.report.wording import listed, plain, plural

__all__ = ["View", "devices", "headline", "short_name", "undominated", "verdict", "views"]

LATENCIES = (
    ("table_ms", "Table latency", "table latency, ms per image", "by the latency table"),
    ("measured_ms", "Measured, batch 1", "measured wall-clock, ms per image", "measured one image at a time"),
    ("batch_ms", "Measured, routed batch", "measured wall-clock in a batch, ms per image", "measured in a batch"),
)
_WORDS = {
    "table_ms": "table latency", "measured_ms": "measured time", "batch_ms": "measured time in a batch",
    "madds_m": "multiply-adds",
}  # fmt: skip


@dataclass(frozen=True)
class View:
    """One panel of the frontier: points with an accuracy and a cost that can be compared with each other."""

    figure: str
    """The cost."""
    title: str
    xlabel: str
    how: str
    """How the cost was found, in a sentence."""
    points: list[Point]
    target: str | None = None
    """The device; None where a run knows but one."""
    budgets: tuple[float, ...] = ()
    without: tuple[str, ...] = ()
    """Kinds of which this device has points, but no such cost."""
    unit: str = "ms"

    @property
    def words(self) -> str:
        """`measured time on cpu`, as it stands after "in"."""
        on = f" on {self.target}" if self.target and self.unit == "ms" else ""
        return _WORDS[self.figure] + on

    @property
    def cheap(self) -> str:
        return "fast" if self.unit == "ms" else "cheap"

    def name(self, point: Point) -> str:
        """What the point is called in this view: by its budget where the device is said already."""
        if self.target is None or point.budget is None:
            return short_name(point)
        return plain(point.budget)


def short_name(point: Point) -> str:
    """The point's name without the words its colour and marker say already: `A`, `0.5x`."""
    if point.target is not None:
        return point.name
    look = theme.kind(point.kind)
    known = {*point.kind.lower().split("_"), *look.label.lower().split(), "of", "mobilenetv2", "×"}
    words = [w for w in re.split(r"[\s_/·:,()-]+", point.name) if w and w.lower() not in known]
    return " ".join(words) or look.label


def undominated(points: Sequence[Point], figure: str) -> tuple[list[Point], int]:
    """The run's own networks that no baseline equals or beats in both mean accuracy and mean `figure`.

    Returns:
        Those points, and how many of its own have both numbers.
    """
    both = [(p, a, t) for p in points if (a := p["accuracy"]) and (t := p[figure])]
    own = theme.own(p.kind for p in points)
    ours = [row for row in both if row[0].kind == own]
    rivals = [row for row in both if row[0].kind != own]
    best = [p for p, a, t in ours if not any(b.mean >= a.mean and s.mean <= t.mean for _, b, s in rivals)]
    return best, len(ours)


def _comparable(points: Sequence[Point], figure: str) -> list[Point]:
    """Points with both an accuracy and a latency."""
    return [p for p in points if p["accuracy"] and p[figure]]


def devices(result: Mapping[str, Any], points: Sequence[Point]) -> list[str]:
    """Devices that points were searched for, in the order of the run's tables; empty where a run knows but one."""
    named = dict.fromkeys(p.target for p in points if p.target is not None)
    return list(dict.fromkeys([*(label for label in _tables(result) if label in named), *named]))


def _tables(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    rows = result.get("tables")
    return {str(row.get("target")): row for row in (rows if isinstance(rows, list) else []) if isinstance(row, Mapping)}


def views(result: Mapping[str, Any], points: Sequence[Point]) -> list[View]:
    """One view for each device that points were searched for, else for each latency that at least one point has.

    Args:
        result: what result.json holds.
        points: its points.
    """
    if labels := devices(result, points):
        published = {label for label, table in _tables(result).items() if table.get("published")}
        found = [_of_target(label, [p for p in points if p.target == label], label in published) for label in labels]
        return [view for view in found if view.points]
    device = result.get("device")
    batch = device.get("throughput_batch") if isinstance(device, Mapping) else None
    made = []
    for figure, title, xlabel, how in LATENCIES:
        if figure == "batch_ms" and isinstance(batch, int):
            title, xlabel = f"Measured, batch {batch}", f"measured at batch {batch}, ms per image"
        if able := _comparable(points, figure):
            made.append(View(figure, title, xlabel, how, able))
    return made


def _of_target(label: str, points: Sequence[Point], published: bool) -> View:
    """Measured where anything was measured, else by the table; where multiply-adds were searched for, these."""
    counted = any(p.unit != "ms" for p in points)
    figure = "madds_m" if counted else "measured_ms" if _comparable(points, "measured_ms") else "table_ms"
    able = _comparable(points, figure)
    title, xlabel, how = label, "measured wall-clock, ms per image", "measured"
    if figure == "table_ms":
        title = f"{label} (published table)" if published else label
        how = "by the published table" if published else "by the latency table"
        xlabel = f"{'published' if published else 'latency'} table, ms per image"
    elif counted:
        title, xlabel, how = "Multiply-adds", "million multiply-adds per image", "counted"
    budgets = sorted({p.budget for p in points if p.budget is not None})
    shown = {p.kind for p in able}
    without = tuple(dict.fromkeys(theme.kind(p.kind).label for p in points if p.kind not in shown))
    return View(figure, title, xlabel, how, able, label, tuple(budgets), without, "M MAdds" if counted else "ms")


# ---- sentences ---------------------------------------------------------------------------------------------------


def headline(run: RunFolder) -> list[str]:
    """What the run gave, in sentences made of its numbers alone."""
    known = {view.figure: view for view in views(run.result, run.points)}
    seen = [view for view in views(run.result, run.points) if view.target is not None]
    if not seen:
        seen = [known[figure] for figure in ("measured_ms", "table_ms") if figure in known][:1]
    sentences = [sentence for view in seen for sentence in _ranges(view)]
    if not sentences:
        return ["This run has no network of its own with both an accuracy and a latency."]
    return [*sentences, *_pooled(seen)]


def _ranges(view: View) -> list[str]:
    """From the least to the most accurate and from the fastest to the slowest, of each kind that has a noun."""
    found: list[str] = []
    for look in theme.KINDS.values():
        mine = [p for p in view.points if p.kind == look.name]
        if not mine or not look.noun or (view.target is not None and not look.ours):
            continue
        score = _range([100 * mean for mean in _means(mine, "accuracy")], "%", lambda v: f"{v:.1f}")
        time = _range(_means(mine, view.figure), view.unit, plain)
        sentence = f"{plural(len(mine), look.noun)}: {score} test accuracy at {time} per image"
        sentence = sentence if view.target is None or view.unit != "ms" else f"For {view.target}, {sentence}"
        if not found:
            sentence += f", {view.how}"
        if over := _means(mine, "over_budget"):
            sentence += f", at {_range([100 * (1 + share) for share in over], '%', lambda v: f'{v:.0f}')} of "
            sentence += "its budget" if len(mine) == 1 else "their budgets"
        found.append(f"{sentence}.")
    return found


def _means(points: Sequence[Point], figure: str) -> list[float]:
    return [value.mean for p in points if (value := p[figure])]


def _range(values: Sequence[float], unit: str, text: Callable[[float], str]) -> str:
    low, high = text(min(values)), text(max(values))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def verdict(view: View) -> str | None:
    """Whom no baseline beats; None where there is nothing to compare."""
    best, count = undominated(view.points, view.figure)
    if not count or len(view.points) == count:
        return None
    what = "variant" if view.target is None else "network"
    rival = "baseline with a latency there" if view.without else "baseline"
    if not best:
        return (
            f"In {view.words} every {what} is matched by a baseline at least as {view.cheap} and as accurate (means)."
        )
    who = f"{what}{'s' if len(best) > 1 else ''} {listed(view.name(p) for p in best)}"
    if view.target is not None:
        who = f"the network{'s' if len(best) > 1 else ''} for {listed(view.name(p) for p in best)} {view.unit}"
    return (
        f"In {view.words} no {rival} is both as {view.cheap} and as accurate as {who} "
        f"({len(best)} of {count}, comparing means)."
    )


def _pooled(seen: Sequence[View]) -> list[str]:
    """The verdict, over all devices where there are several."""
    told = [sentence for view in seen if (sentence := verdict(view))]
    if len(told) < 2:
        return told
    found = [undominated(view.points, view.figure) for view in seen if verdict(view)]
    best, count = sum(len(points) for points, _ in found), sum(number for _, number in found)
    if not best:
        return [
            f"On its device, each of these {count} networks is matched by a baseline as fast and as accurate (means)."
        ]
    rival = "baseline with a known latency" if any(view.without for view in seen) else "baseline"
    whom = f"{best} of these {count} networks, each on its device"
    return [f"No {rival} is both as fast and as accurate as {whom} (means)."]
