"""The stages of BlockDrop: the whole network, the policy's curriculum, policy and network together, the controls."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost import LatencyTable
from archipel.deploy.manifest import Network
from archipel.instance.controller import make_controller
from archipel.instance.dropping import DropTraining, block_use, latency_use
from archipel.instance.network import InstanceNetwork
from archipel.instance.policy import CodePolicy
from archipel.instance.search import mode_codes
from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.recipes.skipping.controls import full_network, random_policy, static_child
from archipel.recipes.skipping.deployed import Deciding
from archipel.recipes.skipping.judging import Contestant, controls_of
from archipel.recipes.skipping.outcome import curve
from archipel.recipes.skipping.study import Study, final_name, stage_name
from archipel.run.jobs import Job
from archipel.space import Space
from archipel.spaces import resnet_flat

__all__ = ["METHOD", "Stages", "new_policy"]

METHOD = "blockdrop"


def _policy_resnet(study: Study) -> tuple[Space, Architecture]:
    """The published policy network: the ResNet of one block a stage, all of them on."""
    channels, _, _ = study.task.spec.input_shape
    space = Space(resnet_flat, blocks=1, classes=study.space.width, channels=channels)
    return space, space.canonical({choice.name: choice.options for choice in space.choices})


def new_policy(study: Study, seed: int) -> nn.Module:
    """A fresh policy network: images → logits `[B, D]`."""
    channels, size, _ = study.task.spec.input_shape
    own = study.seed_of("policy", seed)
    if study.settings.policy.kind == "resnet":
        torch.manual_seed(own)
        space, architecture = _policy_resnet(study)
        made = space.build(architecture)
    else:
        made = make_controller("light", study.space.width, channels=channels, size=size, seed=own)
    policy: nn.Module = study.on_device(made)
    return policy


def name_of(penalty: float) -> str:
    """Of a variant."""
    return f"gamma {penalty:g}"


@dataclass(frozen=True)
class Stages:
    """One run's stages as jobs: the whole network opens the curricula, each curriculum its joint trainings."""

    study: Study
    table: LatencyTable
    seeds: int
    controlled: bool = True
    """Whether every variant gets controls of its own."""

    @property
    def weight(self) -> float:
        """Of all jobs, those not yet opened included: rough epochs of the network."""
        settings = self.study.settings
        variants = len(settings.joint.penalties) * self._variant_weight
        whole = settings.controls.epochs if self.controlled else 0
        opened = whole + 0.5 * settings.curriculum.epochs + variants
        return float(settings.backbone.epochs + self.seeds * opened)

    @property
    def _variant_weight(self) -> float:
        controls = self.study.settings.controls.epochs if self.controlled else 0
        return float(2.0 * self.study.settings.joint.epochs + 2.0 * controls)

    def jobs(self) -> list[Job]:
        weight = float(self.study.settings.backbone.epochs)
        return [Job("full network", self._backbone, weight, self._opened)]

    def _backbone(self, progress: Progress) -> MetaGraph:
        """The trained network and nothing else; what a run holds is loaded."""
        study = self.study.reporting_to(progress)
        graph = study.new_graph()

        def work() -> dict[str, Any]:
            options = study.settings.backbone
            history = study.train_whole(
                graph, options, title="full network", stage="backbone", keep_final=options.keep_final
            )
            return {"history": history}

        already = study.folder.stage_done("backbone") is not None
        study.once("backbone", work)
        if already:
            work()  # finds every epoch done and loads the last
        return graph

    def _opened(self) -> list[Job]:
        graph, settings = self._backbone(SILENT), self.study.settings
        policies = [
            Job(
                f"curriculum, seed {seed}",
                partial(self._curriculum, graph, seed),
                0.5 * settings.curriculum.epochs,
                partial(self._variants, graph, seed),
            )
            for seed in range(self.seeds)
        ]
        whole = [
            Job(f"full network, seed {seed}", partial(self._whole, graph, seed), float(settings.controls.epochs))
            for seed in range(self.seeds if self.controlled else 0)
        ]
        return [*policies, *whole]

    def _whole(self, graph: MetaGraph, seed: int, progress: Progress) -> None:
        study = self.study.reporting_to(progress)
        full_network(study, seed, study.copy_of(graph), study.controls)

    def _training(self, study: Study, graph: MetaGraph, policy: nn.Module, stage: str) -> DropTraining:
        cost = study.cost(self.table, decided=True)
        use = block_use if study.settings.policy.use == "blocks" else latency_use(cost)
        device = study.device.torch_device
        return DropTraining(graph, policy, study.task, use, cost, seed=study.seed_of(stage), device=device)

    def _curriculum(self, graph: MetaGraph, seed: int, progress: Progress) -> None:
        study, stage = self.study.reporting_to(progress), stage_name("curriculum", "", seed)

        def work() -> dict[str, Any]:
            policy = new_policy(study, seed)
            training = self._training(study, study.copy_of(graph), policy, stage)
            rows = training.curriculum(
                study.settings.curriculum,
                checkpoint=study.folder.checkpoint(f"{stage}-epochs"),
                progress=progress,
                title=f"curriculum, seed {seed}",
            )
            study.folder.checkpoint(stage).save({"policy": policy}, {})
            return {"rows": rows}

        study.once(stage, work)
        study.folder.checkpoint(f"{stage}-epochs").path.unlink(missing_ok=True)

    def _variants(self, graph: MetaGraph, seed: int) -> list[Job]:
        return [
            Job(
                f"joint training, {name_of(penalty)}, seed {seed}",
                partial(self._variant, graph, seed, penalty),
                self._variant_weight,
            )
            for penalty in self.study.settings.joint.penalties
        ]

    def _variant(self, graph: MetaGraph, seed: int, penalty: float, progress: Progress) -> None:
        study, name = self.study.reporting_to(progress), name_of(penalty)
        stage = stage_name("joint", name, seed)
        own, policy = study.copy_of(graph), new_policy(study, seed)
        final = study.folder.checkpoint(final_name(METHOD, name, seed))

        def work() -> dict[str, Any]:
            study.folder.checkpoint(stage_name("curriculum", "", seed)).load({"policy": policy})
            rows = self._training(study, own, policy, stage).joint(
                study.settings.joint,
                penalty,
                checkpoint=study.folder.checkpoint(stage),
                progress=progress,
                title=f"joint training, {name}, seed {seed}",
            )
            final.save({"graph": own, "policy": policy}, {})
            return {"rows": rows}

        study.once(stage, work)
        study.folder.checkpoint(stage).path.unlink(missing_ok=True)
        if not self.controlled:
            return
        final.load({"graph": own, "policy": policy})
        loader = study.task.loader("val", 256, device=study.device.torch_device)
        codes = torch.cat([mode_codes(policy, CodePolicy(study.space), batch.inputs) for batch in loader])
        budget = float(study.cost(self.table, decided=True)(codes).mean())
        static = study.cost(self.table, decided=False)
        static_child(study, seed, name, graph, codes, budget_ms=budget, static=static)
        random_policy(study, seed, name, study.copy_of(graph), budget_ms=budget, static=static)

    def contestants(self) -> list[Contestant]:
        """Every finished network."""
        study, found = self.study, []
        names = [name_of(penalty) for penalty in study.settings.joint.penalties]
        for seed in range(self.seeds):
            for name in names:
                graph, policy = study.on_device(MetaGraph(study.space)), new_policy(study, seed)
                study.folder.checkpoint(final_name(METHOD, name, seed)).load({"graph": graph, "policy": policy})
                network = study.on_device(InstanceNetwork(graph, policy))
                found.append(Contestant(METHOD, name, seed, network, policy))
            if self.controlled:
                found += controls_of(study, seed, names, study.cost(self.table, decided=False))
        return found

    def deciding(self) -> Deciding:
        study = self.study
        network = None
        if study.settings.policy.kind == "resnet":
            space, architecture = _policy_resnet(study)
            network = asdict(Network("resnet_flat", space.options, "", "policy", architecture=architecture.to_json()))
        values = {"kind": "light", "network": network, "part": "policy", "conditioned": False}

        def accuracy(name: str, seed: int) -> float | None:
            rows = study.done(stage_name("joint", name, seed))["rows"]
            return rows[-1]["val_accuracy"] if rows else None

        return Deciding("controller", values, accuracy)

    def curves(self) -> dict[str, Any]:
        """Of the whole network; and of each variant, the curriculum and the joint training behind it."""
        study = self.study
        search = []
        for seed in range(self.seeds):
            first = study.done(stage_name("curriculum", "", seed))["rows"]
            for penalty in study.settings.joint.penalties:
                second = study.done(stage_name("joint", name_of(penalty), seed))["rows"]
                both = [*first, *({**row, "epoch": row["epoch"] + len(first)} for row in second)]
                search.append(curve(both, seed, name_of(penalty)))
        return {"pretraining": curve(study.done("backbone")["history"], 0, "full network"), "search": search}
