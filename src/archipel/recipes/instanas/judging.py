"""The end of a run: every finished network, and the test set read by each, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from archipel.architecture import Architecture
from archipel.cost import LatencyTable, parameters
from archipel.instance.alarms import diversity
from archipel.instance.cascade import Cascade
from archipel.instance.code_cost import CodeCost
from archipel.instance.code_madds import CodeMadds
from archipel.instance.controls import shuffled
from archipel.instance.policy import CodePolicy
from archipel.instance.random_policy import RandomPolicy
from archipel.instance.search import mode_codes
from archipel.metagraph import MetaGraph, PerInstance
from archipel.progress import Progress
from archipel.recipes.instanas.controls import beside_name, new_mobilenet, upper_stage, width_name
from archipel.recipes.instanas.stages import ALL, final_name, load_conditioned, target_of
from archipel.recipes.instanas.study import Study
from archipel.run.jobs import Job, run_jobs
from archipel.tasks.task import Batch

__all__ = ["Contestant", "contestants", "forget_details", "rank_correlation", "test"]


@dataclass
class Contestant:
    """One finished network."""

    kind: str
    name: str
    seed: int
    network: nn.Module
    """A plain network, the meta-graph, or a cascade."""
    controller: nn.Module | None = None
    chance: RandomPolicy | None = None
    """Of a random policy: what draws its architectures."""
    table_ms: float | None = None
    """Known beforehand for static networks."""
    kept: Sequence[nn.Module] = ()
    """Of a cascade: the networks, batch norm not folded, that it is made of."""
    shares: Sequence[float] = ()
    """Of the validation images, answered by each of its stages."""
    row: dict[str, Any] = field(default_factory=dict)
    """What testing found."""

    @property
    def key(self) -> str:
        return final_name(self.kind, self.name, self.seed)


def contestants(
    study: Study, table: LatencyTable, seed: int, chosen: dict[str, int], contrasted: list[str]
) -> list[Contestant]:
    """Everything that one seed left in `checkpoints/`."""
    found: list[Contestant] = []
    alone = study.cost(table, controlled=False)

    def static(kind: str, name: str, stage: str) -> None:
        architecture = Architecture.from_json(study.done(stage)["architecture"])
        child = study.on_device(study.space.build(architecture))
        found.append(Contestant(kind, name, seed, child, table_ms=alone.of(architecture)))
        study.folder.checkpoint(found[-1].key).load({"network": child})

    for name, (graph, controller) in _variants(study, seed, chosen).items():
        found.append(Contestant("instanas", name, seed, graph, controller))
        if study.settings.baselines.any:
            static("static_child", name, f"static-child-{seed}-{name}")
        if name in contrasted:
            static(study.upper, name, upper_stage(study, seed, name))
            chance = RandomPolicy(study.space, study.done(f"random-policy-{seed}-{name}")["logits"])
            graph = study.on_device(MetaGraph(study.space))
            found.append(Contestant("random_policy", name, seed, graph, chance=chance))
            study.folder.checkpoint(found[-1].key).load({"graph": graph})
    for width in study.settings.baselines.sweep:
        network = new_mobilenet(study, width)
        ms = table.beside[beside_name(width)] / table.batch
        found.append(Contestant("mobilenet_v2", width_name(width), seed, network, table_ms=ms))
        study.folder.checkpoint(found[-1].key).load({"network": found[-1].network})
    return found


def _variants(study: Study, seed: int, chosen: dict[str, int]) -> dict[str, tuple[MetaGraph, nn.Module]]:
    """Meta-graph and plain controller of each variant; of a conditioned search they have one meta-graph."""
    if study.settings.search.conditioned:
        graph = study.on_device(MetaGraph(study.space))
        final = study.folder.checkpoint(final_name("instanas", ALL, seed))
        controller = load_conditioned(study, seed, graph, final)
        return {name: (graph, controller.at(target_of(study, seed, choice))) for name, choice in chosen.items()}
    found: dict[str, tuple[MetaGraph, nn.Module]] = {}
    for name in chosen:
        graph, plain = study.on_device(MetaGraph(study.space)), study.new_controller(seed)
        study.folder.checkpoint(final_name("instanas", name, seed)).load({"graph": graph, "controller": plain})
        found[name] = graph, plain
    return found


def test(
    study: Study,
    everyone: list[Contestant],
    *,
    routed: CodeCost,
    static: CodeCost,
    workers: int,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Tensor]]]:
    """Every network over the test set once, networks side by side.

    Args:
        workers: processes.

    Returns:
        Rows by contestant's key; and by the keys of the first seed's variants, per image: `index`, `label`,
        `predicted`, `latency_ms`, and `codes` `[N, D]` and `probabilities` `[N, D]`, or of early exits `stage`.
    """
    count = CodeMadds(study.space, study.task.spec.input_shape)
    first = min(one.seed for one in everyone)
    shown = [one for one in everyone if one.kind in ("instanas", "early_exit") and one.seed == first]

    def judged(one: Contestant, progress: Progress) -> None:
        def work() -> dict[str, Any]:
            judge = _Judge(study, one, routed, static, count)
            loader = study.task.loader("test", 256, device=study.device.torch_device)
            with torch.no_grad(), progress.bar(f"testing {one.key}", len(loader)) as bar:
                for batch in loader:
                    judge.see(batch)
                    bar.advance()
            if details := judge.details(pictured=one in shown):
                study.folder.write_tensors(_details_file(one.key), details)
            return {"row": judge.row()}

        study.once(f"test-{one.key}", work)

    jobs = [Job(f"test of {one.key}", partial(judged, one), _passes(study, one)) for one in everyone]
    total = sum(job.weight for job in jobs)
    run_jobs(jobs, workers=workers, progress=study.progress, title="test", total=total)
    rows = {one.key: study.done(f"test-{one.key}")["row"] for one in everyone}
    details = {
        one.key: study.folder.read_tensors(_details_file(one.key))[0]
        for one in everyone
        if (Path(study.folder.path) / _details_file(one.key)).exists()
    }
    hard = {
        seed: details[final_name("mobilenet_v2", width_name(max(widths)), seed)]["loss"]
        for seed in {one.seed for one in everyone}
        if (widths := study.settings.baselines.sweep)
    }
    for one in everyone:
        if one.seed in hard and one.kind != "mobilenet_cascade" and "latency_ms" in details.get(one.key, {}):
            rows[one.key] |= {"difficulty": rank_correlation(details[one.key]["latency_ms"], hard[one.seed])}
    return rows, {one.key: details[one.key] for one in shown}


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's ρ of two figures of the same images, `[N]` each; None where one is the same for all."""
    from scipy.stats import spearmanr

    if a.unique().numel() < 2 or b.unique().numel() < 2:
        return None
    return float(spearmanr(a.numpy(), b.numpy()).statistic)


