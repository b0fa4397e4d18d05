"""Other methods as baselines of a run: BlockDrop and ConvNet-AIG, as jobs beside its own.

Each keeps its stages and checkpoints in a folder of its own inside the run's. Their networks are of the run's
macro-structure, their weights are trained for as many epochs, and their latency tables are measured on its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from archipel.cost import LatencyTable
from archipel.errors import OptionError
from archipel.recipes import blockdrop, convnet_aig
from archipel.recipes.blockdrop.stages import Stages as Dropping
from archipel.recipes.blockdrop.stages import new_policy
from archipel.recipes.convnet_aig.stages import Stages as Gated
from archipel.recipes.convnet_aig.stages import new_gates
from archipel.recipes.instanas.settings import Settings
from archipel.recipes.instanas.study import Study
from archipel.recipes.skipping import judging
from archipel.recipes.skipping import study as skipping
from archipel.recipes.skipping.judging import Contestant
from archipel.recipes.skipping.settings import Network
from archipel.recipes.study import macro_of, open_space
from archipel.run.jobs import Job
from archipel.space import Space
from archipel.spaces import SPACES
from archipel.tasks.classification import Classification

__all__ = ["Rival", "backbone", "rivals"]

FEWEST = 8
"""Architectures of which a latency table can be made and judged."""


@dataclass(frozen=True)
class Rival:
    """One other method in a run."""

    study: skipping.Study
    stages: Dropping | Gated

    @property
    def weight(self) -> float:
        return self.stages.weight

    def jobs(self) -> list[Job]:
        return [replace(job, name=f"{self.study.method}: {job.name}") for job in self.stages.jobs()]

    def contestants(self) -> list[Contestant]:
        """Every network it left."""
        return self.stages.contestants()

    def test(self, everyone: Sequence[Contestant], workers: int) -> dict[str, dict[str, Any]]:
        """Rows of its networks by their keys, from the test set read once by each."""
        study, table = self.study, self.stages.table

        def tested() -> dict[str, Any]:
            decided, static = study.cost(table, decided=True), study.cost(table, decided=False)
            rows, _ = judging.test(study, everyone, decided=decided, static=static, workers=workers)
            return {"rows": rows}

        rows: dict[str, dict[str, Any]] = study.once("test", tested)["rows"]
        judging.forget_details(study)
        return rows


def backbone(task: Classification, macro: str | None, settings: Settings) -> Space:
    """The network in which they leave out layers.

    Raises:
        OptionError: it has hardly any to leave out.
    """
    name = settings.baselines.skipping
    space = open_space(task, SPACES[name], _network(task, macro, settings))
    if space.size < FEWEST:
        raise OptionError(
            f"baselines.skipping is {name}, which has {len(space.choices)} layers to leave out for images of this "
            "size; "
            "give baselines.skipping resnet_flat"
        )
    return space


def rivals(study: Study, seeds: int) -> list[Rival]:
    """BlockDrop and ConvNet-AIG where the run is to be compared with all baselines; none otherwise.

    Their latency tables are measured here, unless the run holds them.
    """
    if study.settings.baselines.which != "all":
        return []
    macro = macro_of(study.space, study.settings.network)
    space = backbone(study.task, macro, study.settings)
    network = _network(study.task, macro, study.settings)

    def opened(method: str, settings: Any, table: LatencyTable | None) -> skipping.Study:
        given = None if table is None else replace(table, controller_ms=None)
        folder = study.folder.part(method)
        return skipping.Study(
            folder, study.task, study.device, space, settings, study.seed, study.progress, method, given
        )

    first = opened("blockdrop", _dropping(study, network), None)
    dropping = Dropping(first, skipping.latency_table(first, lambda: new_policy(first, 0)), seeds, controlled=False)
    second = opened("convnet_aig", _gating(study, network), dropping.table)
    table = skipping.latency_table(second, lambda: new_gates(second, second.new_graph()))
    return [Rival(first, dropping), Rival(second, Gated(second, table, seeds, controlled=False))]


def _network(task: Classification, macro: str | None, settings: Settings) -> Network:
    width = max(settings.baselines.widths, default=1.0)
    blocks = blockdrop.PRESETS[blockdrop.preset_for(task.spec.name)].network.blocks
    return Network(blocks=blocks, macro=macro, width=width, dropout=settings.network.dropout)


def _dropping(study: Study, network: Network) -> blockdrop.Settings:
    """As BlockDrop's own preset for the data, but for the network, and for as many epochs."""
    own, base = study.settings, blockdrop.PRESETS[blockdrop.preset_for(study.task.spec.name)]
    after = own.search.epochs + own.finetuning.epochs
    return replace(
        base,
        network=network,
        backbone=replace(base.backbone, epochs=own.pretraining.epochs),
        curriculum=replace(base.curriculum, epochs=own.search.epochs * own.search.controller_passes),
        joint=replace(base.joint, epochs=after),
        controls=replace(base.controls, shuffles=max(1, own.baselines.shuffles)),
        latency=own.latency,
        jobs=own.jobs,
    )


def _gating(study: Study, network: Network) -> convnet_aig.Settings:
    """As ConvNet-AIG's own preset for the data, but for the network, and for as many epochs."""
    own, base = study.settings, convnet_aig.PRESETS[convnet_aig.preset_for(study.task.spec.name)]
    epochs = own.pretraining.epochs + own.search.epochs + own.finetuning.epochs
    return replace(
        base,
        network=network,
        gating=replace(base.gating, epochs=epochs),
        controls=replace(base.controls, shuffles=max(1, own.baselines.shuffles)),
        latency=own.latency,
        jobs=own.jobs,
    )
