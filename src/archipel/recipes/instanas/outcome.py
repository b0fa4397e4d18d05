"""From the rows of all seeds to `result.json`, `architectures.csv` and `instances.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archipel.cost import LatencyTable
from archipel.recipes.instanas.cascade import chosen_cascades
from archipel.recipes.instanas.savings import between, savings, sentence
from archipel.recipes.instanas.study import Study
from archipel.recipes.result import figure, heading, point

__all__ = ["result_of"]

KINDS = (
    "early_exit",
    "static_exit",
    "instanas",
    "static_child",
    "child_cascade",
    "static_union",
    "dearest_child",
    "random_policy",
    "mobilenet_v2",
    "mobilenet_cascade",
    "blockdrop",
    "convnet_aig",
)
SHUFFLED = ("early_exit", "instanas", "child_cascade", "mobilenet_cascade")


def points_of(rows: Mapping[str, Mapping[str, Any]], made: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Points in the order of `KINDS`; a point's seeds are those that have it (a search may give fewer variants).

    Args:
        made: what the cascades are made of.
    """
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows.values():
        figures = {key: value for key, value in row.items() if key not in ("kind", "name", "seed")}
        grouped.setdefault((row["kind"], row["name"]), []).append(figures)
    ordered = sorted(grouped, key=lambda key: (KINDS.index(key[0]), key[1]))
    return [point(name, kind, grouped[kind, name], _note(kind, made)) for kind, name in ordered]


def _note(kind: str, made: Sequence[Mapping[str, Any]]) -> str | None:
    """What the cascades of a kind are made of, seeds with the same named together."""
    seeds: dict[tuple[tuple[str, ...], bool, bool], list[int]] = {}
    for row in made:
        if row["kind"] == kind:
            how = (tuple(row["networks"]), row["committee"], row["gains"] is not None)
            seeds.setdefault(how, []).append(row["seed"])
    if not seeds:
        return None
    told = [
        f"{first} answers, {'what gains from it' if learnt else 'what it is unsure of'} goes on to {', '.join(others)}"
        + (", and all of them answer together" if committee else "")
        + (f" ({'seed' if len(own) == 1 else 'seeds'} {', '.join(map(str, own))})" if len(seeds) > 1 else "")
        for ((first, *others), committee, learnt), own in seeds.items()
    ]
    return "; ".join(told)


def awareness_of(rows: Mapping[str, Mapping[str, Any]], seeds: int) -> dict[str, Any]:
    """What instance-awareness itself was worth: own architectures against re-dealt ones, and against one static
    child as fast, paired by seed."""
    by = {(row["kind"], row["name"], row["seed"]): row for row in rows.values()}
    deciding = {(row["kind"], row["name"]) for row in rows.values() if row["kind"] in SHUFFLED}
    found = []
    pooled: dict[str, dict[int, list[float]]] = {"shuffled": {}, "static": {}}
    for kind, name in sorted(deciding, key=lambda one: (SHUFFLED.index(one[0]), one[1])):
        own = [row for (k, n, _), row in by.items() if (k, n) == (kind, name) and "shuffled_accuracy" in row]
        if not own:
            continue
        against = [by.get(("static_child", name, row["seed"])) for row in own] if kind == "instanas" else []
        drop = [row["accuracy"] - row["shuffled_accuracy"] for row in own]
        gain = [row["accuracy"] - child["accuracy"] for row, child in zip(own, against) if child]
        for row, d in zip(own, drop if kind == "instanas" else ()):
            pooled["shuffled"].setdefault(row["seed"], []).append(d)
        for row, g in zip(own, gain):
            pooled["static"].setdefault(row["seed"], []).append(g)
        found.append(
            {
                "kind": kind,
                "name": name,
                "accuracy": figure([row["accuracy"] for row in own]),
                "shuffled": figure([row["shuffled_accuracy"] for row in own]),
                "difference": figure(drop),
                "static_child": figure([child["accuracy"] for child in against if child]),
                "static_difference": figure(gain),
            }
        )
    mean = {key: figure([sum(v) / len(v) for v in values.values()]) for key, values in pooled.items()}
    said = " ".join(filter(None, (_exits_sentence(found), _sentence(mean, seeds))))
    return {"sentence": said, "rows": found, "mean": mean}


