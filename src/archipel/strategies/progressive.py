"""Progressive widening: small architectures first, then the best of them enlarged, as a predictor likes it (PNAS)."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.errors import OptionError
from archipel.evaluators.predictors import Ensemble
from archipel.evaluators.predictors.blocks import block_lstm, block_mean
from archipel.evaluators.predictors.predictor import Predictor
from archipel.space import Space
from archipel.spaces.two_input import blocks_of, unordered
from archipel.strategies.strategy import Scores, only_one

__all__ = ["Progressive", "pnas"]


class Progressive:
    """Every architecture of the smallest size; then, size by size, the `beam` best known of one size, enlarged in every
    way, and of those the `beam` that the predictor puts first (Liu et al., ECCV 2018, algorithm 1).

    A size is a value of the choice that opens others: the number of blocks, a depth. The predictor learns anew from all
    that is known before it is asked about larger ones. When the last size is done, its next best are asked for.

    Args:
        beam: architectures kept and tried of each size (K).
        same: the one spelling of architectures that are the same network; nothing is tried twice.

    Raises:
        OptionError: several objectives, a beam below 1, or a space in which nothing grows.
    """

    def __init__(
        self,
        space: Space,
        predictor: Predictor,
        *,
        objectives: int = 1,
        beam: int = 256,
        same: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        only_one(objectives, "a progressive search")
        if beam < 1:
            raise OptionError(f"beam is {beam}; give 1 or more")
        self.space, self.predictor, self.beam, self.same = space, predictor, beam, same
        self.grows = _what_grows(space)
        self.sizes = sorted(self.grows.options)
        self.known: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        """Asked for or told, whatever came of it."""
        self.at = 0
        """Which size is tried now."""
        self.queue = deque(self._enlarged({}))

    def ask(self) -> Architecture:
        while True:
            while self.queue and self.queue[0] in self.seen:
                self.queue.popleft()
            if self.queue or not self._widened():
                break
        asked = self.queue.popleft() if self.queue else self._any_left()
        self.seen.add(asked)
        return asked

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        self.seen.add(architecture)
        if scores is not None:
            self.known[architecture] = scores[0]

    def _widened(self) -> bool:
        """Whether there is a next size; its most promising are then in the queue."""
        of_size = [a for a in self.known if a[self.grows.name] == self.sizes[self.at]]
        if self.at + 1 == len(self.sizes) or not of_size:
            return False
        self.at += 1
        best = sorted(of_size, key=lambda a: -self.known[a])[: self.beam]
        larger = dict.fromkeys(a for parent in best for a in self._enlarged(parent) if a not in self.seen)
        candidates = list(larger)
        self.predictor.fit([*self.known], torch.tensor([*self.known.values()], dtype=torch.float64))
        order = self.predictor.predict(candidates).argsort(descending=True, stable=True).tolist() if candidates else []
        last = self.at + 1 == len(self.sizes)
        self.queue.extend(candidates[i] for i in (order if last else order[: self.beam]))
        return True

    def _enlarged(self, parent: Mapping[str, Any]) -> Iterator[Architecture]:
        """What a parent becomes with whatever the size that is tried now opens, in every way."""
        grown = {**parent, self.grows.name: self.sizes[self.at]}
        for values in self._completed(grown):
            yield Architecture({c.name: values[c.name] for c in self.space.choices if c.name in values})

    def _completed(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        missing = [choice for choice in self.space.active(values) if choice.name not in values]
        if not missing:
            yield self.same(values)
            return
        for combination in itertools.product(*map(_settings, missing)):
            yield from self._completed(values | dict(zip([choice.name for choice in missing], combination)))

    def _any_left(self) -> Architecture:
        """The first that was not seen; once all were, the first."""
        return next((a for a in self.space if a not in self.seen), self.space.unrank(0))


def pnas(
    space: Space, *, objectives: int = 1, seed: int = 0, beam: int = 256, using: str = "lstm", members: int = 5
) -> Progressive:
    """Progressive NAS (Liu et al., ECCV 2018, arXiv 1712.00559): cells of one block, then of two, and so on.

    Args:
        using: `lstm` over the tokens of a cell's blocks, or `mlp` over the mean of its blocks.
        members: of the ensemble, each trained on ⅘ of the data.

    Raises:
        OptionError: the space does not grow by blocks, or there is no such predictor.
    """
    made = {"lstm": block_lstm, "mlp": block_mean}
    if using not in made:
        raise OptionError(f"using is '{using}'; give {' or '.join(repr(name) for name in made)}")
    if not blocks_of(choice.name for choice in space.choices):
        raise OptionError(f"pnas grows cells block by block, and space '{space.name}' has none; take the space pnas")
    learned = Ensemble(lambda own: made[using](space, seed=own), members=members, share=0.8, seed=seed)
    return Progressive(space, learned, objectives=objectives, beam=beam, same=unordered)


def _what_grows(space: Space) -> Choice:
    """The `value` choice that opens others.

    Raises:
        OptionError: there is none, or there are several.
    """
    parents = {choice.parent for choice in space.choices}
    found = [choice for choice in space.choices if choice.kind == "value" and choice.name in parents]
    if len(found) != 1 or found[0].parent is not None:
        has = f"{len(found)} choices open others" if found else "no number opens other choices"
        raise OptionError(f"a progressive search widens by one number, and in space '{space.name}' {has}")
    return found[0]


def _settings(choice: Choice) -> Iterator[Any]:
    """Everything a choice can be set to."""
    if not choice.takes_several:
        yield from choice.options
        return
    sizes = [choice.k] if choice.kind == "inputs" else range(not choice.allows_empty, len(choice.options) + 1)
    for size in sizes:
        yield from itertools.combinations(choice.options, size)
