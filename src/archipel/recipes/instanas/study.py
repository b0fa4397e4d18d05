"""What every stage of one InstaNAS run works with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from archipel.cost import LatencyTable
from archipel.instance.code_cost import CodeCost
from archipel.instance.controller import make_controller
from archipel.metagraph import MetaGraph
from archipel.recipes import study
from archipel.recipes.instanas.settings import Settings

__all__ = ["Study"]


@dataclass
class Study(study.Study):
    """One run."""

    settings: Settings
    given_table: LatencyTable | None = None

    @property
    def has_union(self) -> bool:
        """Only where every choice is a subset is there an architecture that holds what several ones hold."""
        return all(choice.kind == "subset" for choice in self.space.choices)

    @property
    def has_random_policy(self) -> bool:
        """Only the options of subsets can be kept with a probability that meets a given latency."""
        return any(choice.kind == "subset" for choice in self.space.choices)

    def new_graph(self) -> MetaGraph:
        torch.manual_seed(self.seed_of("weights"))
        graph: MetaGraph = self.on_device(MetaGraph(self.space))
        return graph

    def new_controller(self, seed: int) -> nn.Module:
        channels, size, _ = self.task.spec.input_shape
        kind = self.settings.search.controller
        made: nn.Module = self.on_device(
            make_controller(kind, self.space.width, channels=channels, size=size, seed=self.seed_of("controller", seed))
        )
        return made

    def cost(self, table: LatencyTable, *, controlled: bool) -> CodeCost:
        """Milliseconds an image of codes at the table's batch size, with the controller's or without."""
        overhead = (table.controller_ms or 0.0) if controlled else 0.0
        return CodeCost(self.space, table, overhead=overhead)
