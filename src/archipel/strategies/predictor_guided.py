"""A predictor in the loop: many candidates are predicted, few are tried, and the predictor learns again."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Sequence

import torch

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.predictor import Predictor, UncertainPredictor
from archipel.space import Space
from archipel.strategies.acquisition import acquisition
from archipel.strategies.strategy import Scores, only_one

__all__ = ["PredictorGuided", "children"]


class PredictorGuided:
    """Candidates → predictor → the most promising are tried → fit again (NPENAS, BANANAS and their kin).

    The first `initial` architectures are random. Then rounds: the predictor learns from all that is known, `candidates`
    children of the best are made (`children`), and the `batch` that the acquisition puts first are asked for. Nothing
    is asked for twice.

    Args:
        predictor: refitted from nothing every round.
        acquire: `mean` for any predictor; `ucb`, `ei` or `thompson` for one that says how unsure it is.

    Raises:
        OptionError: several objectives, a number below 1, no such acquisition, or a predictor that is never unsure with
            one that needs it.
    """

    def __init__(
        self,
        space: Space,
        predictor: Predictor,
        *,
        objectives: int = 1,
        seed: int = 0,
        initial: int = 10,
        batch: int = 10,
        candidates: int = 100,
        acquire: str = "mean",
    ) -> None:
        only_one(objectives, "a predictor-guided strategy")
        for name, value in (("initial", initial), ("batch", batch), ("candidates", candidates)):
            if value < 1:
                raise OptionError(f"{name} is {value}; give 1 or more")
        self._acquire = acquisition(acquire)
        self._unsure = acquire != "mean"
        if self._unsure and not isinstance(predictor, UncertainPredictor):
            raise OptionError(
                f"acquisition '{acquire}' needs a predictor that says how unsure it is, and {type(predictor).__name__} "
                "does not; take 'mean'"
            )
        self.space, self.predictor = space, predictor
        self.initial, self.batch, self.candidates = initial, batch, candidates
        self.rng = random.Random(seed)
        self.chance = torch.Generator().manual_seed(seed)
        self.known: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        """Asked for or told, whatever came of it."""
        self.queue: deque[Architecture] = deque()

    def ask(self) -> Architecture:
        while self.queue and self.queue[0] in self.seen:
            self.queue.popleft()
        if not self.queue and len(self.seen) >= self.initial and len(self.known) > 1:
            self.queue.extend(self._round())
        asked = self.queue.popleft() if self.queue else self._random()
        self.seen.add(asked)
        return asked

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        self.seen.add(architecture)
        if scores is not None:
            self.known[architecture] = scores[0]

    def _round(self) -> list[Architecture]:
        architectures = list(self.known)
        self.predictor.fit(architectures, torch.tensor([self.known[a] for a in architectures], dtype=torch.float64))
        ranked = sorted(architectures, key=lambda a: -self.known[a])
        pool = children(self.space, ranked, self.candidates, self.seen, self.rng)
        if not pool:
            return []
        if self._unsure and isinstance(self.predictor, UncertainPredictor):
            mean, spread = self.predictor.predict_spread(pool)
        else:
            mean = self.predictor.predict(pool)
            spread = torch.zeros_like(mean)
        values = self._acquire(mean, spread, self.known[ranked[0]], self.chance)
        order = values.argsort(descending=True, stable=True)[: self.batch]
        return [pool[i] for i in order.tolist()]

    def _random(self) -> Architecture:
        """A random architecture, one that was not seen if such a one is found soon."""
        for _ in range(100):
            drawn = self.space.sample(self.rng)
            if drawn not in self.seen:
                break
        return drawn


def children(
    space: Space, ranked: Sequence[Architecture], count: int, seen: Collection[Architecture], rng: random.Random
) -> list[Architecture]:
    """Unseen children of the best: one parent gives as many as it can before the next one is asked (NPENAS).

    A child is one decision away from its parent, with probability 1/2 two or more, with 1/4 three or more, and so on;
    a parent is left when twenty tries in a row were all seen.

    Args:
        ranked: parents, best first.
        seen: what may be no candidate.

    Returns:
        `count` different architectures, fewer where the parents have no more.
    """
    found: dict[Architecture, None] = {}  # a set that keeps its order
    for parent in ranked:
        misses = 0
        while misses < 20 and len(found) < count:
            child = space.mutate(parent, rng)
            while rng.random() < 0.5:
                child = space.mutate(child, rng)
            if child in found or child in seen:
                misses += 1
            else:
                found[child], misses = None, 0
        if len(found) == count:
            break
    return list(found)
