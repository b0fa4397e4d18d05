"""The stages of ConvNet-AIG: network and gates from scratch for each target, the controls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from archipel.cost import LatencyTable
from archipel.instance.block_gates import BlockGates, GatedNetwork
from archipel.instance.gated_training import GatedTraining
from archipel.metagraph import MetaGraph
from archipel.progress import Progress
from archipel.recipes.skipping.controls import full_network, random_policy, static_child
from archipel.recipes.skipping.deployed import Deciding
from archipel.recipes.skipping.judging import Contestant, controls_of
from archipel.recipes.skipping.outcome import curve
from archipel.recipes.skipping.study import Study, final_name, stage_name
from archipel.run.jobs import Job

__all__ = ["METHOD", "Stages", "new_gates"]

METHOD = "convnet_aig"


def new_gates(study: Study, graph: MetaGraph, *purpose: object) -> BlockGates:
    """Fresh gates for every choice that is not always on."""
    gating = study.settings.gating
    torch.manual_seed(study.seed_of("gates", *purpose))
    gates = BlockGates(graph, input_shape=study.task.spec.input_shape, forced=gating.always, hidden=gating.hidden)
    made: BlockGates = study.on_device(gates)
    return made


def name_of(target: float) -> str:
    """Of a variant."""
    return f"target {target:g}"


@dataclass(frozen=True)
class Stages:
    """One run's stages as jobs: nothing waits for anything."""

    study: Study
    table: LatencyTable
    seeds: int
    controlled: bool = True
    """Whether every variant gets controls of its own."""

    @property
    def weight(self) -> float:
        """Of all jobs: rough epochs of the network."""
        return sum(job.weight for job in self.jobs())

    def jobs(self) -> list[Job]:
        settings = self.study.settings
        variants = [
            Job(
                f"{name_of(target)}, seed {seed}",
                partial(self._variant, seed, target),
                float(settings.gating.epochs + (2 * settings.controls.epochs if self.controlled else 0)),
            )
            for target in settings.gating.targets
            for seed in range(self.seeds)
        ]
        whole = [
            Job(f"full network, seed {seed}", partial(self._whole, seed), float(settings.gating.epochs))
            for seed in range(self.seeds if self.controlled else 0)
        ]
        return [*variants, *whole]

    def _whole(self, seed: int, progress: Progress) -> None:
        study = self.study.reporting_to(progress)
        full_network(study, seed, study.new_graph("full network", seed), study.settings.gating)

    def _variant(self, seed: int, target: float, progress: Progress) -> None:
        study, name = self.study.reporting_to(progress), name_of(target)
        stage, cost = stage_name("gates", name, seed), study.cost(self.table, decided=True)
        graph = study.new_graph(name, seed)
        gates = new_gates(study, graph, name, seed)
        final = study.folder.checkpoint(final_name(METHOD, name, seed))

        def work() -> dict[str, Any]:
            training = GatedTraining(
                graph,
                gates,
                study.task,
                cost,
                study.settings.gating,
                target,
                seed=study.seed_of(stage),
                device=study.device.torch_device,
            )
            rows = training.run(
                checkpoint=study.folder.checkpoint(stage), progress=progress, title=f"gates, {name}, seed {seed}"
            )
            final.save({"graph": graph, "gates": gates}, {})
            return {"rows": rows}

        study.once(stage, work)
        study.folder.checkpoint(stage).path.unlink(missing_ok=True)
        if not self.controlled:
            return
        final.load({"graph": graph, "gates": gates})
        codes = self._validation_codes(study, GatedNetwork(graph, gates), seed)
        budget, static = float(cost(codes).mean()), study.cost(self.table, decided=False)
        static_child(study, seed, name, study.copy_of(graph), codes, budget_ms=budget, static=static)
        random_policy(study, seed, name, study.copy_of(graph), budget_ms=budget, static=static)

    def _validation_codes(self, study: Study, network: GatedNetwork, seed: int) -> torch.Tensor:
        """What the gates let run for the validation images, read as the result reads them."""
        noise = self._noise(study, seed)
        loader = study.task.loader("val", 256, device=study.device.torch_device)
        return torch.cat([network.decided(batch.inputs, noise)[1].codes() for batch in loader])

    def _noise(self, study: Study, seed: int) -> torch.Generator | None:
        if study.settings.inference.gates == "argmax":
            return None
        return torch.Generator().manual_seed(study.seed_of("gates' noise", seed))

    def contestants(self) -> list[Contestant]:
        """Every finished network."""
        study, found = self.study, []
        names = [name_of(target) for target in study.settings.gating.targets]
        for seed in range(self.seeds):
            for name in names:
                graph = study.on_device(MetaGraph(study.space))
                gates = new_gates(study, graph, name, seed)
                study.folder.checkpoint(final_name(METHOD, name, seed)).load({"graph": graph, "gates": gates})
                network = study.on_device(GatedNetwork(graph, gates, generator=self._noise(study, seed)))
                found.append(Contestant(METHOD, name, seed, network, gates))
            if self.controlled:
                found += controls_of(study, seed, names, study.cost(self.table, decided=False))
        return found

    def deciding(self) -> Deciding:
        gating = self.study.settings.gating

        def accuracy(name: str, seed: int) -> float | None:
            rows = self.study.done(stage_name("gates", name, seed))["rows"]
            return rows[-1]["val_accuracy"] if rows else None

        return Deciding("gates", {"always": list(gating.always), "hidden": gating.hidden}, accuracy)

    def curves(self) -> dict[str, Any]:
        """Of each variant's training."""
        return {
            "search": [
                curve(self.study.done(stage_name("gates", name_of(target), seed))["rows"], seed, name_of(target))
                for seed in range(self.seeds)
                for target in self.study.settings.gating.targets
            ]
        }
