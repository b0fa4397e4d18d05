"""What a finished run leaves for those who use its networks (`archipel.deploy.manifest`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archipel.deploy.manifest import Family, Manifest, Network, Point
from archipel.recipes.deployable import manifest_for, measured_ms
from archipel.recipes.proxylessnas.judging import KINDS, Contestant
from archipel.recipes.proxylessnas.stages import Aim, Study, mobilenet_for, slug

__all__ = ["manifest_of"]


def manifest_of(
    study: Study,
    aims: Sequence[Aim],
    everyone: Sequence[Contestant],
    timed: Mapping[str, Mapping[str, float]],
    result: Mapping[str, Any],
) -> Manifest:
    """All that a run keeps of its networks: a family for each kind, target and seed, `proxylessnas-cpu`, a point for
    each budget, `budget-0` the tightest.

    Args:
        timed: what timing found, by contestant and target.
    """
    families = []
    for kind in KINDS:
        for aim in aims:
            for seed in sorted({one.seed for one in everyone}):
                own = [one for one in everyone if (one.kind, one.seed) == (kind, seed) and one.aim is aim]
                families += _families(study, own, timed)
    return manifest_for(study.task, result["title"], {"batch": 1, **result["device"]}, families)


def _families(study: Study, own: Sequence[Contestant], timed: Mapping[str, Mapping[str, float]]) -> list[Family]:
    """One, or none where there is no such network, or no telling how long it takes."""
    if not own:
        return []
    label = own[0].aim.target.label
    ms = {one.key: timed[one.key].get(label) for one in own}
    if own[0].aim.target.unit != "ms":
        ms |= measured_ms({one.key: one.network(study) for one in own}, study.task, study.device)
    known = [(one, time) for one in own if (time := ms[one.key]) is not None]
    networks, points = [], []
    for number, (one, time) in enumerate(known):
        name = f"budget-{one.budget}"
        networks.append(_network(study, one, name))
        points.append(Point(name, time, one.row["val_accuracy"], number))
    slow_first = tuple(sorted(points, key=lambda point: -point.ms))
    kind = f"{own[0].kind}-{slug(label)}"
    return [Family(kind, own[0].seed, "static", tuple(networks), slow_first)] if known else []


def _network(study: Study, one: Contestant, name: str) -> Network:
    if one.architecture is None:
        options = mobilenet_for(study.task, study.space, one.row["width"]).options
        return Network("mobilenet_v2", options, one.key, name, architecture={})
    space = str(study.folder.config.get("space", study.space.name))
    return Network(space, study.space.options, one.key, name, architecture=one.architecture.to_json())
