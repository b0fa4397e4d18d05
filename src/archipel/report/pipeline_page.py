"""What the page of a pipeline shows: its three runs, each with a page of its own, and what each left to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.report import cells
from archipel.report.evolve_page import drawn_blocks
from archipel.report.run_folder import RunFolder, interval, is_number, point
from archipel.report.tables import Table
from archipel.report.wording import count, duration, magnitude, plain, plural, spread

__all__ = ["context"]

_WHAT = {
    "space": ("A space is evolved", "archipel evolve"),
    "network": ("It is searched for the device", "archipel search proxylessnas"),
    "instances": ("What was found decides image by image", "archipel run"),
}


def context(run: RunFolder) -> dict[str, Any]:
    """What `pipeline.html.j2` needs."""
    parts = {str(part.get("name")): part for part in run.rows("parts")}
    return {
        "template": "pipeline.html.j2",
        "fidelity": None,
        "nav": [("parts", "Three runs"), ("networks", "Networks"), ("cells", "Cells")],
        "without_verdict": "This run trained nothing to say what instance-awareness was worth.",
        "watched": (),
        "watched_when": "",
        "parts": [
            (*_WHAT[name], f"{name}/report.html", duration(parts[name].get("seconds") or 0.0), _told(name, parts[name]))
            for name in _WHAT
            if name in parts
        ],
        "networks": _networks(parts.get("network", {})),
        "cell_legend": cells.LEGEND,
        "blocks": drawn_blocks(parts.get("space", {})),
    }


def _told(name: str, part: Mapping[str, Any]) -> str:
    if name == "space":
        costs = {kind: interval(value) for kind, value in (part.get("madds") or {}).items()}
        known = {kind: count(value.mean) for kind, value in costs.items() if value}
        told = f"{plural(len(part.get('blocks') or []), 'block')}, each with cells of its own"
        if {"evolved", "reference"} <= known.keys():
            told += (
                f"; a network of them costs {known['evolved']} multiply-adds in the mean, that of reference cells "
                f"{known['reference']}"
            )
        return f"{told}. The space: {part.get('file')}."
    if name == "network":
        return (
            f"{plural(len(part.get('points') or []), 'network')} within latency budgets, trained from scratch. The "
            f"options they took and those their gates preferred are the next space: {part.get('file')}."
        )
    choices = part.get("choices") or []
    size = magnitude(str(part.get("size", "?")))
    return f"A controller that picks one of {size} networks for each image, in {plural(len(choices), 'choice')}."


def _networks(part: Mapping[str, Any]) -> Table | None:
    points = [point(row) for row in part.get("points") or [] if isinstance(row, Mapping)]
    if not points:
        return None
    rows = [
        [
            "–" if each.budget is None else f"≤ {plain(each.budget)} {each.unit}",
            spread(each["accuracy"], scale=100),
            spread(each["table_ms"], digits=3),
            spread(each["measured_ms"], digits=3),
            count(madds.mean) if (madds := each["madds"]) else "–",
            count(each.parameters) if is_number(each.parameters) else "–",
        ]
        for each in points
    ]
    head = ["budget", "test accuracy, %", "table, ms", "measured, ms", "MAdds", "parameters"]
    return Table("Networks of the evolved space, one a latency budget", head, rows, [None] * len(rows))
