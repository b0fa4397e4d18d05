"""The end of a run: every finished network timed side by side, then the test set read by each, once.

Letters: `N` images, `D` code columns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.cost import measure
from archipel.instance.alarms import diversity
from archipel.instance.block_gates import GatedNetwork
from archipel.instance.code_cost import CodeCost
from archipel.instance.code_madds import CodeMadds
from archipel.instance.controls import shuffled
from archipel.instance.network import InstanceNetwork
from archipel.instance.random_policy import RandomPolicy
from archipel.metagraph import MetaGraph, PerInstance
from archipel.progress import Progress
from archipel.recipes.skipping.study import Study, final_name, stage_name
from archipel.run.jobs import Job, run_jobs
from archipel.tasks.task import Batch

__all__ = ["Contestant", "answer", "controls_of", "forget_details", "test", "time_all"]


@dataclass(frozen=True)
class Contestant:
    """One finished network."""

    kind: str
    name: str
    seed: int
    network: nn.Module
    """A plain network; the meta-graph of a random policy; or an `InstanceNetwork` or `GatedNetwork`."""
    decider: nn.Module | None = None
    """What picks the blocks, as it was trained, of one that picks them."""
    chance: RandomPolicy | None = None
    """Of a random policy: what draws its architectures."""
    table_ms: float | None = None
    """Known beforehand for static networks."""

    @property
    def key(self) -> str:
        return final_name(self.kind, self.name, self.seed)


def controls_of(study: Study, seed: int, names: Sequence[str], static: CodeCost) -> list[Contestant]:
    """The controls that one seed left in `checkpoints/`, those of each variant and the full network."""
    found = []
    for name in names:
        done = study.done(stage_name("static-child", name, seed))
        child = study.on_device(study.space.build(Architecture.from_json(done["architecture"])))
        found.append(Contestant("static_child", name, seed, child, table_ms=done["table_ms"]))
        study.folder.checkpoint(found[-1].key).load({"network": child})
        graph = study.on_device(MetaGraph(study.space))
        chance = RandomPolicy(study.space, study.done(stage_name("random-policy", name, seed))["logits"])
        found.append(Contestant("random_policy", name, seed, graph, chance=chance))
        study.folder.checkpoint(found[-1].key).load({"graph": graph})
    whole = study.on_device(study.space.build(study.everything))
    found.append(Contestant("full_network", "", seed, whole, table_ms=static.of(study.everything)))
    study.folder.checkpoint(found[-1].key).load({"network": whole})
    return found


@torch.no_grad()
def answer(
    network: InstanceNetwork | GatedNetwork, inputs: Tensor, noise: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, the blocks that each image ran (codes `[N, D]`), and how likely each was to run (`[N, D]`).

    Args:
        noise: samples the gates; None takes what is more probable.
    """
    if isinstance(network, GatedNetwork):
        output, decisions = network.decided(inputs, noise)
        return output, decisions.codes(), decisions.probabilities()
    logits = network.controller(inputs)
    codes = network.policy.mode(logits)
    return network.graph(inputs, PerInstance(codes)), codes, network.policy.probabilities(logits)


def time_all(study: Study, everyone: Sequence[Contestant]) -> dict[str, Any]:
    """Wall-clock milliseconds an image, with what deciding takes: at batch 1 and at the throughput batch.

    Validation images, batch norm folded, everybody in interleaved rounds of one session. At batch 1 a policy's network
    runs the child of each image, extracted before, and gates decide on the way; random policies are not timed.
    """
    options = study.settings.latency
    images = next(iter(study.task.loader("val", options.throughput_batch, device=study.device.torch_device))).inputs
    singles = [images[i : i + 1] for i in range(min(options.images, len(images)))]
    calls: dict[str, Callable[[], object]] = {}
    batched: dict[str, Callable[[], object]] = {}

    def each(network: nn.Module) -> None:
        for image in singles:
            network(image)

    for one in everyone:
        if one.kind != "random_policy":
            ready = one.network if one.decider is not None else study.device.prepare(one.network)
            calls[one.key] = partial(each, ready)
            batched[one.key] = partial(ready, images)
    chance, progress = random.Random(study.seed_of("timing")), study.progress
    with torch.no_grad():
        alone = measure(
            calls,
            study.device,
            rounds=options.final_rounds,
            rng=chance,
            progress=progress,
            title="timing at batch 1",
        )
        together = measure(
            batched,
            study.device,
            rounds=max(3, options.final_rounds // 2),
            rng=chance,
            progress=progress,
            title=f"timing at batch {len(images)}",
        )
    return {
        key: {"measured_ms": alone[key].ms / len(singles), "batch_ms": together[key].ms / len(images)} for key in calls
    }


def test(
    study: Study, everyone: Sequence[Contestant], *, decided: CodeCost, static: CodeCost, workers: int
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Tensor]]]:
    """Every network over the test set once, networks side by side.

    Returns:
        Rows by contestant's key; and for the first seed's variants, per image: `index`, `label`, `predicted`,
        `codes` `[N, D]`, `latency_ms`, `probabilities` `[N, D]`.
    """
    madds = CodeMadds(study.space, study.task.spec.input_shape)
    first = min(one.seed for one in everyone)
    shown = [one for one in everyone if one.decider is not None and one.seed == first]

    def judged(one: Contestant, progress: Progress) -> None:
        def work() -> dict[str, Any]:
            judge = _Judge(study, one, decided, static, madds)
            loader = study.task.loader("test", 256, device=study.device.torch_device)
            with torch.no_grad(), progress.bar(f"testing {one.key}", len(loader)) as bar:
                for batch in loader:
                    judge.see(batch)
                    bar.advance()
            if one in shown:
                study.folder.write_tensors(_details_file(one.key), judge.details())
            return {"row": judge.row()}

        study.once(f"test-{one.key}", work)

    jobs = [Job(f"test of {one.key}", partial(judged, one)) for one in everyone]
    run_jobs(jobs, workers=workers, progress=study.progress, title="test", total=float(len(jobs)))
    rows = {one.key: study.done(f"test-{one.key}")["row"] for one in everyone}
    return rows, {one.name: study.folder.read_tensors(_details_file(one.key))[0] for one in shown}


