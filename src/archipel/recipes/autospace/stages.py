"""What one AutoSpace run does for each seed: evolve a space, and draw a random one of the same size beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch

from archipel.errors import SpaceError
from archipel.evolve.dense import Frame
from archipel.evolve.editors import Definition, Open
from archipel.evolve.genes import Admits
from archipel.evolve.gradient import GradientScorer
from archipel.evolve.paths import PathScorer
from archipel.evolve.population import Member, Population
from archipel.evolve.search import Outcome, evolve
from archipel.progress import Progress
from archipel.recipes import study
from archipel.recipes.autospace.settings import Settings
from archipel.run.jobs import Job
from archipel.sharing.penalty import make_penalty
from archipel.spaces.cell import Cell, Placement, reference
from archipel.spaces.evolved import Backbone, CellSpace, Kept, options_of
from archipel.spaces.macro import macro_for
from archipel.spaces.proxyless import MACROS, proxyless
from archipel.spaces.restricted import Restricted

__all__ = ["Evolve", "Study", "backbone_of", "space_file"]

Members = TypeVar("Members")


def backbone_of(settings: Settings, size: int) -> Backbone:
    """The skeleton for images of `size` pixels a side.

    Raises:
        SpaceError: there is no such macro-structure.
    """
    macro = settings.network.macro
    if macro is None and size < 20:
        macro = "cifar"  # the published blocks at any size, as `proxyless` has it
    return Backbone.of(macro_for(macro, size, MACROS), settings.network.width)


def space_file(kind: str, seed: int) -> str:
    """Name of a space's file in the run folder."""
    return f"{kind}-{seed}.json"


