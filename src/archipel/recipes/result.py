"""What every recipe's `result.json` has: where it comes from, and numbers of several seeds with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from archipel.recipes.study import Study
from archipel.run.environment import environment
from archipel.run.folder import RunFolder
from archipel.tasks.classification import Classification

__all__ = ["about", "figure", "heading", "origin", "point"]


def heading(study: Study, title: str, preset: str, seconds: float) -> dict[str, Any]:
    """What was run on what, when and where, in plain values.

    Args:
        title: the method, as it is written.
        seconds: wall-clock of the last uninterrupted piece.
    """
    task, space, folder = study.task, study.space, study.folder
    return {
        **origin(folder, f"{title} on {task.spec.name}", seconds, threads=study.device.threads),
        "preset": preset,
        "stages": [
            {"name": name, "seconds": study.done(name)["stage_seconds"]}
            for name in folder.stages
            if not name.startswith("test-")  # parts of "test"
        ],
        "task": about(task),
        "space": {
            "name": space.name,
            "options": dict(space.options),
            "size": str(space.size),
            "choices": [
                {"name": c.name, "kind": c.kind, "options": [str(o) for o in c.options], "empty": c.empty}
                for c in space.choices
            ],
        },
    }


def origin(folder: RunFolder, title: str, seconds: float, *, threads: int | None) -> dict[str, Any]:
    """When and where a run was made, in plain values."""
    return {
        "schema": 1,
        "title": title,
        "command": folder.command,
        "started": folder.started,
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": seconds,
        "environment": {**environment(), "threads": threads},
    }


def about(task: Classification) -> dict[str, Any]:
    """What the data are, in plain values."""
    return {
        "name": task.spec.name,
        "classes": list(task.spec.classes),
        "input_shape": list(task.spec.input_shape),
        "splits": dict(task.splits),
        "chance": task.spec.chance,
        "skipped": [{"path": str(s.path), "why": s.why} for s in task.skipped],
    }


def figure(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Values of several seeds, their mean and 95 % t-interval; None where nothing was measured.

    One seed has no interval: `low` and `high` are the mean.
    """
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    mean = math.fsum(known) / len(known)
    margin = 0.0
    if len(known) > 1:
        from scipy.stats import t

        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1))
        margin = float(t.ppf(0.975, len(known) - 1)) * deviation / math.sqrt(len(known))
    return {"values": known, "mean": mean, "low": mean - margin, "high": mean + margin}


def point(name: str, kind: str, rows: Sequence[dict[str, Any]], note: str | None = None) -> dict[str, Any]:
    """One point of the frontier from one row a seed: every number becomes a `figure`, `parameters` stays a count."""
    keys = dict.fromkeys(key for row in rows for key in row if key != "parameters")
    figures = {key: figure([row.get(key) for row in rows]) for key in keys}
    return {"name": name, "kind": kind, **figures, "parameters": rows[0].get("parameters"), "note": note}
