"""What every stage works with, and the latency table that decides what "as fast" means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost import LatencyTable, TableSettings, build, measure_controller
from archipel.instance.block_gates import require_bits
from archipel.instance.code_cost import CodeCost
from archipel.metagraph import MetaGraph
from archipel.recipes import study
from archipel.recipes.skipping.settings import Controls
from archipel.sharing.policies import Fixed, KeepSchedule
from archipel.sharing.training import Optimisation, train

__all__ = ["Study", "final_name", "latency_table", "stage_name"]


def final_name(kind: str, name: str, seed: int) -> str:
    """Checkpoint of a finished network."""
    return f"final-{stage_name(kind.replace('_', '-'), name, seed)}"


def stage_name(what: str, name: str, seed: int) -> str:
    """Of a stage of one variant."""
    return f"{what}-{seed}-{name.replace(' ', '-')}" if name else f"{what}-{seed}"


@dataclass
class Study(study.Study):
    """One run of a recipe that leaves out blocks. Its settings have `network`, `latency`, `controls` and `jobs`."""

    method: str = ""
    """Of the space's errors and the result: `blockdrop`, `convnet_aig`."""
    given_table: LatencyTable | None = field(default=None)

    def __post_init__(self) -> None:
        require_bits(self.space, self.method)

    @property
    def controls(self) -> Controls:
        controls: Controls = self.settings.controls
        return controls

    @property
    def everything(self) -> Architecture:
        """Every block kept."""
        return self.space.canonical({choice.name: choice.options for choice in self.space.choices})

    def new_graph(self, *purpose: object) -> MetaGraph:
        """With fresh weights, the same ones for the same purpose."""
        torch.manual_seed(self.seed_of("weights", *purpose))
        graph: MetaGraph = self.on_device(MetaGraph(self.space))
        return graph

    def copy_of(self, graph: MetaGraph) -> MetaGraph:
        own: MetaGraph = self.on_device(MetaGraph(self.space))
        own.load_state_dict(graph.state_dict())
        return own

    def cost(self, table: LatencyTable, *, decided: bool) -> CodeCost:
        """Milliseconds an image of codes at the table's batch size, with what deciding takes or without."""
        return CodeCost(self.space, table, overhead=(table.controller_ms or 0.0) if decided else 0.0)

    def train_whole(
        self, graph: MetaGraph, options: Optimisation, *, title: str, stage: str, keep_final: float = 1.0
    ) -> list[dict[str, float]]:
        """Train a meta-graph with every block on; goes on from its checkpoint.

        Args:
            keep_final: share of blocks that images keep at the end, if not all.
        """
        whole = Fixed(self.everything)
        return train(
            graph,
            self.task,
            options,
            title=title,
            seed=self.seed_of(stage),
            policy=KeepSchedule(self.space, final=keep_final, start=0.0) if keep_final < 1.0 else whole,
            device=self.device.torch_device,
            checkpoint=self.folder.checkpoint(stage),
            progress=self.progress,
        )


def latency_table(study: Study, decider: Callable[[], nn.Module]) -> LatencyTable:
    """The table of this very device, with the entry of what decides; the given one if there is one.

    Args:
        decider: makes the policy network, or all gates as one module: images → anything.
    """
    path = Path(study.folder.path) / "latency" / "table.json"
    options = study.settings.latency

    def work() -> dict[str, Any]:
        table = study.given_table
        if table is None:
            settings = TableSettings(**{name: getattr(options, name) for name in asdict(TableSettings())})
            table = build(
                study.space,
                study.device,
                input_shape=study.task.spec.input_shape,
                batch=options.batch,
                settings=settings,
                seed=study.seed_of("latency"),
                progress=study.progress,
            )
        if table.controller_ms is None:
            table = measure_controller(table, study.device, decider(), seed=study.seed_of("controller"))
        path.parent.mkdir(parents=True, exist_ok=True)
        table.save(path)
        return {"controller_ms": table.controller_ms}

    study.once("latency", work)
    return LatencyTable.load(path, space=study.space, device=study.device, batch=options.batch)
