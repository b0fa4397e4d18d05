"""From the trials of all seeds to `result.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archipel.architecture import Architecture
from archipel.cost import LatencyTable
from archipel.evaluators import standard_error
from archipel.evaluators.training import ACCURACY
from archipel.recipes.result import figure, heading, point
from archipel.recipes.trials.stages import OBJECTIVES, Study, network_path, random_architecture

__all__ = ["FOUND", "RANDOM", "names_of", "result_of"]

FOUND, RANDOM = "trials", "random_architecture"
"""Kinds of points."""


def names_of(study: Study, searches: Sequence[Mapping[str, Any]]) -> dict[str, Architecture]:
    """What is trained again, by the name of its folder: what each seed found (`A-0`; of a front from the most accurate
    on), and a random architecture a seed."""
    names = {
        f"{chr(65 + place)}-{seed}": Architecture.from_json(found["trials"][i]["architecture"])
        for seed, found in enumerate(searches)
        for place, i in enumerate(found["found"])
    }
    return names | {f"random-{seed}": random_architecture(study, seed) for seed in range(study.seeds)}


def result_of(
    study: Study,
    searches: Sequence[Mapping[str, Any]],
    trained: Mapping[str, Mapping[str, Any]],
    table: LatencyTable | None,
    preset: str,
    *,
    seconds: float,
) -> dict[str, Any]:
    """The content of `result.json`.

    Args:
        trained: what `retrain` returns.
        seconds: wall-clock of the last uninterrupted piece.
    """
    networks = [_network(study, searches, name, metrics, table) for name, metrics in trained.items()]
    told = [_search(study, seed, found) for seed, found in enumerate(searches)]
    device = study.device
    return heading(study, f"Trials by {study.strategy}", preset, seconds) | {
        "method": FOUND,
        "device": {"name": device.name, "threads": device.threads, "fingerprint": device.fingerprint()},
        "strategy": study.strategy,
        "objectives": [name for name, objective in OBJECTIVES.items() if objective in study.objectives],
        "stopping": study.settings.stopping.rule,
        "epochs": study.settings.training.epochs,
        "seeds": study.seeds,
        "points": _points(study, networks),
        "searches": told,
        "networks": networks,
        "saved": figure([one["saved"] for one in told]),
        "fidelity": None if table is None else table.fidelity.to_json(),
        "awareness": {"sentence": _sentence(study, networks)},
        "alarms": [alarm for one in told for alarm in _alarms(study, one)],
    }


def _network(
    study: Study,
    searches: Sequence[Mapping[str, Any]],
    name: str,
    metrics: Mapping[str, Any],
    table: LatencyTable | None,
) -> dict[str, Any]:
    letter, _, seed = name.rpartition("-")
    kind = RANDOM if letter == "random" else FOUND
    found = searches[int(seed)]
    trial = found["trials"][found["found"][ord(letter) - 65]] if kind == FOUND else None
    architecture = random_architecture(study, int(seed)).to_json() if trial is None else trial["architecture"]
    return {
        "name": name,
        "kind": kind,
        "seed": int(seed),
        "architecture": architecture,
        "searched_accuracy": None if trial is None else trial[ACCURACY],
        "val_accuracy": metrics["val"]["score"],
        "accuracy": metrics["test"]["score"],
        "table_ms": None if table is None else table.predict(Architecture.from_json(architecture)),
        "madds": metrics["madds"],
        "parameters": metrics["parameters"],
        "folder": str(network_path(study, name).relative_to(study.folder.path)),
    }


def _points(study: Study, networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of one objective what all seeds found together, over seeds; of several every network of its own, since the places
    of two fronts are not the same trade-off."""

    def row(network: Mapping[str, Any]) -> dict[str, Any]:
        return {key: network[key] for key in ("accuracy", "val_accuracy", "table_ms", "madds", "parameters")}

    if len(study.objectives) > 1:
        return [
            point(n["name"] if study.seeds > 1 else n["name"].rpartition("-")[0], n["kind"], [row(n)]) for n in networks
        ]
    kinds = {FOUND: "best", RANDOM: "random architecture"}
    return [point(name, kind, [row(n) for n in networks if n["kind"] == kind]) for kind, name in kinds.items()]


def _search(study: Study, seed: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """One search: its trials, what they cost, and the best so far after each."""
    rows, epochs = found["trials"], study.settings.training.epochs
    tried = [row for row in rows if row["error"] is None]
    whole = [row for row in tried if row["epochs"] == epochs]
    best = max(float(row[ACCURACY]) for row in whole)
    so_far, spent, curve = -math.inf, 0.0, []
    for number, row in enumerate(rows, 1):
        spent += row.get("epochs") or 0.0
        if row.get("epochs") == epochs:
            so_far = max(so_far, row[ACCURACY])
        curve.append({"trials": number, "epochs": spent, "best": so_far if math.isfinite(so_far) else None})
    return {
        "seed": seed,
        "found": found["found"],
        "best": best,
        "whole": len(whole),
        "given_up": len(tried) - len(whole),
        "failed": len(rows) - len(tried),
        "epochs": spent,
        "saved": 1 - spent / (epochs * len(tried)),
        "seconds": sum(row["seconds"] for row in rows),
        "near_best": sum(row[ACCURACY] >= best - _chance(study, best) for row in whole) - 1,
        "anytime": curve,
        "trials": rows,
    }


def _chance(study: Study, accuracy: float) -> float:
    """Standard error of an accuracy on the validation images, in points."""
    return standard_error(accuracy, study.task.splits["val"])


def _sentence(study: Study, networks: Sequence[Mapping[str, Any]]) -> str:
    """What the search was worth."""
    best = [n for n in networks if n["name"].startswith("A-")]
    control = [n for n in networks if n["kind"] == RANDOM]
    gain = figure([100 * (a["accuracy"] - b["accuracy"]) for a, b in zip(best, control, strict=True)])
    assert gain is not None
    means = {key: 100 * sum(n[key] for n in best) / len(best) for key in ("val_accuracy", "accuracy")}
    images, epochs = study.task.splits, study.settings.retraining.epochs
    text = (
        f"The best network on {images['val']} validation images, trained again for {epochs} epochs, has "
        f"{means['val_accuracy']:.1f} % there and {means['accuracy']:.1f} % on {images['test']} test images, "
        f"{gain['mean']:+.1f} points against a random architecture trained alike"
    )
    if study.seeds < 2:
        return f"{text} (one seed of each)."
    known = "a real gain" if gain["low"] > 0.05 else "a real loss" if gain["high"] < -0.05 else None
    verdict = known or "not distinguishable from none"
    return f"{text} (means of {study.seeds} seeds, 95 % interval {gain['low']:+.1f} to {gain['high']:+.1f}: {verdict})."


def _alarms(study: Study, one: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []

    def alarm(kind: str, text: str) -> None:
        found.append({"kind": kind, "stage": "search", "seed": one["seed"], "text": text})

    if 10 * one["failed"] > len(one["trials"]):
        last = next(row["error"] for row in reversed(one["trials"]) if row["error"] is not None)
        alarm("failed trials", f"{one['failed']} of {len(one['trials'])} trials failed; the last: {last}")
    if len(one["trials"]) < study.trials:
        alarm("too few trials", f"{study.strategy} had nothing new to try after {len(one['trials'])} trials")
    if len(study.objectives) == 1 and 2 * one["near_best"] > one["whole"]:
        alarm(
            "within chance",
            f"{one['near_best']} other networks are within {_chance(study, one['best']):.1f} points of the best, one "
            f"standard error of a share of {study.task.splits['val']} validation images: which is best is chance",
        )
    return found
