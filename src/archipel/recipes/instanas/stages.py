"""The three stages of InstaNAS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archipel.instance.alarms import Alarm
from archipel.instance.code_cost import CodeCost
from archipel.instance.finetuning import fine_tune
from archipel.instance.reward import WindowSchedule
from archipel.instance.search import Search
from archipel.instance.variants import choose_variants
from archipel.metagraph import MetaGraph, PerInstance
from archipel.recipes.instanas.study import Study
from archipel.sharing.evaluation import evaluate
from archipel.sharing.policies import KeepSchedule, draw_codes
from archipel.sharing.training import train

__all__ = ["final_name", "fine_tune_variant", "load_candidate", "pretrained", "search"]


def pretrained(study: Study) -> tuple[MetaGraph, dict[str, Any]]:
    """Stage 1: the meta-graph, trained on random children, and its history."""
    options = study.settings.pretraining
    graph, space = study.new_graph(), study.space
    checkpoint = study.folder.checkpoint("pretraining")
    policy = KeepSchedule(space, final=options.keep_final, start=options.keep_start, spread=options.keep_spread)

    def accuracy(keep: float) -> float:
        chance = torch.Generator().manual_seed(study.seed_of("validation", keep))
        route = lambda batch: PerInstance(draw_codes(space, len(batch.inputs), keep, chance))  # noqa: E731
        return evaluate(graph, study.task, "val", route=route, device=study.device.torch_device).score

    def validate(epoch: int) -> dict[str, float]:
        keep = policy.keep((epoch + 1) / options.epochs)
        return {"val_all_on": accuracy(1.0), "val_random": accuracy(0.5), "keep": keep}

    def work() -> dict[str, Any]:
        history = train(
            graph,
            study.task,
            options,
            title="pre-training",
            seed=study.seed_of("pretraining"),
            policy=policy,
            device=study.device.torch_device,
            checkpoint=checkpoint,
            progress=study.progress,
            validate=validate,
        )
        return {"history": history}

    already = study.folder.stage_done("pretraining") is not None
    done = study.once("pretraining", work)
    if already:
        work()  # finds every epoch done and loads the last
    return graph, done


def window_of(study: Study, cost: CodeCost) -> WindowSchedule:
    """How the latency window moves; in milliseconds, controller included."""
    at = {name: cost.of(getattr(cost, name)()) for name in ("cheapest", "first", "everything", "all_off")}
    if study.settings.search.window == "released":
        return WindowSchedule.released(
            cheapest=at["all_off"], first=at["first"], everything=at["everything"], fixed=cost.fixed
        )
    chance = torch.Generator().manual_seed(study.seed_of("window"))
    start = float(cost(draw_codes(study.space, 2048, 0.5, chance)).mean())
    return WindowSchedule.ours(cheapest=at["cheapest"], start=start)


def search(study: Study, graph: MetaGraph, cost: CodeCost, seed: int, target_ms: float | None) -> dict[str, Any]:
    """Stage 2 with one controller seed: rows, alarms, and the epochs chosen as variants."""
    stage = f"search-{seed}"

    def epoch_checkpoint(epoch: int) -> Any:
        return study.folder.checkpoint(f"{stage}-epoch-{epoch}")

    def work() -> dict[str, Any]:
        own = study.on_device(MetaGraph(study.space))
        own.load_state_dict(graph.state_dict())
        controller = study.new_controller(seed)
        running = Search(
            own,
            controller,
            study.task,
            cost,
            window_of(study, cost),
            study.settings.search,
            seed=study.seed_of(stage),
            device=study.device.torch_device,
            keep=lambda epoch: epoch_checkpoint(epoch).save({"graph": own, "controller": controller}, {}),
        )
        rows, alarms = running.run(
            checkpoint=study.folder.checkpoint(stage), progress=study.progress, title=f"search, seed {seed}"
        )
        chosen = choose_variants(
            rows,
            study.settings.finetuning.variants,
            validation_images=study.task.splits[study.settings.search.select_split],
            target_ms=target_ms,
        )
        if target_ms is not None and min(row["map_ms"] for row in rows) > target_ms:
            fastest = min(rows, key=lambda row: row["map_ms"])
            text = (
                f"no epoch of the search picks architectures of {target_ms:g} ms; the fastest picks "
                f"{fastest['map_ms']:.3g} ms: search longer, or for a higher target"
            )
            alarms.append(Alarm("target missed", "search", seed, int(fastest["epoch"]), text))
            study.progress.alarm(f"target missed, seed {seed}: {text}")
        return {"rows": rows, "alarms": [replace(a, seed=seed).to_json() for a in alarms], "chosen": chosen}

    done = study.once(stage, work)
    kept = set(done["chosen"].values())
    for epoch in range(len(done["rows"])):  # only now: the stage's result is on disk
        if epoch not in kept:
            epoch_checkpoint(epoch).path.unlink(missing_ok=True)
    return done


def load_candidate(study: Study, seed: int, epoch: int) -> tuple[MetaGraph, nn.Module]:
    """Meta-graph and controller as they stood after an epoch of a search."""
    graph, controller = study.on_device(MetaGraph(study.space)), study.new_controller(seed)
    study.folder.checkpoint(f"search-{seed}-epoch-{epoch}").load({"graph": graph, "controller": controller})
    return graph, controller


def final_name(kind: str, name: str, seed: int) -> str:
    """Checkpoint of a finished network."""
    return f"final-{kind}-{name}-{seed}"


def fine_tune_variant(study: Study, seed: int, name: str, epoch: int) -> None:
    """Stage 3 for one variant."""
    stage = f"finetuning-{seed}-{name}"

    def work() -> dict[str, Any]:
        graph, controller = load_candidate(study, seed, epoch)
        history = fine_tune(
            graph,
            controller,
            study.task,
            study.settings.finetuning,
            seed=study.seed_of(stage),
            title=f"fine-tuning {name}, seed {seed}",
            device=study.device.torch_device,
            checkpoint=study.folder.checkpoint(stage),
            progress=study.progress,
        )
        study.folder.checkpoint(final_name("instanas", name, seed)).save({"graph": graph, "controller": controller}, {})
        return {"history": history}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
