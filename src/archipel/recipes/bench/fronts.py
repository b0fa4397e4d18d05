"""What a search for two objectives is judged by: how much of what could be dominated its networks dominate.

Letters: `N` architectures of the table, `T` that a search tried. Both objectives are maximised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from archipel.evaluators import Tabular
from archipel.strategies.hypervolume import hypervolume
from archipel.strategies.nsga2 import fronts

__all__ = ["Domination"]


@dataclass(frozen=True)
class Domination:
    """Hypervolume of a search's front, in per cent of that of the table's own.

    The front is what nothing else that was tried beats in what the search saw; it is judged by the metric that the
    search did not see, in the place of its first objective. The corner is the median network's figure in that, so that
    networks nobody would take count for nothing, and the worst of all in the other.
    """

    table: Tabular
    """Of two objectives."""

    @cached_property
    def truth(self) -> np.ndarray:
        """`[N, 2]`: the judged metric and the second objective."""
        second = self.table.objectives[1]
        cost = self.table.figures[second.metric]
        return np.stack([self.table.figures[self.table.judged], cost if second.maximise else -cost], 1).astype(float)

    @cached_property
    def corner(self) -> np.ndarray:
        known = self._known
        return np.array([np.median(known[:, 0]), known[:, 1].min()])

    @cached_property
    def best(self) -> np.ndarray:
        """The table's own front above the corner, `[F, 2]`, from its cheapest network on."""
        high = self._known[self._known[:, 0] > self.corner[0]]
        order = np.lexsort((-high[:, 0], -high[:, 1]))
        reached = np.maximum.accumulate(high[order, 0])
        return high[order][np.concatenate([[True], reached[1:] > reached[:-1]])]

    def front(self, seen: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """The true figures of a search's front, `[F, 2]`, from the least accurate on.

        Args:
            seen: the objectives as the search saw them, `[T, 2]`.
            rows: where those architectures stand in the table, `T`.
        """
        chosen = self.truth[np.asarray(rows)[fronts(seen)[0]]]
        return chosen[np.argsort(chosen[:, 0], kind="stable")]

    def share(self, front: np.ndarray) -> float:
        """What a front `[F, 2]` dominates, in per cent of what the table's own does."""
        return 100 * hypervolume(front, self.corner) / self._whole

    @cached_property
    def _known(self) -> np.ndarray:
        return self.truth[np.isfinite(self.truth).all(1)]

    @cached_property
    def _whole(self) -> float:
        return hypervolume(self.best, self.corner)
