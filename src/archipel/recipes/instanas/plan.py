"""What can be done side by side: pre-training opens the searches, each search opens its variants; MobileNetV2 waits for
nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.recipes.instanas.controls import mobilenet, random_policy, static_child, union
from archipel.recipes.instanas.exits import train_exits
from archipel.recipes.instanas.latency import Costs
from archipel.recipes.instanas.rivals import Rival
from archipel.recipes.instanas.stages import fine_tune_all, fine_tune_variant, pretrained, search
from archipel.recipes.instanas.study import Study
from archipel.run.jobs import Job

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The jobs of one run. Weights are rough epochs of the meta-graph, for the bar and the order."""

    study: Study
    costs: Costs
    seeds: int
    target_ms: float | None
    rivals: Sequence[Rival] = ()

    @property
    def workers(self) -> int:
        """Processes side by side."""
        return self.study.settings.jobs.side_by_side(self.study.device)

    @property
    def weight(self) -> float:
        """Of all jobs, those not yet opened included."""
        settings = self.study.settings
        opened = 0.0
        if not settings.exits.alone:
            opened += self._search_weight + settings.finetuning.variants * self._variant_weight
            opened += self._tuning_weight if settings.search.conditioned else 0.0
        rivals = sum(rival.weight - sum(job.weight for job in rival.jobs()) for rival in self.rivals)  # not yet open
        return sum(job.weight for job in self.jobs()) + self.seeds * opened + rivals

    @property
    def _search_weight(self) -> float:
        return 1.5 * self.study.settings.search.epochs

    @property
    def _tuning_weight(self) -> float:
        return 1.0 * self.study.settings.finetuning.epochs

    @property
    def _variant_weight(self) -> float:
        """With its controls; of a conditioned search, the controls alone."""
        own = 0.0 if self.study.settings.search.conditioned else self._tuning_weight
        return own + (2.0 * self.study.settings.finetuning.epochs if self.study.settings.baselines.any else 0.0)

    def jobs(self) -> list[Job]:
        """What can begin at once: the long chain first, so that both cores end at about the same time."""
        settings = self.study.settings
        whole = self.study.reference_epochs + settings.pretraining.epochs
        exits = settings.exits.epochs or self.study.all_epochs
        plain = settings.baselines.epochs or self.study.all_epochs
        first = [] if settings.exits.alone else [Job("pre-training", self._pretrain, whole, self._searches)]
        sweep = [
            Job(f"MobileNetV2 {width:g}×, seed {seed}", partial(self._mobilenet, width, seed), 0.25 * plain)
            for width in sorted(settings.baselines.sweep, reverse=True)
            for seed in range(self.seeds)
        ]
        early = [
            Job(f"early exits, seed {seed}", partial(self._exits, seed), 0.25 * exits)
            for seed in range(self.seeds if settings.exits.any else 0)
        ]
        return [*first, *early, *sweep, *(job for rival in self.rivals for job in rival.jobs())]

    def _pretrain(self, progress: Progress) -> None:
        pretrained(self.study.reporting_to(progress))

    def _searches(self) -> list[Job]:
        graph, _ = pretrained(self.study.reporting_to(SILENT))
        return [
            Job(
                f"search, seed {seed}",
                partial(self._search, graph, seed),
                self._search_weight,
                partial(self._variants, seed),
            )
            for seed in range(self.seeds)
        ]

    def _search(self, graph: MetaGraph, seed: int, progress: Progress) -> None:
        search(self.study.reporting_to(progress), graph, self.costs.variant, seed, self.target_ms)

    def _variants(self, seed: int) -> list[Job]:
        chosen: dict[str, int] = self.study.done(f"search-{seed}")["chosen"]
        contrasted = self.contrasted(chosen)
        together = []
        if self.study.settings.search.conditioned:
            together = [Job(f"fine-tuning, seed {seed}", partial(self._fine_tune, seed), self._tuning_weight)]
        return together + [
            Job(
                f"variant {name}, seed {seed}",
                partial(self._variant, seed, name, choice, name in contrasted),
                self._variant_weight,
            )
            for name, choice in chosen.items()
        ]

    def _fine_tune(self, seed: int, progress: Progress) -> None:
        fine_tune_all(self.study.reporting_to(progress), seed)

    def _variant(self, seed: int, name: str, choice: int, is_contrasted: bool, progress: Progress) -> None:
        study = self.study.reporting_to(progress)
        if not study.settings.search.conditioned:
            fine_tune_variant(study, seed, name, choice)
        if study.settings.baselines.any:
            static_child(study, seed, name, choice, routed=self.costs.variant, static=self.costs.static)
        if is_contrasted:
            random_policy(study, seed, name, choice, routed=self.costs.variant, dealt=self.costs.dealt)
            union(study, seed, name, choice, static=self.costs.static)

    def _exits(self, seed: int, progress: Progress) -> None:
        train_exits(self.study.reporting_to(progress), seed)

    def _mobilenet(self, width: float, seed: int, progress: Progress) -> None:
        mobilenet(self.study.reporting_to(progress), width, seed)

    def contrasted(self, names: Iterable[str]) -> list[str]:
        """The variants also compared with their union and with random policies: spread evenly, ends first."""
        baselines = self.study.settings.baselines
        names, count = list(names), baselines.contrasted if baselines.any else 0
        if count >= len(names):
            return names
        if count < 2:
            return names[:count]
        return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
