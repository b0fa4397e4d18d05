"""A network with early answers beside the search: later decisions see deeper features, computed for the answer anyway.

All exits are trained at once, the last one teaching the others. Each is also a static network, which is what a saving
is counted against; nothing else is trained for either.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost import LatencyTable, madds, measure_beside
from archipel.cost.attribution import ghost
from archipel.errors import OptionError, SpaceError
from archipel.instance.cascade import EVERYTHING, NOTHING, Cascade
from archipel.metagraph import MetaGraph
from archipel.nn.exits import Exits
from archipel.recipes.instanas.judging import Contestant
from archipel.recipes.instanas.settings import Settings
from archipel.recipes.instanas.stages import final_name
from archipel.recipes.instanas.study import Study
from archipel.recipes.instanas.thresholds import SPLITS, Answered, Rule, cascade_of, settled
from archipel.recipes.study import macro_of, open_space
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.distillation import Distillation
from archipel.space import Space, SpaceFunction
from archipel.spaces import resolve
from archipel.tasks.classification import Classification

__all__ = ["KIND", "STATIC", "chain_of", "early_exits", "exits_space", "train_exits", "with_exits"]

KIND, STATIC = "early_exit", "static_exit"
MOST = 16
"""Exits that a network can have."""
RULE = Rule(committee=False, learnt=True)
"""Exits of one network err together: a mean of their answers gives a better top and a worse middle."""


def exits_space(task: Classification, settings: Settings, macro: str | None) -> Space:
    """The space whose architectures are the exits, shallow to deep.

    Raises:
        OptionError: it has fewer than two, or too many.
        SpaceError: there is no such space, or its networks are no exits of one network.
    """
    wanted = settings.exits
    own = replace(settings.network, macro=macro, width=wanted.width)
    space = open_space(task, resolve(wanted.space), own)
    if not 1 < space.size <= MOST:
        raise OptionError(
            f"exits.space is '{wanted.space}', which has {space.size} architectures; give a space of 2 to {MOST}, each "
            "of which goes on where the one before turns off"
        )
    new_exits(space, task)
    return space


def chain_of(space: Space, task: Classification) -> list[Architecture]:
    """The exits, shallow to deep."""
    return [space.unrank(rank) for rank in _ranks(space.function, tuple(space.options.items()), task.spec.input_shape)]


@functools.lru_cache(maxsize=16)
def _ranks(function: SpaceFunction, options: tuple[tuple[str, Any], ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """A run asks for the same few networks tens of times, and counting them takes a quarter of a second."""
    space = Space(function, **dict(options))
    return tuple(sorted(range(space.size), key=lambda rank: madds(ghost(space, space.unrank(rank)), shape)))


def new_exits(space: Space, task: Classification) -> Exits:
    """With fresh weights."""
    graph = MetaGraph(space)
    try:
        return Exits.of([graph.extract(architecture) for architecture in chain_of(space, task)])
    except SpaceError as error:
        raise SpaceError(f"space '{space.name}' cannot be the exits of one network: {error}") from None


def _new(study: Study) -> Exits:
    space = exits_space(study.task, study.settings, macro_of(study.space, study.settings.network))
    made: Exits = study.on_device(new_exits(space, study.task))
    return made


def _beside(network: Exits) -> dict[str, nn.Module]:
    """What is timed: every exit as a network of its own, and all that runs up to it in a cascade."""
    alone = {f"exit {k + 1}": network.child(k) for k in range(len(network))}
    return alone | {f"to exit {k + 1}": going for k, going in enumerate(_going(network)) if k}


def _going(network: Exits) -> list[Cascade]:
    """The cascade that lets every image go on to an exit, for each."""
    last = len(network) - 1
    costs = [1.0] * len(network)
    whole = Cascade(network, thresholds=[NOTHING] * last, costs_ms=costs)
    return [whole.at([EVERYTHING] * k + [NOTHING] * (last - k)) for k in range(len(network))]


def with_exits(study: Study, table: LatencyTable) -> LatencyTable:
    """The table with the exits beside it, timed now where it lacks them."""
    if not study.settings.exits.any:
        return table
    network = _new(study)
    recalibrate(network, study.calibration())  # or signals of a fresh network would shrink to denormals
    missing = {name: own for name, own in _beside(network).items() if name not in table.beside}
    if not missing:
        return table
    return table.with_beside(measure_beside(table, study.device, missing, seed=study.seed_of("exits latency")))


def train_exits(study: Study, seed: int) -> None:
    """All exits at once; where nothing else is asked for, for as many epochs as MobileNetV2."""
    stage, settings = f"exits-{seed}", study.settings

    def work() -> dict[str, Any]:
        torch.manual_seed(study.seed_of(stage, "weights"))
        network = _new(study)
        study.train_plain(
            network,
            replace(settings.pretraining, epochs=settings.exits.epochs or study.all_epochs),
            title=f"early exits, seed {seed}",
            stage=stage,
            distillation=Distillation(settings.exits.distillation),
        )
        study.folder.checkpoint(final_name(KIND, "all", seed)).save({"network": network}, {})
        return {}

    study.once(stage, work)
    study.folder.checkpoint(stage).path.unlink(missing_ok=True)


def early_exits(study: Study, table: LatencyTable, seed: int, target_ms: float | None) -> list[Contestant]:
    """Every exit of a seed's network as a network of its own, and what they make together: some points along it."""
    if not study.settings.exits.any:
        return []
    network = _new(study)
    study.folder.checkpoint(final_name(KIND, "all", seed)).load({"network": network})
    count = len(network)
    alone = [table.beside[f"exit {k + 1}"] / table.batch for k in range(count)]
    spent = alone[:1] + [table.beside[f"to exit {k + 1}"] / table.batch for k in range(1, count)]
    added = [spent[0], *(max(0.0, b - a) for a, b in itertools.pairwise(spent))]

    def work() -> dict[str, Any]:
        seen = _see(study, network, added, seed)
        names = [f"exit {k + 1}" for k in range(count)]
        known = list(zip(alone, seen.accuracies))
        chosen = settled(seen, RULE, known, study.settings.exits.points, target_ms)
        return {"kind": KIND, "seed": seed, "networks": names, **chosen}

    done = study.once(f"cascade-{KIND}-{seed}", work)
    found = [Contestant(STATIC, str(k + 1), seed, network.child(k), table_ms=ms) for k, ms in enumerate(alone)]
    for name, point in done["points"].items():
        cascade = cascade_of(study, network, done, name)
        found.append(Contestant(KIND, name, seed, cascade, kept=[network], shares=tuple(point["shares"])))
    return found


@torch.no_grad()
def _see(study: Study, network: Exits, added: list[float], seed: int) -> Answered:
    network.eval()
    logits, targets = [], []
    with study.progress.bar(f"validating early exits, seed {seed}", len(SPLITS)) as bar:
        for split in SPLITS:
            for batch in study.task.loader(split, 256, device=study.device.torch_device):
                logits.append(torch.stack(network.answers(batch.inputs)))
                targets.append(batch.targets)
            bar.advance()
    return Answered.of(torch.cat(logits, 1), torch.cat(targets), added)
