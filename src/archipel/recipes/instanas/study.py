"""What every stage of one InstaNAS run works with."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from archipel.cost import LatencyTable
from archipel.cost.extremes import Extremes, extremes
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import LightController, ResNetController, make_controller
from archipel.metagraph import MetaGraph
from archipel.recipes import study
from archipel.recipes.instanas.settings import Settings
from archipel.sharing.policies import draw_codes

__all__ = ["Study"]


@dataclass
class Study(study.Study):
    """One run."""

    settings: Settings
    given_table: LatencyTable | None = None

    @functools.cached_property
    def ends(self) -> Extremes:
        """The space's smallest and largest child."""
        return extremes(self.space, self.task.spec.input_shape)

    @property
    def has_subsets(self) -> bool:
        """Whether every choice is a subset."""
        return all(choice.kind == "subset" for choice in self.space.choices)

    @property
    def reference_epochs(self) -> int:
        """Of pre-training, along the largest child alone."""
        options = self.settings.pretraining
        if options.reference is not None:
            return options.reference
        return 0 if self.has_subsets else options.epochs // 2

    @property
    def all_epochs(self) -> int:
        """Of all stages together: those of every network that is trained from scratch beside the search."""
        settings = self.settings
        return self.reference_epochs + settings.pretraining.epochs + settings.search.epochs + settings.finetuning.epochs

    @property
    def upper(self) -> str:
        """What a variant may cost at most if one network is to do for all images: the union of what they use, which
        there is only where every choice is a subset, or else the dearest child that any of them uses."""
        return "static_union" if self.has_subsets else "dearest_child"

    def new_graph(self) -> MetaGraph:
        torch.manual_seed(self.seed_of("weights"))
        graph: MetaGraph = self.on_device(MetaGraph(self.space))
        return graph

    def new_controller(self, seed: int) -> LightController | ResNetController:
        """Of a search; of a conditioned one what its controller is for any one target."""
        channels, size, _ = self.task.spec.input_shape
        kind = self.settings.search.controller
        made: LightController | ResNetController = self.on_device(
            make_controller(kind, self.space.width, channels=channels, size=size, seed=self.seed_of("controller", seed))
        )
        return made

    def new_conditioned(self, seed: int, targets: Targets) -> ConditionedController:
        made: ConditionedController = self.on_device(ConditionedController(self.new_controller(seed), targets))
        return made

    def targets(self, cost: CodeCost) -> Targets:
        """From the cheapest child to the mean random one: what a fresh controller samples."""
        return Targets(cost.of(cost.cheapest()), self.random_ms(cost))

    def random_ms(self, cost: CodeCost) -> float:
        """Mean latency of random children with half of all options on."""
        chance = torch.Generator().manual_seed(self.seed_of("window"))
        return float(cost(draw_codes(self.space, 2048, 0.5, chance)).mean())

    def cost(self, table: LatencyTable, *, controlled: bool) -> CodeCost:
        """Milliseconds an image of codes at the table's batch size, with the controller's or without."""
        overhead = (table.controller_ms or 0.0) if controlled else 0.0
        return CodeCost(self.space, table, overhead=overhead)