def forget_details(study: Study) -> None:
    """Remove what `test` keeps on the way, once the run's files are written."""
    for path in Path(study.folder.path).glob(_details_file("*")):
        path.unlink()


def _details_file(key: str) -> str:
    return f"checkpoints/test-{key}.safetensors"


class _Judge:
    """Adds up what one network does with the test set."""

    def __init__(self, study: Study, one: Contestant, decided: CodeCost, static: CodeCost, madds: CodeMadds) -> None:
        self.study, self.one, self.madds = study, one, madds
        self.cost = decided if one.decider is not None else static
        self.metric, self.reshuffled, self.other = (study.task.metric() for _ in range(3))
        self.chance = torch.Generator().manual_seed(study.seed_of("test", one.key))
        self.seen: dict[str, list[Tensor]] = {}
        one.network.eval()

    @property
    def ways(self) -> tuple[str, str]:
        """How gates are read in the result, and the other way."""
        noisy = isinstance(self.one.network, GatedNetwork) and self.one.network.generator is not None
        return ("sampled", "argmax") if noisy else ("argmax", "sampled")

    def see(self, batch: Batch) -> None:
        network = self.one.network
        if isinstance(network, InstanceNetwork | GatedNetwork):
            own, other = (self.chance if way == "sampled" else None for way in self.ways)
            output, codes, probabilities = answer(network, batch.inputs, own)
            for _ in range(self.study.controls.shuffles):
                dealt = PerInstance(shuffled(codes, self.chance))
                self.reshuffled.update(network.graph(batch.inputs, dealt), batch)
            if isinstance(network, GatedNetwork):
                scores, others, _ = answer(network, batch.inputs, other)
                self.other.update(scores, batch)
                self._note(other_codes=others)
            self._note(
                index=batch.index, label=batch.targets, predicted=output.argmax(1), codes=codes,
                probabilities=probabilities,
            )  # fmt: skip
        elif self.one.chance is not None:
            codes = self.one.chance.draw(len(batch.inputs), self.chance)
            output = network(batch.inputs, PerInstance(codes))
            self._note(codes=codes)
        else:
            output = network(batch.inputs)
        self.metric.update(output, batch)

    def _note(self, **noted: Tensor) -> None:
        for name, tensor in noted.items():
            self.seen.setdefault(name, []).append(tensor.cpu())

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"accuracy": self.metric.compute()["score"], "table_ms": self.one.table_ms}
        if "codes" not in self.seen:
            return row | self.study.complexity(self.one.network)
        codes = torch.cat(self.seen["codes"])
        latency, spread = self.cost(codes), diversity(codes)
        kept = codes.sum(1).double()
        row |= {
            "table_ms": float(latency.mean()),
            "kept": float(kept.mean()),
            "kept_std": float(kept.std()),
            "distinct_share": spread.distinct_share,
            "effective_number": spread.effective,
            "varying_bits": spread.varying_bits,
            "latency_spread": float(latency.max() / latency.min()),
        }
        if self.one.decider is not None:
            row["shuffled_accuracy"] = self.reshuffled.compute()["score"]
        if "other_codes" in self.seen:
            way, other = self.ways
            row |= {
                f"{way}_accuracy": row["accuracy"],
                f"{way}_ms": row["table_ms"],
                f"{other}_accuracy": self.other.compute()["score"],
                f"{other}_ms": float(self.cost(torch.cat(self.seen["other_codes"])).mean()),
            }
        return row | self._complexity(codes)

    def _complexity(self, codes: Tensor) -> dict[str, Any]:
        """Multiply-adds of the mean image, and the parameters that have to be kept, those of the decider too."""
        decider = self.study.complexity(self.one.decider) if self.one.decider else {}
        with torch.device("meta"):
            whole = sum(p.numel() for p in MetaGraph(self.study.space).parameters())
        return {
            "madds": float(self.madds(codes).double().mean()) + decider.get("madds", 0.0),
            "parameters": whole + decider.get("parameters", 0),
        }

    def details(self) -> dict[str, Tensor]:
        names = ("index", "label", "predicted", "codes", "probabilities")
        joined = {name: torch.cat(self.seen[name]) for name in names}
        return {**joined, "latency_ms": self.cost(joined["codes"])}
