"""The end of a run: every finished network timed on the devices that are here, then the test set read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from archipel.architecture import Architecture
from archipel.cost import measure_beside
from archipel.progress import Progress
from archipel.recipes.proxylessnas.plan import Plan
from archipel.recipes.proxylessnas.stages import Aim, Study, final_name, new_mobilenet
from archipel.run.jobs import Job, run_jobs
from archipel.sharing.evaluation import evaluate

__all__ = ["Contestant", "contestants", "test", "time_all"]

KINDS = ("proxylessnas", "random_architecture", "mobilenet_v2")


@dataclass(frozen=True)
class Contestant:
    """One finished network."""

    kind: str
    aim: Aim
    budget: int
    """Its place among the target's."""
    seed: int
    row: dict[str, Any]
    """What its training left: `architecture` or `width`, `val_accuracy`, `table_ms`."""

    @property
    def key(self) -> str:
        return final_name(self.kind, self.aim, self.budget, self.seed)

    @property
    def architecture(self) -> Architecture | None:
        """None for a network outside the space."""
        known = self.row.get("architecture")
        return None if known is None else Architecture.from_json(known)

    def network(self, study: Study) -> nn.Module:
        """With its trained weights."""
        architecture = self.architecture
        if architecture is None:
            made = new_mobilenet(study, self.row["width"])
        else:
            made = study.on_device(study.space.build(architecture))
        study.folder.checkpoint(self.key).load({"network": made})
        return made


def contestants(plan: Plan) -> list[Contestant]:
    """Everything that a run left in `checkpoints/`."""
    found = []
    for aim, budget, seed in plan.places():
        for kind in KINDS:
            done = plan.study.folder.stage_done(final_name(kind, aim, budget, seed).removeprefix("final-"))
            if done is not None:
                if kind == "mobilenet_v2":
                    done[f"table_{aim.target.suffix}"] = plan.widths[aim.target.label, budget][1]
                found.append(Contestant(kind, aim, budget, seed, done))
    return found


def time_all(study: Study, everyone: Sequence[Contestant], aims: Sequence[Aim]) -> dict[str, dict[str, float]]:
    """Contestant's key → target's label → milliseconds an image, in the time of that target's table: on the target it
    was made for, and the found networks of the middle budgets on all others. By turns in one session a target.
    Published tables are asked, not measured; where multiply-adds are counted there is nothing to ask."""
    times: dict[str, dict[str, float]] = {one.key: {} for one in everyone}
    for aim in aims:
        label = aim.target.label
        own = [one for one in everyone if one.aim is aim or is_specialised(one)]
        if aim.target.unit != "ms":
            continue
        if aim.table is None:
            for one in own:
                if one.architecture is not None:
                    times[one.key][label] = aim.cost.of(one.architecture)
            continue
        assert aim.target.device is not None
        networks = {one.key: one.network(study) for one in own}
        ms = measure_beside(aim.table, aim.target.device, networks, seed=study.seed_of("timing", label))
        for key, value in ms.items():
            times[key][label] = value / aim.target.batch
    return times


def is_specialised(one: Contestant) -> bool:
    """Whether a network stands for its target in the cross table."""
    return one.kind == "proxylessnas" and one.budget == len(one.aim.budgets) // 2


def test(study: Study, everyone: Sequence[Contestant], *, workers: int) -> dict[str, dict[str, Any]]:
    """Every network over the test set once, networks side by side: rows by key."""

    def judged(one: Contestant, progress: Progress) -> None:
        def work() -> dict[str, Any]:
            network = one.network(study)
            with progress.bar(f"testing {one.key}", 1) as bar:
                found = evaluate(network, study.task, "test", device=study.device.torch_device)
                bar.advance()
            return {"row": {"accuracy": found.score, **study.complexity(network)}}

        study.once(f"test-{one.key}", work)

    jobs = [Job(f"test of {one.key}", partial(judged, one)) for one in everyone]
    run_jobs(jobs, workers=workers, progress=study.progress, title="test", total=float(len(jobs)))
    return {one.key: study.done(f"test-{one.key}")["row"] for one in everyone}
