"""What one ProxylessNAS run does: warm-up, search, derivation, retraining."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.cost import measure_beside
from archipel.cost.additive import AdditiveCost
from archipel.cost.latency_table import LatencyTable
from archipel.errors import ArchipelError, OptionError
from archipel.metagraph import MetaGraph, Single
from archipel.recipes import study
from archipel.recipes.proxylessnas.settings import Settings
from archipel.recipes.proxylessnas.targets import Target
from archipel.run.checkpoint import Checkpoint
from archipel.sharing.alternating import alternate
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.binarisation import ArchitectureStep, Sampled, adam
from archipel.sharing.derivation import argmax, best_under, pareto, random_under
from archipel.sharing.evaluation import evaluate
from archipel.sharing.gates import Gates
from archipel.sharing.inheritance import inherit, widest_path
from archipel.sharing.penalty import make_penalty
from archipel.sharing.policies import Fixed, PathPolicy
from archipel.sharing.training import train
from archipel.space import Space
from archipel.spaces import mobilenet_v2
from archipel.tasks import Classification

__all__ = [
    "Aim", "Study", "budgets_of", "final_name", "mobilenet_for", "mobilenets", "retrain", "search", "warm_up",
]  # fmt: skip

SHOWN = 200
"""Most points of a Pareto set that are kept for the report."""


@dataclass
class Study(study.Study):
    """One run."""

    settings: Settings

    def gates(self, seed: int) -> Gates:
        chance = torch.Generator().manual_seed(self.seed_of("gates", seed))
        return Gates(self.space, generator=chance)

    def new_graph(self, seed: int) -> MetaGraph:
        torch.manual_seed(self.seed_of("weights", seed))
        graph: MetaGraph = self.on_device(MetaGraph(self.space))
        return graph


@dataclass(frozen=True)
class Aim:
    """A target with what architectures cost there, and the budgets networks are derived for, in its unit."""

    target: Target
    table: LatencyTable | None
    """None: published, or counted."""
    cost: AdditiveCost
    budgets: tuple[float, ...]
    """Ascending."""
    level: float
    """Budgets hold for the upper end of the interval at this level."""

    @property
    def reference(self) -> float:
        """What the search aims at: the middle budget."""
        return self.budgets[len(self.budgets) // 2]

    @property
    def sure(self) -> AdditiveCost:
        """The upper end of the interval: below a budget there means below it when measured."""
        return self.cost.upper(self.level)

    def said(self, budget: float) -> str:
        """A budget with its unit, for a person."""
        return f"{budget:.3g} ms" if self.target.unit == "ms" else f"{budget / 1e6:.3g} M MAdds"


def budgets_of(cost: AdditiveCost, shares: tuple[float, ...], asked: tuple[float, ...]) -> tuple[float, ...]:
    """Budgets in the cost's unit: those asked for, or shares of the space's own range.

    Args:
        cost: the upper end of the interval, which is what has to fit.

    Raises:
        OptionError: one is below the cheapest architecture.
    """
    low, high = cost.of(cost.cheapest()), cost.of(cost.dearest())
    if asked:
        for budget in asked:
            if budget < low:
                raise OptionError(
                    f"budget {budget:g} {cost.unit} is below the cheapest architecture on '{cost.name}', {low:.4g} "
                    f"{cost.unit} an image with its interval; give at least {low * 1.001:.4g}"
                )
        return tuple(sorted(asked))
    return tuple(sorted(low + share * (high - low) for share in shares))


def warm_up(study: Study, seed: int) -> MetaGraph:
    """The meta-graph after weight steps alone: along one path, which the other options inherit from, then along paths
    of the untouched gates."""
    stage = f"warm-up-{seed}"
    graph, options = study.new_graph(seed), study.settings.warming
    checkpoint, first = study.folder.checkpoint(stage), study.folder.checkpoint(f"reference-{seed}")

    def learn(policy: PathPolicy, epochs: int, title: str, kept: Checkpoint) -> list[dict[str, float]]:
        return train(
            graph,
            study.task,
            replace(options, epochs=epochs),
            title=f"{title}, seed {seed}",
            seed=study.seed_of(stage),
            policy=policy,
            device=study.device.torch_device,
            checkpoint=kept,
            progress=study.progress,
        )

    def along_paths() -> list[dict[str, float]]:
        policy = Sampled(study.gates(seed), study.settings.alternation.paths)
        return learn(policy, options.epochs, "warm-up", checkpoint)

    def work() -> dict[str, Any]:
        before = []
        if options.reference:
            path = widest_path(graph)
            before = learn(Fixed(path), options.reference, "reference path", first)
            inherit(graph, path)
        history = along_paths()
        if not options.epochs:
            checkpoint.save({"model": graph}, {"history": []})
        return {"reference": before, "history": history}

    if study.folder.stage_done(stage) is None:
        study.once(stage, work)
    elif options.epochs:
        along_paths()  # finds every epoch done and loads the last
    else:
        checkpoint.load({"model": graph})
    first.path.unlink(missing_ok=True)
    return graph


def search(study: Study, aim: Aim, graph: MetaGraph, seed: int) -> dict[str, Any]:
    """The joint search for one target: its rows, probabilities, and the networks of every budget."""
    stage = search_name(aim, seed)
    settings, unit = study.settings, aim.target.suffix

    def work() -> dict[str, Any]:
        own = study.on_device(MetaGraph(study.space))
        own.load_state_dict(graph.state_dict())
        gates = study.gates(seed)
        penalty = make_penalty(settings.penalty, aim.reference)
        step = ArchitectureStep(
            own, gates, adam(gates, settings.alternation.lr), settings.binarisation, cost=aim.cost, combine=penalty
        )

        def inherited(architecture: Architecture) -> float:
            route = Single(architecture)
            recalibrate(own, study.calibration(), lambda _: route)
            device = study.device.torch_device
            return evaluate(own, study.task, "val", route=lambda _: route, device=device).score

        rows = alternate(
            step,
            study.task,
            settings.joint,
            settings.alternation,
            title=f"search for {aim.target.label}, seed {seed}",
            seed=study.seed_of(stage),
            penalty=penalty,
            device=study.device.torch_device,
            checkpoint=study.folder.checkpoint(stage),
            progress=study.progress,
            validate=lambda _: {"val_accuracy": inherited(gates.argmax())},
        )
        probabilities = {name: p.detach() for name, p in gates.probabilities().items()}
        sure = aim.sure
        derived = []
        for budget in aim.budgets:
            likeliest = best_under(probabilities, sure, budget)
            chance = random.Random(study.seed_of(stage, "candidates", budget))
            pool = candidates(sure, budget, probabilities, settings.derivation.candidates, chance)
            pool = list(dict.fromkeys(pool)) or [likeliest.architecture]
            with study.progress.bar(
                f"networks of {aim.said(budget)} for {aim.target.label}, seed {seed}", len(pool)
            ) as bar:
                scores = {}
                for architecture in pool:
                    scores[architecture] = inherited(architecture)
                    bar.advance(1, best=max(scores.values()))
            found = max(pool, key=lambda architecture: scores[architecture])
            low, high = aim.cost.interval(found, aim.level)
            derived.append(
                {
                    f"budget_{unit}": budget,
                    "architecture": found.to_json(),
                    f"table_{unit}": aim.cost.of(found),
                    f"low_{unit}": low,
                    f"high_{unit}": high,
                    "log_probability": float(gates.log_prob(found).detach()),
                    "inherited_accuracy": scores[found],
                    "candidates": len(pool),
                    "likeliest": {
                        "architecture": likeliest.architecture.to_json(),
                        f"table_{unit}": aim.cost.of(likeliest.architecture),
                        "log_probability": likeliest.log_probability,
                        "exact": likeliest.is_exact,
                    },
                }
            )
        front = pareto(probabilities, aim.cost)
        places = (
            sorted({round(i * (len(front) - 1) / (SHOWN - 1)) for i in range(SHOWN)})
            if len(front) > SHOWN
            else [*range(len(front))]
        )
        decided = argmax(probabilities, aim.cost)
        return {
            "rows": rows,
            "probabilities": {name: p.tolist() for name, p in probabilities.items()},
            "derived": derived,
            "argmax": {"architecture": decided.architecture.to_json(), f"table_{unit}": decided.cost},
            "pareto": [[float(front.costs[i]), float(front.log_probabilities[i])] for i in places],
            "pareto_size": len(front),
        }

    done = study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
    return done


def candidates(
    cost: AdditiveCost, budget: float, probabilities: Mapping[str, Tensor] | None, count: int, chance: random.Random
) -> list[Architecture]:
    """Architectures that use a budget up: drawn from the gates, or alike. Costs of small spaces come in clusters, so
    the band below the budget widens until it holds some; it is 2 % wide at first."""
    if count == 0:
        return []
    for floor in (0.98, 0.95, 0.9, 0.75, 0.5):
        try:
            return random_under(cost.space, cost, budget, chance, count, floor=floor, probabilities=probabilities)
        except OptionError:
            continue
    return random_under(cost.space, cost, budget, chance, count, floor=0.0, probabilities=probabilities)


def search_name(aim: Aim, seed: int) -> str:
    return f"search-{slug(aim.target.label)}-{seed}"


def final_name(kind: str, aim: Aim, budget: int, seed: int) -> str:
    """Checkpoint of a finished network; `budget` by its place."""
    return f"final-{kind}-{slug(aim.target.label)}-{budget}-{seed}"


def slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text)


def retrain(study: Study, aim: Aim, budget: int, seed: int, kind: str, width: float | None = None) -> dict[str, Any]:
    """Train one network of a budget from scratch: `proxylessnas` (found), `random_architecture` or `mobilenet_v2`."""
    stage, unit = final_name(kind, aim, budget, seed).removeprefix("final-"), aim.target.suffix

    def work() -> dict[str, Any]:
        row: dict[str, Any] = {"target": aim.target.label, f"budget_{unit}": aim.budgets[budget]}
        torch.manual_seed(study.seed_of(stage, "weights"))
        if kind == "mobilenet_v2":
            assert width is not None
            network, row["width"] = new_mobilenet(study, width), width
        else:
            architecture = _architecture(study, aim, budget, seed, kind)
            network = study.on_device(study.space.build(architecture))
            row |= {"architecture": architecture.to_json(), f"table_{unit}": aim.cost.of(architecture)}
        title = f"{kind.replace('_', ' ')} for {aim.target.label} at {aim.said(aim.budgets[budget])}, seed {seed}"
        study.train_plain(network, study.settings.retraining, title=title, stage=stage)
        study.folder.checkpoint(final_name(kind, aim, budget, seed)).save({"network": network}, {})
        val = evaluate(network, study.task, "val", device=study.device.torch_device)
        return {**row, "val_accuracy": val.score}

    done = study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)
    return done


def _architecture(study: Study, aim: Aim, budget: int, seed: int, kind: str) -> Architecture:
    if kind == "proxylessnas":
        return Architecture.from_json(study.done(search_name(aim, seed))["derived"][budget]["architecture"])
    chance = random.Random(study.seed_of("random", aim.target.label, budget, seed))
    return candidates(aim.sure, aim.budgets[budget], None, 1, chance)[0]


def new_mobilenet(study: Study, width: float) -> nn.Module:
    network: nn.Module = study.on_device(mobilenet_for(study.task, study.space, width).build({}))
    return network


def mobilenet_for(task: Classification, space: Space, width: float) -> Space:
    """MobileNetV2 for the task's images; with the space's macro-structure where it has one of that name."""
    return task.space(mobilenet_v2, macro=space.options.get("macro"), width=width)


def mobilenets(study: Study, aim: Aim) -> dict[str, float]:
    """Width → what MobileNetV2 of that width costs on a target, for all widths of the settings; empty where a published
    table does not know its layers."""
    widths = study.settings.baselines.mobilenet
    if aim.table is None:
        found = {}
        for width in widths:
            candidate = mobilenet_for(study.task, study.space, width)
            try:
                found[str(width)] = aim.target.cost(candidate, None, study.task.spec.input_shape).of({})
            except ArchipelError:
                return {}
        return found
    assert aim.target.device is not None
    networks = {}
    for width in widths:
        networks[str(width)] = network = new_mobilenet(study, width)
        recalibrate(network, study.calibration())  # or signals of a fresh network would shrink to denormals
    ms = measure_beside(aim.table, aim.target.device, networks, seed=study.seed_of("mobilenet latency"))
    return {name: value / aim.target.batch for name, value in ms.items()}
