"""From the rows of all seeds to `result.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archipel.recipes.proxylessnas.judging import KINDS, Contestant, is_specialised
from archipel.recipes.proxylessnas.stages import Aim, Study, search_name
from archipel.recipes.result import figure, heading, point

__all__ = ["result_of"]


def points_of(
    everyone: Sequence[Contestant], tested: Mapping[str, Mapping[str, Any]], timed: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """One point for each kind, target and budget; its figures are over seeds."""
    grouped: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for one in everyone:
        label, budget = one.aim.target.label, one.aim.budgets[one.budget]
        measured = timed[one.key].get(label) if one.aim.table is not None else None
        used = tested[one.key]["madds"] if one.aim.target.unit == "MAdds" else measured
        row = {
            **tested[one.key],
            "val_accuracy": one.row["val_accuracy"],
            "width": one.row.get("width"),
            "table_ms": one.row.get("table_ms"),
            "measured_ms": measured,
            "over_budget": None if used is None else used / budget - 1,
        }
        grouped.setdefault((one.kind, label, budget), []).append(row)
    aims = {one.aim.target.label: one.aim for one in everyone}
    labels = list(aims)
    ordered = sorted(grouped, key=lambda key: (labels.index(key[1]), key[2], KINDS.index(key[0])))
    return [
        {
            **point(f"{label}, {aims[label].said(budget)}", kind, grouped[kind, label, budget]),
            "target": label,
            f"budget_{aims[label].target.suffix}": budget,
        }
        for kind, label, budget in ordered
    ]


def against(points: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any] | None:
    """What the found networks gain over one kind of control of the same target and budget, mean over those, by seed."""
    own = {(p["target"], _budget(p)): p for p in points if p["kind"] == "proxylessnas"}
    by_seed: dict[int, list[float]] = {}
    for p in points:
        if p["kind"] == kind and (p["target"], _budget(p)) in own:
            mine = own[p["target"], _budget(p)]["accuracy"]["values"]
            for seed, (ours, theirs) in enumerate(zip(mine, p["accuracy"]["values"])):
                by_seed.setdefault(seed, []).append(ours - theirs)
    return figure([sum(v) / len(v) for v in by_seed.values()])


def _budget(point: Mapping[str, Any]) -> float:
    return float(point["budget_madds"] if "budget_madds" in point else point["budget_ms"])


def sentence_of(points: Sequence[Mapping[str, Any]], seeds: int) -> str:
    """What the search itself was worth."""
    cost = "number of multiply-adds" if any("budget_madds" in p for p in points) else "latency"

    def gained(kind: str, of: str) -> str | None:
        gain = against(points, kind)
        if gain is None:
            return None
        text = f"{100 * gain['mean']:+.1f} points against {of}"
        if seeds < 2:
            return text
        least = 5e-4  # what the digits shown can tell from 0
        told = "a real gain" if gain["low"] > least else "a real loss" if gain["high"] < -least else None
        verdict = told or "not distinguishable from none"
        return f"{text} (95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}: {verdict})"

    parts = [
        gained("random_architecture", f"random architectures of the same {cost}"),
        gained("mobilenet_v2", f"MobileNetV2 within the same {cost}"),
    ]
    known = [part for part in parts if part]
    if not known:
        return "No control was trained, so there is nothing to say of what the search was worth."
    return f"Over all budgets, the networks found have a test accuracy of {' and of '.join(known)}."


def specialisation_of(
    everyone: Sequence[Contestant],
    tested: Mapping[str, Mapping[str, Any]],
    timed: Mapping[str, Mapping[str, float]],
    aims: Sequence[Aim],
) -> dict[str, Any] | None:
    """Each target's network (middle budget) on every target: figures over seeds, in milliseconds an image."""
    if len(aims) < 2:
        return None
    labels = [aim.target.label for aim in aims]
    rows = []
    for aim in aims:
        own = [one for one in everyone if one.aim is aim and is_specialised(one)]
        rows.append(
            {
                "target": aim.target.label,
                "budget_ms": aim.reference,
                "accuracy": figure([tested[one.key]["accuracy"] for one in own]),
                "ms": {label: figure([timed[one.key].get(label) for one in own]) for label in labels},
            }
        )
    return {"targets": labels, "measured": [aim.table is not None for aim in aims], "rows": rows}


def result_of(
    study: Study,
    aims: Sequence[Aim],
    everyone: Sequence[Contestant],
    tested: Mapping[str, Mapping[str, Any]],
    timed: Mapping[str, Mapping[str, float]],
    preset: str,
    *,
    seeds: int,
    seconds: float,
) -> dict[str, Any]:
    """Everything the report shows, in plain values (`result.json`).

    Args:
        seconds: wall-clock of the last uninterrupted piece.
    """
    points = points_of(everyone, tested, timed)
    searches = []
    for aim in aims:
        for seed in range(seeds):
            done = study.done(search_name(aim, seed))
            rows = done["rows"]
            names = list(dict.fromkeys(name for row in rows for name in row))
            searches.append(
                {
                    "target": aim.target.label,
                    "seed": seed,
                    **{name: [row.get(name) for row in rows] for name in names},
                    **{name: done[name] for name in ("derived", "argmax", "pareto", "pareto_size", "probabilities")},
                }
            )
    tables = [
        {
            "target": aim.target.label,
            "published": aim.table is None and aim.target.unit == "ms",
            "unit": aim.target.unit,
            "batch": aim.target.batch,
            "fingerprint": {} if aim.table is None else dict(aim.table.fingerprint),
            f"budgets_{aim.target.suffix}": list(aim.budgets),
            f"reference_{aim.target.suffix}": aim.reference,
            "fidelity": None if aim.table is None else aim.table.fidelity.to_json(),
        }
        for aim in aims
    ]
    first = next((table["fidelity"] for table in tables if table["fidelity"]), {})
    return {
        **heading(study, "ProxylessNAS", preset, seconds),
        "method": "proxylessnas",
        "device": {"name": ", ".join(aim.target.label for aim in aims), "threads": study.device.threads},
        "points": points,
        "awareness": {"sentence": sentence_of(points, seeds), "rows": []},
        "specialisation": specialisation_of(everyone, tested, timed, aims),
        "searches": searches,
        "tables": tables,
        "alarms": alarms_of(points),
        "fidelity": first or {},
    }


def alarms_of(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Found networks that, measured again, took longer than their budget; those that are counted cannot."""
    found = []
    for p in points:
        over = p.get("over_budget")
        if p["kind"] == "proxylessnas" and over is not None and over["mean"] > 0:
            text = f"{p['name']}: measured {100 * over['mean']:+.1f} % of its budget away, in the mean over seeds"
            found.append({"kind": "over budget", "stage": "timing", "text": text})
    return found
