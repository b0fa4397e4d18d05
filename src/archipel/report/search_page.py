"""What the page of a search for devices shows besides what all pages share."""

from __future__ import annotations

from typing import Any

from archipel.report import fidelity, gates, pareto, search_curves
from archipel.report.run_folder import RunFolder
from archipel.report.search_run import targets
from archipel.report.specialisation import cross_table

__all__ = ["WATCHED", "context"]

WATCHED = (("over budget", "a network found that takes longer than its budget when it is measured again"),)


def context(run: RunFolder) -> dict[str, Any]:
    """What `search.html.j2` needs."""
    found = targets(run)
    several = len(found) > 1
    nav = [("devices", "Devices")] if several else []
    return {
        "template": "search.html.j2",
        "nav": [*nav, ("search", "Search"), ("pareto", "Budgets"), ("gates", "Gates")],
        "without_verdict": "This run trained nothing to compare with: no sentence on what the search was worth.",
        "watched": WATCHED,
        "watched_when": "when the finished networks were timed",
        "fidelity": fidelity.judged(found),
        "several": several,
        "cross": cross_table(run) if several else None,
        "groups": search_curves.search(found),
        "pareto": pareto.pareto(found),
        "pareto_legend": pareto.LEGEND,
        "gates": gates.gates(run, found),
    }
