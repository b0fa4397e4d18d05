"""The controls that every variant stands beside: same weights to start from, same table, trained on as long."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archipel.instance.code_cost import CodeCost
from archipel.instance.controls import best_static_child, candidates
from archipel.instance.random_policy import RandomPolicy
from archipel.metagraph import MetaGraph, PerInstance
from archipel.recipes.skipping.study import Study, final_name, stage_name
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.policies import Drawn
from archipel.sharing.training import Optimisation, train

__all__ = ["full_network", "random_policy", "static_child"]


def full_network(study: Study, seed: int, graph: MetaGraph, options: Optimisation) -> None:
    """The network with every block, trained on from `graph`'s weights."""
    stage = stage_name("full-network", "", seed)

    def work() -> dict[str, Any]:
        study.train_whole(graph, options, title=f"full network, seed {seed}", stage=stage)
        child = study.on_device(graph.extract(study.everything))
        study.folder.checkpoint(final_name("full_network", "", seed)).save({"network": child}, {})
        return {}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)


def static_child(
    study: Study, seed: int, name: str, graph: MetaGraph, codes: Tensor, *, budget_ms: float, static: CodeCost
) -> None:
    """The best network with some blocks left out for all images that is not slower than the variant.

    Args:
        graph: what it inherits its weights from.
        codes: what the variant picks for the validation images, `[N, D]`.
        budget_ms: the variant's mean milliseconds, with what deciding takes.
    """
    stage = stage_name("static-child", name, seed)

    def work() -> dict[str, Any]:
        chance = torch.Generator().manual_seed(study.seed_of(stage))
        count = study.controls.pool
        pool = candidates(static, budget_ms, codes, count=count - count // 2, generator=chance)
        with study.progress.bar(f"static networks as fast as {name}, seed {seed}", len(pool) + count // 2) as bar:
            best, score = best_static_child(
                graph,
                study.task,
                pool,
                calibration=lambda: study.task.calibration(1, 256, device=study.device.torch_device),
                fits=lambda child: static.of(child) <= budget_ms,
                steps=count // 2,
                seed=study.seed_of(stage),
                device=study.device.torch_device,
                advance=bar.advance,
            )
        child = study.on_device(graph.extract(best))
        study.train_plain(child, study.controls, title=f"static network for {name}, seed {seed}", stage=stage)
        study.folder.checkpoint(final_name("static_child", name, seed)).save({"network": child}, {})
        return {"architecture": best.to_json(), "val_accuracy": score, "table_ms": static.of(best)}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)


def random_policy(study: Study, seed: int, name: str, graph: MetaGraph, *, budget_ms: float, static: CodeCost) -> None:
    """Blocks left out at random for every image, as fast on average as the variant.

    Args:
        graph: trained on, with random blocks left out.
        budget_ms: as for `static_child`.
    """
    stage = stage_name("random-policy", name, seed)

    def work() -> dict[str, Any]:
        policy = RandomPolicy.costing(static, budget_ms, torch.Generator().manual_seed(study.seed_of(stage)))

        def draw(inputs: Tensor, generator: torch.Generator) -> Tensor:
            return policy.draw(len(inputs), generator)

        train(
            graph,
            study.task,
            study.controls,
            title=f"random policy for {name}, seed {seed}",
            seed=study.seed_of(stage),
            policy=Drawn(draw),
            device=study.device.torch_device,
            checkpoint=study.folder.checkpoint(stage),
            progress=study.progress,
        )
        chance = torch.Generator().manual_seed(study.seed_of(stage, "batch norm"))
        recalibrate(graph, study.calibration(), lambda inputs: PerInstance(draw(inputs, chance)))
        study.folder.checkpoint(final_name("random_policy", name, seed)).save({"graph": graph}, {})
        return {"logits": policy.logits.tolist()}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