@dataclass
class Study(study.Study):
    """One run."""

    settings: Settings

    @property
    def size(self) -> int:
        return self.task.spec.input_shape[1]

    @property
    def backbone(self) -> Backbone:
        return backbone_of(self.settings, self.size)

    @property
    def fixed_madds(self) -> int:
        """Multiply-adds of one image outside the cells."""
        channels, size, _ = self.task.spec.input_shape
        return self.backbone.madds(size, classes=len(self.task.spec.classes), channels=channels)

    @property
    def reference_madds(self) -> int:
        """Of the network of reference cells."""
        return self.fixed_madds + sum(reference().madds(at) for at in self.placements)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Of the cells while they evolve."""
        return self.backbone.placements(self.size, self.settings.network.expand)

    def jobs(self, seeds: int) -> list[Job]:
        """One a seed."""
        return [Job(f"evolution, seed {seed}", partial(self._evolution, seed)) for seed in range(seeds)]

    @property
    def groups(self) -> tuple[int, ...]:
        """Which list of cells each block has."""
        return tuple(place // self.settings.network.tied for place in range(len(self.placements)))

    def populations(self) -> list[Population[Cell]]:
        """Empty ones, one a list of cells."""
        own = self.settings
        return [
            Population(own.cells, reference(), self._admits(group), own.evolution.population)
            for group in sorted(set(self.groups))
        ]

    def _admits(self, group: int) -> Admits:
        places = [at for at, own in zip(self.placements, self.groups) if own == group]
        most = [(at, self.settings.network.cap * reference().madds(at)) for at in places]
        return lambda cell: all(cell.madds(at) <= cap for at, cap in most)

    def by_block(self, lists: Sequence[Members]) -> list[Members]:
        """What each list of cells has, block by block."""
        return [lists[group] for group in self.groups]

    def space_of(self, kept: list[list[Member[Cell]]], **evidence: Any) -> CellSpace:
        """Members as a space, each at the handed-over expansions."""
        own = self.settings
        found = [
            [Kept(m.genes, fitness=m.fitness, visits=m.visits) for m in members] for members in self.by_block(kept)
        ]
        blocks = tuple(options_of(block, own.handover.expansions, own.handover.kernels) for block in found)
        told = {
            "method": "autospace", "data": self.task.spec.name, "images": dict(self.task.splits),
            "input_shape": list(self.task.spec.input_shape), "expand": own.network.expand, "cap": own.network.cap,
            "budget_madds": None if own.network.budget is None else own.network.budget * self.reference_madds,
        }  # fmt: skip
        return CellSpace(self.backbone, blocks, own.handover.zero, own.cells.mix, told | evidence)

    def mean_madds(self, kept: list[list[Member[Cell]]]) -> float:
        """Of a network that has in every block one of its kept cells, each as likely as the others."""
        return self.fixed_madds + sum(
            sum(member.genes.madds(at) for member in members) / len(members)
            for members, at in zip(self.by_block(kept), self.placements, strict=True)
        )

    def _evolution(self, seed: int, progress: Progress) -> None:
        study = self.reporting_to(progress)
        study.once(f"evolution-{seed}", lambda: study._evolved(seed))
        study.folder.checkpoint(f"evolution-{seed}").path.unlink(missing_ok=True)

    def outcome(self, seed: int) -> Outcome[Cell]:
        """Populations evolved to the end, going on from the seed's checkpoint."""
        own = self.settings
        torch.manual_seed(self.seed_of("frame", seed))
        channels = self.task.spec.input_shape[0]
        penalty = None
        if own.network.budget is not None:
            penalty = make_penalty(own.penalty, own.network.budget * self.reference_madds)
        raw = own.judging.normalisation == "raw"
        frame = Frame(self.backbone, classes=len(self.task.spec.classes), channels=channels, norms=raw)
        judge = PathScorer if own.judging.by == "paths" else GradientScorer
        scorer = judge(
            self.on_device(frame),
            self.placements,
            self.task,
            own.judging,
            groups=self.groups,
            penalty=penalty,
            fixed_madds=self.fixed_madds,
            attention=own.cells.mix,
            seed=self.seed_of("judging", seed),
            device=self.device.torch_device,
        )
        return evolve(
            self.populations(),
            scorer,
            own.evolution,
            own.cells,
            seed=self.seed_of("evolution", seed),
            checkpoint=self.folder.checkpoint(f"evolution-{seed}"),
            progress=self.progress,
            title=f"evolution, seed {seed}",
        )

    def _evolved(self, seed: int) -> dict[str, Any]:
        own, title, outcome = self.settings, f"evolution, seed {seed}", self.outcome(seed)
        if outcome.worse_than_reference:
            self.progress.alarm(f"{title}: no kept cell was judged better than the reference; search in it as well")
        control = self._random_members(outcome, seed)
        for kind, kept in (("evolved", outcome.kept), ("random", control)):
            space = self.space_of(kept, seed=seed, kind=kind, iterations=len(outcome.history))
            self.folder.write_json(space_file(kind, seed), space.to_json())
        return {
            "seed": seed,
            "worse_than_reference": outcome.worse_than_reference,
            "history": outcome.history,
            "budget_madds": None if own.network.budget is None else own.network.budget * self.reference_madds,
            "populations": [
                [{"fitness": m.fitness, "visits": m.visits, "kept": m in kept} for m in population.members]
                for population, kept in self.by_block(list(zip(outcome.populations, outcome.kept, strict=True)))
            ],
            "madds": {
                "evolved": self.mean_madds(outcome.kept),
                "random": self.mean_madds(control),
                "reference": float(self.reference_madds),
            },
            "blocks": [
                [
                    {
                        "cell": str(member.genes), "matrix": member.genes.to_matrix(),
                        "fitness": member.fitness, "visits": member.visits,
                        "madds": member.genes.madds(at), "reference": member.number == 0,
                    }
                    for member in members
                ]
                for members, at in zip(self.by_block(outcome.kept), self.placements, strict=True)
            ],
        }  # fmt: skip

    def _random_members(self, outcome: Outcome[Cell], seed: int) -> list[list[Member[Cell]]]:
        """As many random cells a block, under the same cap, with the reference where the evolved lists have it."""
        rng = random.Random(self.seed_of("random space", seed))
        lists = []
        for population, kept in zip(self.populations(), outcome.kept, strict=True):
            while len(population.members) < sum(member.number != 0 for member in kept):
                population.add(self.settings.cells.sample(rng, population.fresh))
            named = [replace(member, fitness=None, visits=0) for member in kept if member.number == 0]
            lists.append([*population.members, *named])
        return lists


@dataclass(frozen=True)
class Evolve:
    """The evolution as an editor (`archipel.evolve.editors.Editor`): cells in place of the blocks of `proxyless`."""

    study: Study
    seed: int = 0

    def __call__(self, given: Definition, open_space: Open) -> CellSpace:  # noqa: ARG002 - by its skeleton, not its options
        if not isinstance(given, Restricted) or given.whole is not proxyless:
            raise SpaceError("cells stand in the skeleton of proxyless; give that space")
        outcome = self.study.outcome(self.seed)
        return self.study.space_of(outcome.kept, seed=self.seed, iterations=len(outcome.history))
