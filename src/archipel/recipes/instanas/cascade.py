"""The confidence cascades that a run is compared with: two of its static networks, the cheap one first.

No network is trained for them; which two, and how they decide, is found on `arch` and `val`
(`archipel.recipes.instanas.thresholds`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from archipel.instance.cascade import CascadePoint
from archipel.progress import Progress
from archipel.recipes.instanas.judging import Contestant
from archipel.recipes.instanas.study import Study
from archipel.recipes.instanas.thresholds import RULES, SPLITS, Answered, Rule, cascade_of, height, settled
from archipel.run.jobs import Job, run_jobs
from archipel.sharing.evaluation import predictions

__all__ = ["Pair", "best_pair", "cascades", "chosen_cascades"]

MADE_OF = {"mobilenet_cascade": "mobilenet_v2", "child_cascade": "static_child"}
"""Kind of cascade → kind of its two networks."""
KINDS = ("early_exit", *MADE_OF)


def cascades(
    study: Study, everyone: Sequence[Contestant], *, workers: int, target_ms: float | None = None
) -> list[Contestant]:
    """The cascades that the finished networks of each seed make; fewer than two of a kind make none.

    Args:
        workers: processes.
        target_ms: one point of each has at most so many milliseconds, if it can.
    """
    if not study.settings.baselines.cascades:
        return []
    families: dict[tuple[str, int], list[Contestant]] = {}
    for kind, of in MADE_OF.items():
        for one in everyone:
            if one.kind == of:
                families.setdefault((kind, one.seed), []).append(one)
    jobs = [
        Job(f"{kind}, seed {seed}", partial(_choose, study, kind, seed, family, target_ms))
        for (kind, seed), family in families.items()
    ]
    run_jobs(jobs, workers=workers, progress=study.progress, title="cascades", total=len(jobs))
    found = []
    for (kind, seed), family in families.items():
        done = study.done(_stage(kind, seed))
        parts = [one.network for name in done["networks"] for one in family if one.name == name]
        for name, point in done["points"].items():
            network = cascade_of(study, parts, done, name)
            found.append(Contestant(kind, name, seed, network, kept=parts, shares=tuple(point["shares"])))
    return found


def chosen_cascades(study: Study) -> list[dict[str, Any]]:
    """Of every kind and seed, early exits first: its networks, whether they are a committee, what decides,
    temperatures, points and validation frontier, in plain values."""
    done = [study.done(stage) for stage in study.folder.stages if stage.startswith("cascade-")]
    rows = [{key: value for key, value in row.items() if key != "stage_seconds"} for row in done if row["networks"]]
    return sorted(rows, key=lambda row: (KINDS.index(row["kind"]), row["seed"]))


def _stage(kind: str, seed: int) -> str:
    return f"cascade-{kind}-{seed}"


class Pair(NamedTuple):
    """Two networks that could be a cascade, and how."""

    first: str
    second: str
    rule: Rule


def _choose(
    study: Study, kind: str, seed: int, family: Sequence[Contestant], target_ms: float | None, progress: Progress
) -> None:
    def work() -> dict[str, Any]:
        seen = {}
        with progress.bar(f"validating {kind}, seed {seed}", len(family)) as bar:
            for one in family:
                seen[one.name] = _see(study, one)
                bar.advance()
        both = {
            (a, b): _followed_by(x, y) for (a, x), (b, y) in itertools.permutations(seen.items(), 2) if _ms(x) < _ms(y)
        }
        found: dict[str, Any] = {"kind": kind, "seed": seed, "networks": [], "points": {}}
        if not both:
            return found
        alone = {name: (_ms(one), one.accuracies[0]) for name, one in seen.items()}
        points = {Pair(*names, rule): two.points(rule) for names, two in both.items() for rule in RULES}
        first, second, rule = best_pair(points, alone)
        chosen = settled(both[first, second], rule, list(alone.values()), study.settings.baselines.cascades, target_ms)
        return found | {"networks": [first, second], **chosen}

    study.once(_stage(kind, seed), work)


def _see(study: Study, one: Contestant) -> Answered:
    """What a static network answers, as the only stage."""
    found = [
        pair
        for split in SPLITS
        for pair in predictions(one.network, study.task, split, device=study.device.torch_device)
    ]
    logits = torch.cat([output for _, output in found])[None]
    targets = torch.cat([batch.targets for batch, _ in found])
    assert one.table_ms is not None
    return Answered.of(logits, targets, [one.table_ms])


def _ms(one: Answered) -> float:
    return one.costs_ms[0]


def _followed_by(one: Answered, other: Answered) -> Answered:
    logits = torch.cat([one.logits, other.logits])
    return Answered(logits, one.targets, one.costs_ms + other.costs_ms, one.temperatures + other.temperatures)


def best_pair(pairs: Mapping[Pair, Sequence[CascadePoint]], alone: Mapping[str, tuple[float, float]]) -> Pair:
    """The pair that lifts the frontier of the networks alone most; of equals the one whose first is cheapest and whose
    second is dearest.

    Args:
        pairs: pair → all that its thresholds give.
        alone: network → milliseconds an image, and accuracy.
    """

    def rank(pair: Pair) -> tuple[Any, ...]:
        return -height(pairs[pair], alone.values()), alone[pair.first][0], -alone[pair.second][0], pair.rule

    return min(pairs, key=rank)
