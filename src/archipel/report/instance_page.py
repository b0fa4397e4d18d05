"""What the page of an instance-aware run shows besides what all pages share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.report import architecture_view, distribution, exits_view, fidelity, instance_curves, theme
from archipel.report.histogram import histogram
from archipel.report.run_folder import RunFolder, interval
from archipel.report.tables import Table, difference
from archipel.report.wording import spread

__all__ = ["WATCHED", "awareness_table", "context", "savings_table"]

CLOCKS = ("measured_ms", "batch_ms")
WATCHED = (
    ("collapse", "the controller sending all images to one architecture (few distinct codes, few varying bits)"),
    ("dead window", "hardly any sampled architecture earning a positive reward, so that nothing is learnt"),
    ("batch-norm drift", "the statistics of sampled architectures no longer fitting the thresholded ones"),
)


def context(run: RunFolder) -> dict[str, Any]:
    """What `instance.html.j2` needs."""
    shown = distribution.shown_variant(run)
    mapped: theme.Panel | str = "The run kept no architectures of single images, so there is no map."
    strips: tuple[list[distribution.Strip], str] = (
        [],
        "The run kept no architectures of single images, so there are no strips.",
    )
    if shown is not None:
        mapped, strips = distribution.map_panel(run, shown), distribution.strips(run, shown)
    left = exits_view.exits_table(run)
    searched = run.searched
    return {
        "template": "instance.html.j2",
        "verdict": " ".join(filter(None, (run.result.get("saved"), run.part("awareness").get("sentence")))) or None,
        "exits_table": left,
        "exits": exits_view.exits(run),
        "nav": [
            ("awareness", "Instance-awareness"),
            *([("exits", "Early exits")] if left is not None else []),
            *([("distribution", "Distribution"), ("view", "Single images"), ("curves", "Curves")] if searched else []),
        ],
        "searched": searched,
        "without_verdict": "This run did not test whether its networks differ to the point: no sentence on "
        "instance-awareness.",
        "watched": WATCHED if searched else (),
        "watched_when": "in every epoch of the search",
        "fidelity": fidelity.run_table(run),
        "awareness_table": awareness_table(run),
        "savings_table": savings_table(run),
        "gained_table": savings_table(run, gained=True),
        "map": mapped,
        "strips": strips[0],
        "strips_sentence": strips[1],
        "tiny": run.instances is not None and architecture_view.is_tiny(run.instances.images),
        "histogram": histogram(run),
        "gallery": architecture_view.gallery(run, shown),
        "pretraining": instance_curves.pretraining(run),
        "groups": instance_curves.search(run),
    }


def awareness_table(run: RunFolder) -> Table | None:
    """Own against shuffled architectures, and against one static child of the same latency; None without rows."""
    rows = run.part("awareness").get("rows")
    lines: list[list[str]] = []
    kinds: list[theme.Kind | None] = []
    for row in rows if isinstance(rows, list) else []:
        own, shuffled, static = (interval(row.get(key)) for key in ("accuracy", "shuffled", "static_child"))
        kind = theme.kind(str(row.get("kind", run.method)))
        kinds.append(kind)
        lines.append(
            [
                str(row.get("name", "")),
                spread(own, scale=100),
                spread(shuffled, scale=100),
                difference(interval(row.get("difference"))),
                spread(static, scale=100),
                difference(interval(row.get("static_difference"))),
            ]
        )
    if not lines:
        return None
    means = run.part("awareness").get("mean")
    own_kind = theme.kind(run.method)
    if isinstance(means, dict) and kinds.count(own_kind) > 1:
        pooled = [difference(interval(means.get(key))) for key in ("shuffled", "static")]
        lines.append(["all", "", "", pooled[0], "", pooled[1]])
        kinds.append(own_kind)
    head = ["network", "own architecture, %", "shuffled, %", "own − shuffled", "static child, %", "own − static"]
    caption = "Test accuracy; differences in percentage points, "
    caption += "95 % intervals over seeds in brackets" if run.seeds > 1 else "one seed"
    return Table(caption, head, lines, kinds)


def savings_table(run: RunFolder, *, gained: bool = False) -> Table | None:
    """Against every family of static networks, wall-clock saved at equal accuracy, or accuracy gained in equal time;
    None without rows."""
    rows = [row for row in run.result.get("savings") or [] if isinstance(row, dict)]
    what = "_gained" if gained else ""
    if not any(row.get(f"{clock}{what}") for row in rows for clock in CLOCKS):
        return None
    families = list(dict.fromkeys(str(row.get("against")) for row in rows))
    found = {(str(row.get("kind")), str(row.get("name")), str(row.get("against"))): row for row in rows}
    lines: list[list[str]] = []
    kinds: list[theme.Kind | None] = []
    for kind, name in dict.fromkeys((kind, name) for kind, name, _ in found):
        whole = "in the slowest one's time" if gained else "as accurate as the slowest"
        cells = [whole if name == "slowest" else name]
        for family in families:
            row = found.get((kind, name, family), {})
            cells += [_saved(row, f"{clock}{what}") for clock in CLOCKS]
        lines.append(cells)
        kinds.append(theme.kind(kind))
    unit = "points" if gained else "%"
    head = ["network"]
    for family in families:
        head += [f"against {theme.kind(family).label}, {unit}", f"in a batch, {unit}"]
    caption = "Test accuracy gained in equal wall-clock" if gained else "Wall-clock saved at equal test accuracy"
    caption += ", everything that decides included, one image at a time and in a batch"
    caption += "; mean ± half of the 95 % interval over seeds" if run.seeds > 1 else ""
    return Table(caption, head, lines, kinds)


def _saved(row: Mapping[str, Any], clock: str) -> str:
    saved = interval(row.get(clock))
    if saved is None:
        return "–"
    reached, seeds = row.get(f"{clock}_seeds"), row.get("seeds")
    return spread(saved, scale=100, sign=True) + ("" if reached == seeds else f" ({reached} of {seeds})")
