"""What can be done side by side: each seed's warm-up opens its searches, each search the training of what it found;
controls wait for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.recipes.proxylessnas.stages import Aim, Study, retrain, search, warm_up
from archipel.run.jobs import Job

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The jobs of one run. Weights are rough epochs of one network, for the bar and the order."""

    study: Study
    aims: Sequence[Aim]
    widths: Mapping[tuple[str, int], tuple[float, float]]
    """(target's label, budget's place) → the width of MobileNetV2 that is trained for it, and its cost, milliseconds in
    the time of the target's table."""
    seeds: int

    @property
    def workers(self) -> int:
        """Processes side by side."""
        return self.study.settings.jobs.side_by_side(self.study.device)

    @property
    def weight(self) -> float:
        """Of all jobs, those not yet opened included."""
        settings = self.study.settings
        found = sum(len(aim.budgets) for aim in self.aims) * settings.retraining.epochs
        opened = self.seeds * (len(self.aims) * self._search_weight + found)
        return sum(job.weight for job in self.jobs()) + opened

    @property
    def _search_weight(self) -> float:
        settings = self.study.settings
        return settings.joint.epochs * (1.0 + 2.0 / settings.alternation.every)

    def jobs(self) -> list[Job]:
        """What can begin at once: the long chains first."""
        first = [
            Job(
                f"warm-up, seed {seed}",
                partial(self._warm, seed),
                self.study.settings.warming.reference + self.study.settings.warming.epochs,
                partial(self._searches, seed),
            )
            for seed in range(self.seeds)
        ]
        return [*first, *self._controls()]

    def _controls(self) -> Iterator[Job]:
        for aim, budget, seed in self.places():
            if self.study.settings.baselines.random:
                yield self._training(aim, budget, seed, "random_architecture")
            chosen = self.widths.get((aim.target.label, budget))
            if chosen is not None:
                yield self._training(aim, budget, seed, "mobilenet_v2", chosen[0])

    def places(self) -> Iterator[tuple[Aim, int, int]]:
        """(aim, budget's place, seed) of every network that is wanted."""
        for aim in self.aims:
            for budget in range(len(aim.budgets)):
                for seed in range(self.seeds):
                    yield aim, budget, seed

    def _warm(self, seed: int, progress: Progress) -> None:
        warm_up(self.study.reporting_to(progress), seed)

    def _searches(self, seed: int) -> list[Job]:
        graph = warm_up(self.study.reporting_to(SILENT), seed)
        return [
            Job(
                f"search for {aim.target.label}, seed {seed}",
                partial(self._search, aim, graph, seed),
                self._search_weight,
                partial(self._found, aim, seed),
            )
            for aim in self.aims
        ]

    def _search(self, aim: Aim, graph: MetaGraph, seed: int, progress: Progress) -> None:
        search(self.study.reporting_to(progress), aim, graph, seed)

    def _found(self, aim: Aim, seed: int) -> list[Job]:
        return [self._training(aim, budget, seed, "proxylessnas") for budget in range(len(aim.budgets))]

    def _training(self, aim: Aim, budget: int, seed: int, kind: str, width: float | None = None) -> Job:
        name = f"{kind.replace('_', ' ')} for {aim.target.label} at {aim.said(aim.budgets[budget])}, seed {seed}"
        return Job(
            name, partial(self._retrain, aim, budget, seed, kind, width), float(self.study.settings.retraining.epochs)
        )

    def _retrain(self, aim: Aim, budget: int, seed: int, kind: str, width: float | None, progress: Progress) -> None:
        retrain(self.study.reporting_to(progress), aim, budget, seed, kind, width)
