"""From the rows of all seeds to `result.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archipel.cost import LatencyTable
from archipel.recipes.result import figure, heading, point
from archipel.recipes.skipping.study import Study

__all__ = ["awareness_of", "result_of"]

Rows = Sequence[Mapping[str, Any]]
"""One a network: `kind`, `name`, `seed`, and what was found."""


def points_of(method: str, rows: Rows) -> list[dict[str, Any]]:
    """The method's own first, then its controls."""
    kinds = (method, "full_network", "static_child", "random_policy")
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        figures = {key: value for key, value in row.items() if key not in ("kind", "name", "seed")}
        grouped.setdefault((row["kind"], row["name"]), []).append(figures)
    order = {name: place for place, name in enumerate(dict.fromkeys(row["name"] for row in rows))}
    ordered = sorted(grouped, key=lambda key: (kinds.index(key[0]), order[key[1]]))
    return [point(name, kind, grouped[kind, name], _note(grouped[kind, name])) for kind, name in ordered]


def _note(rows: Rows) -> str | None:
    ways = [figure([row.get(f"{way}_accuracy") for row in rows]) for way in ("argmax", "sampled")]
    if not all(ways):
        return None
    probable, sampled = (100 * way["mean"] for way in ways if way)
    times = [figure([row.get(f"{way}_ms") for row in rows]) for way in ("argmax", "sampled")]
    fast, slow = (time["mean"] for time in times if time)
    return (
        f"gates that take what is more probable: {probable:.1f} % at {fast:.3g} ms; sampled with noise, as released: "
        f"{sampled:.1f} % at {slow:.3g} ms (both by the table)"
    )


def awareness_of(method: str, rows: Rows, seeds: int) -> dict[str, Any]:
    """What it was worth to choose blocks by the image: against re-dealt choices, and against the controls of equal
    cost, paired by seed."""
    by = {(row["kind"], row["name"], row["seed"]): row["accuracy"] for row in rows}
    own = [row for row in rows if row["kind"] == method]
    gains: dict[str, dict[str, dict[int, float]]] = {"shuffled": {}, "static": {}, "random": {}}
    for row in own:
        name, seed = row["name"], row["seed"]
        against = {
            "shuffled": row["shuffled_accuracy"],
            "static": by["static_child", name, seed],
            "random": by["random_policy", name, seed],
        }
        for what, accuracy in against.items():
            gains[what].setdefault(name, {})[seed] = row["accuracy"] - accuracy
    found = []
    for name in dict.fromkeys(row["name"] for row in own):
        mine = [row for row in own if row["name"] == name]
        found.append(
            {
                "name": name,
                "accuracy": figure([row["accuracy"] for row in mine]),
                "shuffled": figure([row["shuffled_accuracy"] for row in mine]),
                "difference": figure(list(gains["shuffled"][name].values())),
                "static_child": figure([by["static_child", name, row["seed"]] for row in mine]),
                "static_difference": figure(list(gains["static"][name].values())),
                "random_difference": figure(list(gains["random"][name].values())),
            }
        )
    mean = {what: figure(_pooled(of_name)) for what, of_name in gains.items()}
    text = (
        f"Choosing blocks by the image instead of by another image was worth {_told(mean['shuffled'], seeds)} of test "
        f"accuracy at equal latency; against one static network as fast, {_told(mean['static'], seeds)}; against "
        f"blocks left out at random, {_told(mean['random'], seeds)}."
    )
    return {"sentence": text, "rows": found, "mean": mean}


def _pooled(of_name: Mapping[str, Mapping[int, float]]) -> list[float]:
    """The mean over variants, of each seed."""
    seeds: dict[int, list[float]] = {}
    for values in of_name.values():
        for seed, value in values.items():
            seeds.setdefault(seed, []).append(value)
    return [sum(values) / len(values) for values in seeds.values()]


def _told(gain: Mapping[str, Any] | None, seeds: int) -> str:
    assert gain is not None
    mean, low, high = (f"{round(100 * gain[key], 1) + 0.0:+.1f}" for key in ("mean", "low", "high"))  # no -0.0
    if seeds < 2:
        return f"{mean} points (one seed tells nothing certain)"
    verdict = (
        "a real effect" if gain["low"] > 0 else "a real loss" if gain["high"] < 0 else "indistinguishable from none"
    )
    return f"{mean} points (95 % interval {low} to {high}, {verdict})"


def result_of(
    study: Study,
    table: LatencyTable,
    title: str,
    rows: Rows,
    curves: Mapping[str, Any],
    preset: str,
    *,
    seeds: int,
    seconds: float,
) -> dict[str, Any]:
    """Everything the report shows, in plain values (`result.json`).

    Args:
        curves: `pretraining`, where there was any, and `search`: one of lists for each training.
        seconds: wall-clock of the last uninterrupted piece.
    """
    return {
        **heading(study, title, preset, seconds),
        "method": study.method,
        "device": {
            "name": study.device.name,
            "threads": study.device.threads,
            "batch": table.batch,
            "throughput_batch": study.settings.latency.throughput_batch,
            "fingerprint": dict(table.fingerprint),
        },
        "points": points_of(study.method, rows),
        "awareness": awareness_of(study.method, rows, seeds),
        "curves": dict(curves),
        "alarms": alarms_of(study, rows),
        "fidelity": {
            **table.fidelity.to_json(),
            "controller_ms": table.controller_ms,
            "base_ms": table.calibration.intercept,
        },
    }


def alarms_of(study: Study, rows: Rows) -> list[dict[str, Any]]:
    """Variants that pick the same blocks for every image."""
    return [
        {
            "kind": "collapse",
            "stage": row["name"],
            "seed": row["seed"],
            "text": f"the test images share {row['effective_number']:.2f} architectures effectively: the result is a "
            "static network",
        }
        for row in rows
        if row["kind"] == study.method and row["effective_number"] < 1.05
    ]


def curve(rows: Sequence[Mapping[str, float]], seed: int, name: str) -> dict[str, Any]:
    """Rows of epochs as lists, those figures that every epoch has."""
    keys = [key for key in rows[0] if all(key in row for row in rows)] if rows else []
    return {"seed": seed, "name": name, **{key: [row[key] for row in rows] for key in keys}}
