"""What a finished run leaves for those who use its networks (`archipel.deploy.manifest`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archipel.architecture import Architecture
from archipel.deploy.manifest import Family, Form, Manifest, Network, Point
from archipel.recipes.deployable import manifest_for
from archipel.recipes.skipping.judging import Contestant
from archipel.recipes.skipping.study import Study, stage_name

__all__ = ["Deciding", "manifest_of"]


@dataclass(frozen=True)
class Deciding:
    """How a method's variants are rebuilt."""

    form: Form
    values: Mapping[str, Any]
    """As of `Family.controller`, the latency table apart."""
    accuracy: Callable[[str, int], float | None]
    """A variant's, of a seed, on validation images, where what decides takes what is more probable."""


def manifest_of(
    study: Study,
    everyone: Sequence[Contestant],
    scores: Mapping[str, Mapping[str, Any]],
    deciding: Deciding,
    *,
    title: str,
    device: Mapping[str, Any],
) -> Manifest:
    """All that a run keeps of its networks, random policies apart, which are nobody's to use.

    Args:
        scores: what testing found, by contestant.
        device: as in `result.json`.
    """
    families = []
    for kind in (study.method, "static_child", "full_network"):
        for seed in sorted({one.seed for one in everyone}):
            own = [one for one in everyone if (one.kind, one.seed) == (kind, seed)]
            if own:
                families.append(_family(study, own, scores, deciding))
    return manifest_for(study.task, title, device, families)


def _family(
    study: Study, own: Sequence[Contestant], scores: Mapping[str, Mapping[str, Any]], deciding: Deciding
) -> Family:
    kind, seed, decides = own[0].kind, own[0].seed, own[0].decider is not None
    networks, points = [], []
    for number, one in enumerate(own):
        row = scores[one.key]
        ms = row["argmax_ms"] if row.get("argmax_ms") is not None else row["table_ms"]
        accuracy = deciding.accuracy(one.name, seed) if decides else None
        points.append(Point(one.name or None, ms, accuracy, number))
        space = str(study.folder.config.get("space", study.space.name))
        architecture = None if decides else _architecture(study, one).to_json()
        part = "graph" if decides else "network"
        networks.append(Network(space, study.space.options, one.key, one.name or kind, part, architecture))
    values = {"table": "latency/table.json", **deciding.values} if decides else {}
    form: Form = deciding.form if decides else "static"
    slow_first = tuple(sorted(points, key=lambda point: -point.ms))
    return Family(kind, seed, form, tuple(networks), slow_first, controller=values)


def _architecture(study: Study, one: Contestant) -> Architecture:
    if one.kind == "full_network":
        return study.everything
    return Architecture.from_json(study.done(stage_name("static-child", one.name, one.seed))["architecture"])
