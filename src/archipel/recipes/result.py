"""Numbers of several seeds as the report and the terminal show them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["figure", "point"]


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
