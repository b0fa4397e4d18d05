"""The controls every point of the frontier stands beside: same weights to start from, same training, same table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archipel.cost import LatencyTable, measure_beside
from archipel.instance.code_cost import CodeCost
from archipel.instance.controls import best_static_child, candidates, dearest, static_union
from archipel.instance.policy import CodePolicy
from archipel.instance.random_policy import RandomPolicy
from archipel.instance.search import mode_codes
from archipel.metagraph import PerInstance
from archipel.recipes.instanas.stages import final_name, load_candidate, taught
from archipel.recipes.instanas.study import Study
from archipel.recipes.study import macro_of
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.policies import Drawn
from archipel.sharing.training import train
from archipel.space import Space
from archipel.spaces import mobilenet_v2

__all__ = [
    "beside_name",
    "mobilenet",
    "mobilenet_space",
    "random_policy",
    "static_child",
    "union",
    "upper_stage",
    "width_name",
    "with_mobilenets",
]


def width_name(width: float) -> str:
    return f"{width:g}x"


def beside_name(width: float) -> str:
    """Of a width in a latency table."""
    return f"mobilenet_v2 {width_name(width)}"


def mobilenet_space(study: Study, width: float) -> Space:
    """Of MobileNetV2 with the macro-structure that the meta-graph has; one network."""
    macro = macro_of(study.space, study.settings.network)
    return study.task.space(mobilenet_v2, macro=macro, width=width)


def new_mobilenet(study: Study, width: float) -> nn.Module:
    """With fresh weights."""
    made: nn.Module = study.on_device(mobilenet_space(study, width).build({}))
    return made


def mobilenet(study: Study, width: float, seed: int) -> None:
    """MobileNetV2 from scratch; where nothing else is asked for, for as many epochs as the meta-graph, search and
    fine-tuning have together."""
    stage = f"mobilenet-{seed}-{width_name(width)}"
    settings = study.settings

    def work() -> dict[str, Any]:
        torch.manual_seed(study.seed_of(stage, "weights"))
        network = new_mobilenet(study, width)
        options = replace(settings.pretraining, epochs=settings.baselines.epochs or study.all_epochs)
        study.train_plain(network, options, title=f"MobileNetV2 {width:g}×, seed {seed}", stage=stage)
        study.folder.checkpoint(final_name("mobilenet_v2", width_name(width), seed)).save({"network": network}, {})
        return {}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)


def with_mobilenets(study: Study, table: LatencyTable) -> LatencyTable:
    """The table with the widths of the sweep beside it, those it lacks timed now."""
    networks = {}
    for width in study.settings.baselines.sweep:
        if beside_name(width) not in table.beside:
            networks[beside_name(width)] = network = new_mobilenet(study, width)
            recalibrate(network, study.calibration())  # or signals of a fresh network would shrink to denormals
    if not networks:
        return table
    return table.with_beside(measure_beside(table, study.device, networks, seed=study.seed_of("mobilenet latency")))


def validation_codes(study: Study, controller: nn.Module) -> torch.Tensor:
    """What a controller picks for the validation images, `[N, D]`."""
    policy = CodePolicy(study.space)
    loader = study.task.loader("val", 256, device=study.device.torch_device)
    return torch.cat([mode_codes(controller, policy, batch.inputs) for batch in loader])


def static_child(
    study: Study, seed: int, name: str, choice: int, *, routed: CodeCost, static: CodeCost
) -> dict[str, Any]:
    """The best child of the variant's own meta-graph that is not slower than the variant with its controller."""
    stage = f"static-child-{seed}-{name}"

    def work() -> dict[str, Any]:
        graph, controller = load_candidate(study, seed, choice)
        codes = validation_codes(study, controller)
        budget = float(routed(codes).mean())
        chance = torch.Generator().manual_seed(study.seed_of(stage))
        count = study.settings.baselines.pool
        pool = candidates(static, budget, codes, count=count - count // 2, generator=chance)
        with study.progress.bar(f"static children as fast as {name}, seed {seed}", len(pool) + count // 2) as bar:
            best, score = best_static_child(
                graph,
                study.task,
                pool,
                calibration=lambda: study.task.calibration(1, 256, device=study.device.torch_device),
                fits=lambda child: static.of(child) <= budget,
                steps=count // 2,
                seed=study.seed_of(stage),
                device=study.device.torch_device,
                advance=bar.advance,
            )
        child = study.on_device(graph.extract(best))
        title = f"fine-tuning static child {name}, seed {seed}"
        told = taught(study, graph)
        study.train_plain(child, study.settings.finetuning, title=title, stage=stage, distillation=told)
        study.folder.checkpoint(final_name("static_child", name, seed)).save({"network": child}, {})
        return {"architecture": best.to_json(), "val_accuracy": score}

    done = study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
    return done


def union(study: Study, seed: int, name: str, choice: int, *, static: CodeCost) -> dict[str, Any]:
    """The static child with every option that the variant uses for any validation image; in a space that has none
    (`Study.upper`) the slowest that it uses for any."""
    stage = upper_stage(study, seed, name)

    def work() -> dict[str, Any]:
        graph, controller = load_candidate(study, seed, choice)
        codes = validation_codes(study, controller)
        code = static_union(codes) if study.upper == "static_union" else dearest(codes, static)
        architecture = study.space.decode(code)
        child = study.on_device(graph.extract(architecture))
        title = f"fine-tuning {study.upper.replace('_', ' ')} of {name}, seed {seed}"
        told = taught(study, graph)
        study.train_plain(child, study.settings.finetuning, title=title, stage=stage, distillation=told)
        study.folder.checkpoint(final_name(study.upper, name, seed)).save({"network": child}, {})
        return {"architecture": architecture.to_json()}

    done = study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
    return done


def upper_stage(study: Study, seed: int, name: str) -> str:
    return f"{study.upper.replace('_', '-')}-{seed}-{name}"


def random_policy(
    study: Study, seed: int, name: str, choice: int, *, routed: CodeCost, dealt: CodeCost
) -> dict[str, Any]:
    """A random architecture for every image, as fast on average as the variant with its controller."""
    stage = f"random-policy-{seed}-{name}"

    def work() -> dict[str, Any]:
        graph, controller = load_candidate(study, seed, choice)
        target = float(routed(validation_codes(study, controller)).mean())
        policy = RandomPolicy.costing(dealt, target, torch.Generator().manual_seed(study.seed_of(stage)))

        def draw(inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return policy.draw(len(inputs), generator)

        train(
            graph,
            study.task,
            study.settings.finetuning,
            title=f"fine-tuning random policy {name}, seed {seed}",
            seed=study.seed_of(stage),
            policy=Drawn(draw),
            distillation=taught(study, graph),
            device=study.device.torch_device,
            checkpoint=study.folder.checkpoint(stage),
            progress=study.progress,
        )
        chance = torch.Generator().manual_seed(study.seed_of(stage, "batch norm"))
        recalibrate(graph, study.calibration(), lambda inputs: PerInstance(draw(inputs, chance)))
        study.folder.checkpoint(final_name("random_policy", name, seed)).save({"graph": graph}, {})
        return {"logits": policy.logits.tolist()}

    done = study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
    return done
