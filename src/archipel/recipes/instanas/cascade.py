"""The confidence cascades that a run is compared with: two of its static networks, the cheap one first.

No network is trained for them. Temperatures, and what passing an image on is worth, are fitted on `arch`; which two,
whether they answer as a committee, what decides and at which threshold is chosen on `val`; costs are the latency
table's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from archipel.instance.cascade import (
    NOTHING,
    Cascade,
    CascadePoint,
    answers,
    frontier,
    sweep,
    temperature_for,
)
from archipel.instance.escalation import Gain, doubt
from archipel.instance.variants import choose_variants
from archipel.progress import Progress
from archipel.recipes.instanas.judging import Contestant
from archipel.recipes.instanas.study import Study
from archipel.run.jobs import Job, run_jobs
from archipel.sharing.evaluation import predictions

__all__ = ["Pair", "best_pair", "cascades", "chosen_cascades", "worth_having"]

MADE_OF = {"mobilenet_cascade": "mobilenet_v2", "child_cascade": "static_child"}
"""Kind of cascade → kind of its two networks."""
LATENCIES = 64
"""At so many, evenly spread, the accuracies that two pairs reach are compared."""


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
        parts = tuple(one for name in done["networks"] for one in family if one.name == name)
        if not parts:
            continue
        whole = Cascade(
            [part.network for part in parts],
            thresholds=[NOTHING],
            costs_ms=done["costs_ms"],
            temperatures=done["temperatures"],
            committee=done["committee"],
            gains=None if done["gain"] is None else [Gain(torch.tensor(done["gain"]["weights"]), done["gain"]["bias"])],
        )
        study.on_device(whole)
        for name, point in done["points"].items():
            network = whole.at(point["thresholds"])
            found.append(Contestant(kind, name, seed, network, parts=parts, shares=tuple(point["shares"])))
    return found


def chosen_cascades(study: Study) -> list[dict[str, Any]]:
    """Of every kind and seed: its two networks, whether they are a committee, what decides, temperatures, points and
    validation frontier, in plain values."""
    done = [study.done(stage) for stage in study.folder.stages if stage.startswith("cascade-")]
    rows = [{key: value for key, value in row.items() if key != "stage_seconds"} for row in done if row["networks"]]
    return sorted(rows, key=lambda row: (list(MADE_OF).index(row["kind"]), row["seed"]))


def _stage(kind: str, seed: int) -> str:
    return f"cascade-{kind}-{seed}"


class Pair(NamedTuple):
    """Two networks that could be a cascade."""

    first: str
    second: str
    committee: bool
    """Whether the second is asked for its opinion or for the answer: see `Cascade`."""
    learnt: bool
    """Whether the gain decides who is passed on, or the doubt."""


@dataclass(frozen=True)
class _Seen:
    """What a static network answers the `N` images of `arch` and of `val`."""

    ms: float
    temperature: float
    logits: Mapping[str, Tensor]
    """Split → `[N, classes]`."""
    targets: Mapping[str, Tensor]
    """Split → `[N]`."""

    @property
    def accuracy(self) -> float:
        return float((self.logits["val"].argmax(1) == self.targets["val"]).double().mean())

    def said(self, other: _Seen, split: str, *, committee: bool) -> tuple[Tensor, Tensor]:
        """The first network's answers `[N, classes]`, and whether its and those after the second are right `[2, N]`."""
        logits, temperatures = (self.logits[split], other.logits[split]), (self.temperature, other.temperature)
        both = answers(logits, temperatures, committee=committee)
        return both[0], both.argmax(2) == self.targets[split]

    def gain(self, other: _Seen, *, committee: bool) -> Gain:
        first, right = self.said(other, "arch", committee=committee)
        return Gain.fit(first, right[0], right[1])

    def followed_by(self, other: _Seen, *, committee: bool, learnt: bool) -> list[CascadePoint]:
        """What the two give as a cascade, at every threshold."""
        first, right = self.said(other, "val", committee=committee)
        urge = self.gain(other, committee=committee)(first) if learnt else doubt(first)
        return sweep(urge[None], right, (self.ms, other.ms))