def forget_details(study: Study) -> None:
    """Remove what `test` keeps on the way, once the run's files are written."""
    for path in Path(study.folder.path).glob(_details_file("*")):
        path.unlink()


def _passes(study: Study, one: Contestant) -> float:
    return 2.0 + study.settings.baselines.shuffles if one.controller is not None else 1.0


def _details_file(key: str) -> str:
    return f"checkpoints/test-{key}.safetensors"


class _Judge:
    """Adds up what one network does with the test set."""

    def __init__(self, study: Study, one: Contestant, routed: CodeCost, static: CodeCost, madds: CodeMadds) -> None:
        self.one, self.routed, self.static, self.madds, self.study = one, routed, static, madds, study
        self.policy = CodePolicy(study.space)
        self.metric = study.task.metric()
        self.reshuffled = study.task.metric()
        self.shuffles = study.settings.baselines.shuffles
        self.chance = torch.Generator().manual_seed(study.seed_of("test", one.key))
        self.seen: dict[str, list[Tensor]] = {}
        one.network.eval()

    def see(self, batch: Batch) -> None:
        one = self.one
        if one.controller is not None:
            codes = mode_codes(one.controller, self.policy, batch.inputs)
            output = one.network(batch.inputs, PerInstance(codes))
            for _ in range(self.shuffles):
                dealt = PerInstance(shuffled(codes, self.chance))
                self.reshuffled.update(one.network(batch.inputs, dealt), batch)
            probabilities = self.policy.probabilities(one.controller(batch.inputs))
            self._note(batch, output, codes=codes, probabilities=probabilities)
        elif isinstance(one.network, Cascade):
            output, stage, ms = one.network.answer(batch.inputs)
            self._note(batch, output, stage=stage, latency_ms=ms)
            every = one.network.every_answer(batch.inputs)
            for _ in range(self.shuffles):
                others = stage[torch.randperm(len(stage), generator=self.chance)]
                self.reshuffled.update(every[others, torch.arange(len(stage))], batch)
        elif one.chance is not None:
            codes = one.chance.draw(len(batch.inputs), self.chance)
            output = one.network(batch.inputs, PerInstance(codes))
            self.seen.setdefault("codes", []).append(codes)
        else:
            output = one.network(batch.inputs)
            self.seen.setdefault("loss", []).append(cross_entropy(output, batch.targets, reduction="none").cpu())
        self.metric.update(output, batch)

    def _note(self, batch: Batch, output: Tensor, **more: Tensor) -> None:
        noted = {"index": batch.index, "label": batch.targets, "predicted": output.argmax(1), **more}
        for name, tensor in noted.items():
            self.seen.setdefault(name, []).append(tensor.cpu())

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"accuracy": self.metric.compute()["score"], "table_ms": self.one.table_ms}
        codes = torch.cat(self.seen["codes"]) if "codes" in self.seen else None
        if codes is not None:
            cost = self.routed if self.one.controller is not None else self.static
            latency = cost(codes)
            spread = diversity(codes)
            row |= {
                "table_ms": float(latency.mean()),
                "distinct_share": spread.distinct_share,
                "effective_number": spread.effective,
                "varying_bits": spread.varying_bits,
                "latency_spread": float(latency.max() / latency.min()),
            }
        if "stage" in self.seen:
            stage, ms = torch.cat(self.seen["stage"]), torch.cat(self.seen["latency_ms"])
            row |= {"table_ms": float(ms.mean()), "sent_on": float((stage > 0).double().mean())}
            row["latency_spread"] = float(ms.max() / ms.min())
            row["effective_number"] = diversity(stage[:, None]).effective
        if self.shuffles and (self.one.controller is not None or self.one.kept):
            row["shuffled_accuracy"] = self.reshuffled.compute()["score"]
        return row | self._complexity(codes)

    def _complexity(self, codes: Tensor | None) -> dict[str, Any]:
        """Multiply-adds of the mean image, and the parameters that have to be kept, controller included."""
        network = self.one.network
        if isinstance(network, Cascade):
            count, stage = len(network.costs_ms), torch.cat(self.seen["stage"])
            spent = [self.study.complexity(network.upto(k))["madds"] for k in range(count)]
            shares = stage.bincount(minlength=count).double() / len(stage)
            return {
                "madds": float((shares * torch.tensor(spent, dtype=torch.float64)).sum()),
                "parameters": sum(parameters(one) for one in self.one.kept),
            }
        if codes is None:
            return self.study.complexity(self.one.network)
        controller = self.study.complexity(self.one.controller) if self.one.controller else {}
        return {
            "madds": float(self.madds(codes).double().mean()) + controller.get("madds", 0.0),
            "parameters": sum(p.numel() for p in self.one.network.parameters()) + controller.get("parameters", 0),
        }

    def details(self, *, pictured: bool) -> dict[str, Tensor]:
        """What is kept of every image: what a network that decides by image spends on it (with all else of its row
        where the report shows single images), how wrong MobileNetV2 is."""
        joined = {name: torch.cat(parts) for name, parts in self.seen.items()}
        if self.one.controller is not None:
            latency = {"latency_ms": self.routed(joined["codes"])}
            return {**joined, **latency} if pictured else latency
        if self.one.kept:
            return joined if pictured else {"latency_ms": joined["latency_ms"]}
        return {"loss": joined["loss"]} if self.one.kind == "mobilenet_v2" else {}
