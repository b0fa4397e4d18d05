"""A predictor in the loop: many candidates are predicted, few are tried, and the predictor learns again."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError, did_you_mean
from archipel.evaluators.predictors.predictor import Predictor, UncertainPredictor
from archipel.evaluators.predictors.scale import NormalScores
from archipel.space import Space
from archipel.strategies.acquisition import acquisition
from archipel.strategies.hypervolume import expected_hypervolume_improvement
from archipel.strategies.nsga2 import crowding, fronts
from archipel.strategies.rounds import InRounds
from archipel.strategies.strategy import only_one

__all__ = ["PROPOSALS", "PredictorGuided", "Proposals", "around", "children"]

Proposals: TypeAlias = Callable[
    [Space, Sequence[Architecture], int, Collection[Architecture], random.Random], list[Architecture]
]
"""f(space, known ones best first, how many, what may be none, chance) → candidates."""


class PredictorGuided(InRounds):
    """Candidates → predictor → the most promising are tried → fit again (NPENAS, BANANAS and their kin).

    The first `initial` architectures are random. Then rounds: the predictor learns from all that is known, `candidates`
    are made from the best, and the `batch` that the acquisition puts first are asked for. Nothing is asked for twice.
    What is learned, and improved upon, are normal scores: ranks, as a normal variable would have them. So it does not
    matter how scores are stretched, and networks that learn nothing are no worse than bad.

    Of two objectives each has a predictor, the best are those of the first fronts, and the acquisition is the expected
    hypervolume improvement over normal scores; what is chosen for a batch counts as tried for the rest of it. The first
    objective is what networks are for: what is worse in it than the middle one of the random architectures counts for
    nothing and has no candidates made of it, or the front would fill with networks that are cheap and know nothing.

    Args:
        predictors: one an objective, refitted from nothing every round.
        propose: candidates from the best: `children` (NPENAS) or `around`.
        acquire: `mean` for any predictor; `ucb`, `ei` or `thompson` for one that says how unsure it is. Of two
            objectives `ei` alone.

    Raises:
        OptionError: more objectives than the acquisition can have, a number below 1, no such proposals or acquisition,
            or a predictor that is never unsure with one that needs it.
    """

    def __init__(
        self,
        space: Space,
        predictors: Sequence[Predictor],
        *,
        seed: int = 0,
        initial: int = 10,
        batch: int = 10,
        candidates: int = 100,
        propose: str = "children",
        acquire: str = "mean",
    ) -> None:
        super().__init__(space, seed=seed, initial=initial, batch=batch, candidates=candidates)
        if propose not in PROPOSALS:
            raise OptionError(
                f"there are no proposals '{propose}' ({', '.join(PROPOSALS)}){did_you_mean(propose, PROPOSALS)}"
            )
        self._acquire = acquisition(acquire)
        self._unsure = acquire != "mean"
        if acquire != "ei":
            only_one(len(predictors), f"a predictor-guided strategy with acquire={acquire}")
        if len(predictors) > 2:
            raise OptionError(
                f"a predictor-guided strategy makes two objectives better, not {len(predictors)}; use nsga2"
            )
        for one in predictors:
            if self._unsure and not isinstance(one, UncertainPredictor):
                raise OptionError(
                    f"acquisition '{acquire}' needs a predictor that says how unsure it is, and {type(one).__name__} "
                    "does not; take 'mean'"
                )
        self.predictors = tuple(predictors)
        self.batch, self.candidates = batch, candidates
        self.propose = PROPOSALS[propose]
        self.chance = torch.Generator().manual_seed(seed)

    def round(self) -> list[Architecture]:
        architectures = list(self.known)
        scores = torch.tensor(list(self.known.values()), dtype=torch.float64)  # [N, objectives]
        normal = torch.stack([NormalScores.of(column).forward(column) for column in scores.T.contiguous()])
        pool = self.propose(self.space, self._ranked(architectures), self.candidates, self.seen, self.rng)
        if not pool:
            return []
        means, spreads = [], []
        for one, column in zip(self.predictors, normal):
            one.fit(architectures, column)
            if self._unsure and isinstance(one, UncertainPredictor):
                mean, spread = one.predict_spread(pool)
            else:
                mean = one.predict(pool)
                spread = torch.zeros_like(mean)
            means.append(mean)
            spreads.append(spread)
        if len(means) == 1:
            values = self._acquire(means[0], spreads[0], float(normal.max()), self.chance)
            chosen = values.argsort(descending=True, stable=True)[: self.batch].tolist()
        else:
            corner = np.array([float(np.median(normal[0, : self.initial])), float(normal[1].min()) - 1.0])
            chosen = _one_by_one(torch.stack(means, 1), torch.stack(spreads, 1), normal.T, self.batch, corner)
        return [pool[i] for i in chosen]

    def _ranked(self, architectures: Sequence[Architecture]) -> list[Architecture]:
        """Best first; of two objectives front by front, where it is least crowded first, of those good in the first."""
        if len(self.predictors) == 1:
            return sorted(architectures, key=lambda a: -self.known[a][0])
        points = np.array([self.known[a] for a in architectures])
        good = np.flatnonzero(points[:, 0] >= np.median(points[: self.initial, 0]))
        return [
            architectures[good[front[i]]]
            for front in fronts(points[good])
            for i in np.argsort(-crowding(points[good[front]]), kind="stable")
        ]


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


def around(
    space: Space, ranked: Sequence[Architecture], count: int, seen: Collection[Architecture], rng: random.Random
) -> list[Architecture]:
    """Unseen architectures one and two decisions away from the best: what a local search would look at next.

    Each parent in turn gives up to 64 in random order, neighbours first, then neighbours of these.

    Args:
        ranked: parents, best first.
        seen: what may be no candidate.

    Returns:
        `count` different architectures, fewer where the parents have no more.
    """
    found: dict[Architecture, None] = {}  # a set that keeps its order
    for parent in ranked:
        near = space.neighbours(parent, rng)
        rng.shuffle(near)
        near = near[:32]
        for child in (*near, *(space.mutate(rng.choice(near), rng) for _ in range(64 - len(near)) if near)):
            if len(found) == count:
                return list(found)
            if child not in seen:
                found[child] = None
    return list(found)


PROPOSALS: dict[str, Proposals] = {"children": children, "around": around}


def _one_by_one(means: Tensor, spreads: Tensor, known: Tensor, count: int, corner: np.ndarray) -> list[int]:
    """Candidates with the largest expected hypervolume improvement, each with those before it at their means.

    Args:
        means, spreads: `[C, 2]`.
        known: `[N, 2]`.
        corner: `[2]`; what is not above it counts for nothing.
    """
    points, chosen = known.numpy(), []
    left = torch.ones(len(means), dtype=torch.bool)
    for _ in range(min(count, len(means))):
        values = expected_hypervolume_improvement(means, spreads, points, corner)
        best = int(values.masked_fill(~left, -1.0).argmax())
        left[best] = False
        chosen.append(best)
        points = np.concatenate([points, means[best : best + 1].double().numpy()])
    return chosen
