"""The three stages of InstaNAS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from archipel.instance.alarms import Alarm, diversity
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.finetuning import fine_tune
from archipel.instance.policy import CodePolicy
from archipel.instance.reward import WindowSchedule
from archipel.instance.search import Search, SearchRow, mode_codes
from archipel.instance.variants import choose_variants
from archipel.metagraph import MetaGraph, PerInstance, Route
from archipel.recipes.instanas.study import Study
from archipel.run.checkpoint import Checkpoint
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.distillation import Distillation
from archipel.sharing.evaluation import evaluate
from archipel.sharing.inheritance import inherit
from archipel.sharing.policies import Fixed, KeepSchedule, PathPolicy, StepPolicy, Uniform, draw_codes
from archipel.sharing.sandwich import Sandwich
from archipel.sharing.training import train
from archipel.tasks.task import Batch

__all__ = [
    "ALL",
    "final_name",
    "fine_tune_all",
    "fine_tune_variant",
    "load_candidate",
    "load_conditioned",
    "pretrained",
    "search",
    "target_of",
    "taught",
]

ALL = "all"
"""Stands for a variant's name where one network is all of a seed's variants."""
GRID = 17
"""Targets at which a conditioned controller is looked at."""


def pretrained(study: Study) -> tuple[MetaGraph, dict[str, Any]]:
    """Stage 1: the meta-graph, trained along its largest child if asked, then on random children; and its history."""
    options = study.settings.pretraining
    graph, space = study.new_graph(), study.space
    checkpoint, first = study.folder.checkpoint("pretraining"), study.folder.checkpoint("reference")
    schedule = KeepSchedule(space, final=options.keep_final, start=options.keep_start, spread=options.keep_spread)
    # Where sizes are chosen, a child a sample leaves batch norm one or two samples to learn from.
    sized = any(choice.kind == "value" for choice in space.choices)
    drawn: PathPolicy = Uniform(space) if sized else schedule
    policy: PathPolicy | StepPolicy = drawn
    if options.sandwich:
        policy = Sandwich(study.ends.largest, study.ends.smallest, drawn, between=options.sandwich)

    def accuracy(keep: float) -> float:
        chance = torch.Generator().manual_seed(study.seed_of("validation", keep))

        def along(inputs: Tensor) -> PerInstance:
            return PerInstance(draw_codes(space, len(inputs), keep, chance))

        if options.sandwich or sized:  # the running statistics are not of such a batch
            recalibrate(graph, study.calibration(), along)
        route = lambda batch: along(batch.inputs)  # noqa: E731
        return evaluate(graph, study.task, "val", route=route, device=study.device.torch_device).score

    def validate(epoch: int) -> dict[str, float]:
        keep = schedule.keep((epoch + 1) / options.epochs)
        return {"val_all_on": accuracy(1.0), "val_random": accuracy(0.5), "keep": keep}

    def along_largest() -> list[dict[str, float]]:
        history = train(
            graph,
            study.task,
            replace(options, epochs=study.reference_epochs),
            title="largest child",
            seed=study.seed_of("pretraining"),
            policy=Fixed(study.ends.largest),
            device=study.device.torch_device,
            checkpoint=first,
            progress=study.progress,
        )
        inherit(graph, study.ends.largest)
        return history

    def along_many() -> list[dict[str, float]]:
        return train(
            graph,
            study.task,
            options,
            title="pre-training",
            seed=study.seed_of("pretraining"),
            policy=policy,
            distillation=Distillation(options.distillation),
            device=study.device.torch_device,
            checkpoint=checkpoint,
            progress=study.progress,
            validate=validate,
        )

    if study.folder.stage_done("pretraining") is None:
        before = along_largest() if study.reference_epochs else []
        done = study.once("pretraining", lambda: {"reference": before, "history": along_many()})
    else:
        done = study.done("pretraining")
        along_many()  # finds every epoch done and loads the last
    first.path.unlink(missing_ok=True)
    return graph, done


def window_of(study: Study, cost: CodeCost) -> WindowSchedule:
    """How the latency window moves; in milliseconds, controller included."""
    at = {name: cost.of(getattr(cost, name)()) for name in ("cheapest", "first", "everything", "all_off")}
    if study.settings.search.window == "released":
        return WindowSchedule.released(
            cheapest=at["all_off"], first=at["first"], everything=at["everything"], fixed=cost.fixed
        )
    return WindowSchedule.ours(cheapest=at["cheapest"], start=study.random_ms(cost))


def search(study: Study, graph: MetaGraph, cost: CodeCost, seed: int, target_ms: float | None) -> dict[str, Any]:
    """Stage 2 with one controller seed: rows, alarms, and what was chosen as variants: of `choices`, one of which is an
    epoch, or where the controller is conditioned what the last epoch's controller does with one target."""
    stage, options = f"search-{seed}", study.settings.search
    last = options.epochs - 1

    def work() -> dict[str, Any]:
        own = study.on_device(MetaGraph(study.space))
        own.load_state_dict(graph.state_dict())
        targets = study.targets(cost) if options.conditioned else None
        controller = study.new_conditioned(seed, targets) if targets else study.new_controller(seed)

        def keep(epoch: int) -> None:
            if targets is None or epoch == last:
                _checkpoint(study, seed, epoch).save({"graph": own, "controller": controller}, {})

        running = Search(
            own,
            controller,
            study.task,
            cost,
            window_of(study, cost),
            options,
            seed=study.seed_of(stage),
            targets=targets,
            device=study.device.torch_device,
            keep=keep,
        )
        rows, alarms = running.run(
            checkpoint=study.folder.checkpoint(stage), progress=study.progress, title=f"search, seed {seed}"
        )
        if isinstance(controller, ConditionedController):
            assert targets is not None
            choices = asked_for(study, own, controller, cost, targets)
        else:
            choices = rows
        chosen = choose_variants(
            choices,
            study.settings.finetuning.variants,
            validation_images=study.task.splits[options.select_split],
            target_ms=target_ms,
        )
        if target_ms is not None and min(row["map_ms"] for row in choices) > target_ms:
            fastest = min(choices, key=lambda row: row["map_ms"])
            text = (
                f"nothing in the search picks architectures of {target_ms:g} ms; the fastest picks take "
                f"{fastest['map_ms']:.3g} ms: search longer, or for a higher target"
            )
            epoch = last if targets else int(fastest["epoch"])
            alarms.append(Alarm("target missed", "search", seed, epoch, text))
            study.progress.alarm(f"target missed, seed {seed}: {text}")
        asked = {"choices": choices} if targets else {}
        return {"rows": rows, "alarms": [replace(a, seed=seed).to_json() for a in alarms], "chosen": chosen, **asked}

    done = study.once(stage, work)
    kept = {last} if options.conditioned else set(done["chosen"].values())
    for epoch in range(len(done["rows"])):  # only now: the stage's result is on disk
        if epoch not in kept:
            _checkpoint(study, seed, epoch).path.unlink(missing_ok=True)
    return done