def _sentence(mean: Mapping[str, dict[str, Any] | None], seeds: int) -> str | None:
    """What InstaNAS' own architectures were worth; None where none was dealt to other images."""
    drop, gain = mean["shuffled"], mean["static"]
    if drop is None:
        return None

    def points(share: float) -> str:
        return f"{round(100 * share, 1) + 0.0:+.1f}"  # adding 0 turns a rounded -0.0 into 0

    def told(f: dict[str, Any]) -> str:
        mean = f"{points(f['mean'])} points"
        return mean if seeds < 2 else f"{mean} (95 % interval {points(f['low'])} to {points(f['high'])})"

    def verdict(f: dict[str, Any]) -> str:
        if seeds < 2:
            return "one seed tells nothing certain"
        return "a real effect" if f["low"] > 0 else "a real loss" if f["high"] < 0 else "not distinguishable from none"

    text = (
        f"InstaNAS: giving each image its own architecture instead of another image's was worth {told(drop)} of test "
        f"accuracy at equal latency, {verdict(drop)}"
    )
    if gain is not None:
        text += f"; against one static child as fast as controller and child together, {told(gain)}, {verdict(gain)}"
    return text + "."


def _exits_sentence(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """What it is worth to let each image leave at its own exit; None without early exits."""
    worth = [row["difference"]["mean"] for row in rows if row["kind"] == "early_exit"]
    if not worth:
        return None
    return f"Early exits: leaving at an image's own exit instead of another image's was worth {between(worth)}."


def result_of(
    study: Study,
    table: LatencyTable,
    rows: Mapping[str, Mapping[str, Any]],
    pretraining: Mapping[str, Any] | None,
    searches: Mapping[int, Mapping[str, Any]],
    preset: str,
    *,
    seconds: float,
) -> dict[str, Any]:
    """Everything the report shows, in plain values (`result.json`).

    Args:
        pretraining: None, and no searches, of early exits alone.
        seconds: wall-clock of the last uninterrupted piece.
    """
    cascades = chosen_cascades(study)
    curves = {
        "pretraining": None if pretraining is None else _columns(pretraining["history"]),
        "search": [{"seed": seed, **_columns(done["rows"]), **_chosen(done)} for seed, done in searches.items()],
    }
    fidelity = table.fidelity.to_json()
    saved = savings(rows)
    return {
        **heading(study, "Early exits" if pretraining is None else "InstaNAS", preset, seconds),
        "device": {
            "name": study.device.name,
            "threads": study.device.threads,
            "batch": table.batch,
            "throughput_batch": study.settings.latency.throughput_batch,
            "fingerprint": dict(table.fingerprint),
        },
        "points": points_of(rows, cascades),
        "cascades": cascades,
        "awareness": awareness_of(rows, len({row["seed"] for row in rows.values()})),
        "savings": saved,
        "saved": sentence(saved),
        "curves": curves,
        "alarms": [alarm for done in searches.values() for alarm in done["alarms"]],
        "fidelity": {**fidelity, "controller_ms": table.controller_ms, "base_ms": table.calibration.intercept},
    }


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def _chosen(done: Mapping[str, Any]) -> dict[str, Any]:
    """The variants' epochs; of a conditioned search their targets, and what it does on the grid they are from."""
    if "choices" not in done:
        return {"chosen": done["chosen"]}
    asked = _columns(done["choices"])
    del asked["epoch"]
    return {"targets": {name: asked["target_ms"][choice] for name, choice in done["chosen"].items()}, "asked": asked}