def _see(study: Study, one: Contestant) -> _Seen:
    logits, targets = {}, {}
    for split in ("arch", "val"):
        found = predictions(one.network, study.task, split, device=study.device.torch_device)
        logits[split] = torch.cat([output for _, output in found])
        targets[split] = torch.cat([batch.targets for batch, _ in found])
    assert one.table_ms is not None
    return _Seen(one.table_ms, temperature_for(logits["arch"], targets["arch"]), logits, targets)


def _choose(
    study: Study, kind: str, seed: int, family: Sequence[Contestant], target_ms: float | None, progress: Progress
) -> None:
    def work() -> dict[str, Any]:
        seen = {}
        with progress.bar(f"validating {kind}, seed {seed}", len(family)) as bar:
            for one in family:
                seen[one.name] = _see(study, one)
                bar.advance()
        pairs = {
            Pair(a, b, committee, learnt): x.followed_by(y, committee=committee, learnt=learnt)
            for (a, x), (b, y) in itertools.permutations(seen.items(), 2)
            if x.ms < y.ms
            for committee in (False, True)
            for learnt in (False, True)
        }
        found: dict[str, Any] = {"kind": kind, "seed": seed, "networks": [], "points": {}}
        if not pairs:
            return found
        pair = best_pair(pairs, {name: (one.ms, one.accuracy) for name, one in seen.items()})
        first, second = seen[pair.first], seen[pair.second]
        points = worth_having(pairs[pair], (second.ms, second.accuracy))
        gain = first.gain(second, committee=pair.committee) if pair.learnt else None
        rows = [{"epoch": i, "val_accuracy": p.accuracy, "map_ms": p.ms} for i, p in enumerate(points)]
        images, count = study.task.splits["val"], study.settings.baselines.cascades
        names = choose_variants(rows, count, validation_images=images, target_ms=target_ms)
        return found | {
            "networks": [pair.first, pair.second],
            "committee": pair.committee,
            "gain": None if gain is None else {"weights": gain.weights.tolist(), "bias": gain.bias},
            "costs_ms": (first.ms, second.ms),
            "temperatures": (first.temperature, second.temperature),
            "points": {name: _plain(points[int(i)]) for name, i in names.items()},
            "frontier": [(p.ms, p.accuracy) for p in frontier(pairs[pair])],
        }

    study.once(_stage(kind, seed), work)


def _plain(point: CascadePoint) -> dict[str, Any]:
    return {
        "thresholds": point.thresholds,
        "shares": point.shares,
        "val_accuracy": point.accuracy,
        "val_ms": point.ms,
    }


def best_pair(pairs: Mapping[Pair, Sequence[CascadePoint]], alone: Mapping[str, tuple[float, float]]) -> Pair:
    """The pair that lifts the frontier of the networks alone most, by its mean height between the fastest and the
    slowest of them; of equals the one whose first is cheapest and whose second is dearest.

    Args:
        pairs: pair → all that its thresholds give.
        alone: network → milliseconds an image, and accuracy.
    """
    costs = [ms for ms, _ in alone.values()]
    grid = torch.linspace(min(costs), max(costs), LATENCIES, dtype=torch.float64).tolist()

    def height(points: Sequence[CascadePoint]) -> float:
        reached = [*alone.values(), *((p.ms, p.accuracy) for p in frontier(points))]
        return sum(max((a for ms, a in reached if ms <= latency), default=0.0) for latency in grid)

    return min(pairs, key=lambda pair: (-height(pairs[pair]), alone[pair.first][0], -alone[pair.second][0], pair[2:]))


def worth_having(points: Sequence[CascadePoint], last: tuple[float, float]) -> list[CascadePoint]:
    """The points at which both networks answer something, and which the last network alone does not beat; where there
    are none, the most accurate of all.

    Args:
        last: its milliseconds an image, and accuracy.
    """
    ms, accuracy = last
    both = [p for p in points if min(p.shares) > 0.0 and (p.ms < ms or p.accuracy > accuracy)]
    return both or [max(points, key=lambda p: (p.accuracy, -p.ms))]