def asked_for(
    study: Study, graph: MetaGraph, controller: ConditionedController, cost: CodeCost, targets: Targets
) -> list[SearchRow]:
    """What a conditioned controller picks, and how right that is, on a grid of targets; `epoch` is the row's number."""
    grid = enumerate(targets.grid(GRID))
    return [{"epoch": i, "target_ms": ms, **_picked(study, graph, controller.at(ms), cost)} for i, ms in grid]


def _picked(study: Study, graph: MetaGraph, controller: nn.Module, cost: CodeCost) -> SearchRow:
    policy, codes = CodePolicy(study.space), []

    def route(batch: Batch) -> Route:
        codes.append(mode_codes(controller, policy, batch.inputs))
        return PerInstance(codes[-1])

    split = study.settings.search.select_split
    score = evaluate(graph, study.task, split, route=route, device=study.device.torch_device).score
    every = torch.cat(codes)
    return {"val_accuracy": score, "map_ms": float(cost(every).mean()), "distinct": diversity(every).distinct}


def _checkpoint(study: Study, seed: int, epoch: int) -> Any:
    return study.folder.checkpoint(f"search-{seed}-epoch-{epoch}")


def load_candidate(study: Study, seed: int, choice: int) -> tuple[MetaGraph, nn.Module]:
    """Meta-graph and plain controller of one of a search's choices: as they stood after that epoch, or at the end of a
    conditioned search, for that target."""
    graph = study.on_device(MetaGraph(study.space))
    if not study.settings.search.conditioned:
        plain = study.new_controller(seed)
        _checkpoint(study, seed, choice).load({"graph": graph, "controller": plain})
        return graph, plain
    conditioned = load_conditioned(study, seed, graph, _checkpoint(study, seed, study.settings.search.epochs - 1))
    return graph, conditioned.at(target_of(study, seed, choice))


def load_conditioned(study: Study, seed: int, graph: MetaGraph, checkpoint: Checkpoint) -> ConditionedController:
    controller = study.new_conditioned(seed, Targets(1.0, 2.0))  # the range is in the checkpoint
    checkpoint.load({"graph": graph, "controller": controller})
    return controller


def target_of(study: Study, seed: int, choice: int) -> float:
    """Milliseconds that a conditioned search's choice is asked for."""
    target: float = study.done(f"search-{seed}")["choices"][choice]["target_ms"]
    return target


def final_name(kind: str, name: str, seed: int) -> str:
    """Checkpoint of a finished network."""
    return f"final-{kind}-{name}-{seed}"


def fine_tune_variant(study: Study, seed: int, name: str, choice: int) -> None:
    """Stage 3 for one variant."""
    graph, controller = load_candidate(study, seed, choice)
    _fine_tune(study, seed, name, graph, controller, None)


def fine_tune_all(study: Study, seed: int) -> None:
    """Stage 3 of a conditioned search, for all its variants at once: every image is asked for something else."""
    graph = study.on_device(MetaGraph(study.space))
    last = _checkpoint(study, seed, study.settings.search.epochs - 1)
    controller = load_conditioned(study, seed, graph, last)
    low, high = controller.limits.tolist()
    _fine_tune(study, seed, ALL, graph, controller, Targets(low, high))


def _fine_tune(
    study: Study, seed: int, name: str, graph: MetaGraph, controller: nn.Module, targets: Targets | None
) -> None:
    stage = f"finetuning-{seed}-{name}"

    def work() -> dict[str, Any]:
        history = fine_tune(
            graph,
            controller,
            study.task,
            study.settings.finetuning,
            seed=study.seed_of(stage),
            title=f"fine-tuning {name}, seed {seed}",
            targets=targets,
            distillation=taught(study, graph),
            device=study.device.torch_device,
            checkpoint=study.folder.checkpoint(stage),
            progress=study.progress,
        )
        study.folder.checkpoint(final_name("instanas", name, seed)).save({"graph": graph, "controller": controller}, {})
        return {"history": history}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)


def taught(study: Study, graph: MetaGraph) -> Distillation | None:
    """Soft targets of the meta-graph's largest child as it is before the fine-tuning."""
    weight = study.settings.finetuning.distillation
    if not weight:
        return None
    teacher = graph.extract(study.ends.largest)
    recalibrate(teacher, study.calibration())
    return Distillation(weight, teacher)
