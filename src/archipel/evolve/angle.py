"""Angle-based shrinking: what has turned least while the meta-graph learned is left out (Hu et al., ECCV 2020, arXiv
2004.13431; program megvii-model/AngleNAS).

The angle of a child network is that between all its weights at the start and now, taken as one vector each. An option's
score is the mean angle of random children that have it; the lowest of every choice go, and the rest learns on.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from archipel.choice import Choice, members
from archipel.errors import OptionError
from archipel.evolve.editors import Definition, Open, narrowed
from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.sharing.policies import Uniform
from archipel.sharing.training import Checkpoints, Optimisation, seed_of, train
from archipel.space import Space
from archipel.spaces.restricted import Restricted
from archipel.tasks.task import Task

__all__ = ["ByAngle", "Shrinking", "angle", "scores"]


@dataclass(frozen=True)
class Learning(Optimisation):
    """How the meta-graph learns before options go: one random child a batch."""

    epochs: int = 10
    clip: float | None = 5.0


@dataclass(frozen=True)
class Shrinking:
    """How a space is shrunk."""

    rounds: int = 2
    """How often options go."""
    drop: int = 1
    """Options of every choice that go in a round."""
    least: int = 2
    """Options that every choice keeps."""
    children: int = 30
    """Random networks that every option is judged in, at least (published: 1000)."""
    again: int = 4
    """Epochs of later rounds."""
    learning: Learning = field(default_factory=Learning)

    def __post_init__(self) -> None:
        for name in ("rounds", "drop", "least", "children", "again"):
            if getattr(self, name) < 1:
                raise OptionError(f"shrinking.{name} is {getattr(self, name)}; give 1 or more")


def angle(first: nn.Module, now: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Radians between the weights of two networks of one shape: arccos(⟨v, w⟩ / (|v| |w|)).

    Convolutions and products count, biases and norms do not. Pooling over k × k counts as constant weights 1/k² of each
    channel, which never turn; an identity as nothing.

    Args:
        input_shape: `[C, H, W]`.
    """
    pairs = [
        (v.detach().double(), w.detach().double())
        for v, w in zip(first.parameters(), now.parameters(), strict=True)
        if v.dim() > 1
    ]
    fixed = sum(channels / size for channels, size in _pooled(now, input_shape))
    dot = fixed + sum(float((v * w).sum()) for v, w in pairs)
    lengths = [math.sqrt(fixed + sum(float((each[i] ** 2).sum()) for each in pairs)) for i in (0, 1)]
    if not all(lengths):
        return 0.0
    return math.acos(max(-1.0, min(1.0, dot / (lengths[0] * lengths[1]))))


def _pooled(network: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(channels, k²) of every pooling."""
    pools = [m for m in network.modules() if isinstance(m, nn.AvgPool2d | nn.MaxPool2d)]
    if not pools:
        return []
    found: list[tuple[int, int]] = []

    def note(pool: Any, given: tuple[Tensor, ...]) -> None:
        k = pool.kernel_size
        found.append((given[0].shape[1], k[0] * k[1] if isinstance(k, tuple) else k * k))

    hooks = [pool.register_forward_pre_hook(note) for pool in pools]
    like = next(iter(network.parameters()), torch.empty(0))
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return found


def scores(
    start: MetaGraph, now: MetaGraph, space: Space, children: int, rng: random.Random, input_shape: tuple[int, ...]
) -> dict[str, dict[Any, float]]:
    """Choice → option → mean angle of random children that have it, `children` or more of each if they are met.

    Args:
        start, now: one meta-graph before and after it learned.
        space: its space, or one of it that is restricted.
    """
    found: dict[tuple[str, Any], list[float]] = {(c.name, o): [] for c in space.choices for o in c.options}
    widest = max((len(choice.options) for choice in space.choices), default=1)
    for _ in range(_MOST * children * widest):
        if min(map(len, found.values()), default=children) >= children:
            break
        child = space.sample(rng)
        turned = angle(start.extract(child), now.extract(child), input_shape)
        for name, value in child.items():
            for option in members(value):
                found[name, option].append(turned)
    return {c.name: {o: math.fsum(t) / len(t) for o in c.options if (t := found[c.name, o])} for c in space.choices}


_MOST = 4
"""Networks drawn for each that the rarest option of a plain choice needs; options reached more rarely get fewer."""


@dataclass(frozen=True)
class ByAngle:
    """The editor: learns a meta-graph of the space and leaves out what turns least, round by round."""

    task: Task
    settings: Shrinking
    seed: int = 0
    device: torch.device | str = "cpu"
    checkpoint: Callable[[str], Checkpoints] | None = None
    """Where the weights after each round are kept, by the round's name."""
    progress: Progress = SILENT

    def __call__(self, given: Definition, open_space: Open) -> Restricted:
        own, whole = self.settings, open_space(given.function)
        torch.manual_seed(seed_of(self.seed, "angle"))
        now = MetaGraph(whole).to(self.device)
        start = copy.deepcopy(now)
        keep: dict[str, list[Any]] = {choice.name: list(choice.options) for choice in whole.choices}
        told: list[dict[str, Any]] = []
        for number in range(own.rounds):
            left = narrowed(given, whole, keep)
            space = open_space(left.function)
            options = own.learning if number == 0 else _shorter(own.learning, own.again)
            title = f"round {number + 1} of {own.rounds}"
            train(
                now, self.task, options, title=title, seed=self.seed, policy=Uniform(space), device=self.device,
                checkpoint=None if self.checkpoint is None else self.checkpoint(f"round-{number}"),
                progress=self.progress,
            )  # fmt: skip
            rng = random.Random(seed_of(self.seed, "children", number))
            found = scores(start, now, space, own.children, rng, self.task.spec.input_shape)
            gone = {choice.name: list(self._lowest(choice, found[choice.name])) for choice in space.choices}
            keep = {name: [o for o in options_ if o not in gone[name]] for name, options_ in keep.items()}
            told.append({"scores": {n: {str(o): v for o, v in s.items()} for n, s in found.items()}, "gone": gone})
        return narrowed(given, whole, keep, angle=told)

    def _lowest(self, choice: Choice, found: dict[Any, float]) -> Iterator[Any]:
        """Options that go: what turned least first, never what an empty subset runs."""
        if choice.kind == "inputs":
            return
        able = [option for option in sorted(found, key=lambda option: found[option]) if option != choice.empty]
        yield from able[: max(0, min(self.settings.drop, len(choice.options) - self.settings.least))]


def _shorter(options: Learning, epochs: int) -> Learning:
    return Learning(**{**vars(options), "epochs": epochs})
