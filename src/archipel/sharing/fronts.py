"""Which combinations of options no other beats: the multiple-choice knapsack, exactly, by merging fronts.

A point is a way to set some choices: its costs and its score, the sum of the chosen options' scores. A point is beaten
by one that costs no more, in any respect, and scores no less. The front of a choice is that of its options, each with
everything that it opens; independent choices are merged one by one, and beaten points are dropped at once, which
loses nothing since costs and scores only add up (Nemhauser and Ullmann, Management Science 15, 1969). Where budgets are
given, so are points that cannot become as good as what Lagrangian multipliers find: few are left then, and 648 choices
of 7 options still come out exactly. `n` points, `L` costs, `K` choices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archipel.choice import Choice
from archipel.space import Space

__all__ = ["Combination", "OneOf", "best_within", "combine", "fronts_of"]

MOST = 2**15
"""Points a front may have; where more are left unbeaten, some stand for others."""

PIECE = 2**21
"""Pairs of points that are looked at together."""

Prune = Callable[[int, np.ndarray, np.ndarray], np.ndarray]
"""Of the k-th merge, costs `[n, L]` and scores `[n]` to which points, `[n]` bool, may go on."""


@dataclass(frozen=True)
class OneOf:
    """A choice: its options with all that each opens. A point names an option and a point of what it opens."""

    choice: Choice
    costs: np.ndarray
    scores: np.ndarray
    options: np.ndarray
    inner: np.ndarray
    opened: Sequence[Combination]
    slack: np.ndarray

    def assignment(self, point: int) -> dict[str, Any]:
        option = int(self.options[point])
        nested = self.opened[option].assignment(int(self.inner[point]))
        return {self.choice.name: self.choice.options[option], **nested}


@dataclass(frozen=True)
class Combination:
    """Independent choices together. Its points came about by `steps`: each joins a point so far and one of the next
    choice."""

    costs: np.ndarray
    """`[n, L]`."""
    scores: np.ndarray
    """`[n]`."""
    choices: Sequence[OneOf]
    steps: Sequence[tuple[np.ndarray, np.ndarray]] = field(repr=False)
    slack: np.ndarray
    """`[L]`. For any way to set the choices some point scores no less and costs at most this much more; 0 is exact."""

    def assignment(self, point: int) -> dict[str, Any]:
        """Choice → option."""
        values: dict[str, Any] = {}
        for choice, (before, chosen) in zip(reversed(self.choices), reversed(self.steps)):
            values |= choice.assignment(int(chosen[point]))
            point = int(before[point])
        return values


def fronts_of(
    space: Space, scores: Mapping[str, np.ndarray], costs: np.ndarray, allowed: np.ndarray, *, most: int = MOST
) -> list[OneOf]:
    """The front of every choice that nothing opens, each with all that its options open.

    Args:
        scores: choice name → `[O]`.
        costs: `[D, L]`, of every code column.
        allowed: `[D]`, bool; other options are left out. A choice may be left with no points.
    """
    opened: dict[tuple[str | None, Any], list[str]] = {}
    for choice in space.choices:
        for option in choice.when or (None,):
            opened.setdefault((choice.parent, option), []).append(choice.name)
    fronts: dict[str, OneOf] = {}
    for choice in reversed(space.choices):  # what is opened before what opens it
        nested = [
            combine([fronts[name] for name in opened.get((choice.name, option), ())], costs.shape[1], most=most)
            for option in choice.options
        ]
        start = space.slices[choice.name].start
        usable = [i for i in range(len(choice.options)) if allowed[start + i]]
        every = np.concatenate([np.empty((0, costs.shape[1])), *(nested[i].costs + costs[start + i] for i in usable)])
        worth = np.concatenate([np.empty(0), *(nested[i].scores + scores[choice.name][i] for i in usable)])
        option = np.concatenate([np.empty(0, int), *(np.full(len(nested[i].scores), i) for i in usable)])
        inner = np.concatenate([np.empty(0, int), *(np.arange(len(nested[i].scores)) for i in usable)])
        keep = unbeaten(every, worth)
        fronts[choice.name] = OneOf(
            choice,
            every[keep],
            worth[keep],
            option[keep],
            inner[keep],
            nested,
            np.max([np.zeros(costs.shape[1]), *(nested[i].slack for i in usable)], axis=0),
        )
    return [fronts[choice.name] for choice in space.choices if choice.parent is None]


def combine(choices: Sequence[OneOf], width: int, *, prune: Prune | None = None, most: int = MOST) -> Combination:
    """The front of independent choices.

    Args:
        width: `L`.
        prune: drops points that cannot matter.
        most: where more points are unbeaten, only the best of every cell of a grid over the costs is kept; its cost is
            its own, so that a budget still holds, and `slack` says how much dearer it may be than what it stands for.
    """
    costs, scores = np.zeros((1, width)), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    slack = np.zeros(width)
    for k, choice in enumerate(choices):
        merged, worth = np.empty((0, width)), np.empty(0)
        pairs = np.empty(0, dtype=np.int64)
        # In pieces, so that two large fronts do not need the memory of their product.
        piece = max(1, PIECE // max(1, len(scores)))
        for start in range(0, len(choice.scores), piece):
            some = slice(start, start + piece)
            new = (choice.costs[some, None] + costs[None]).reshape(-1, width)
            value = (choice.scores[some, None] + scores[None]).ravel()
            pair = start * len(scores) + np.arange(len(value))
            if prune is not None:
                fine = prune(k, new, value)
                new, value, pair = new[fine], value[fine], pair[fine]
            merged, worth = np.concatenate([merged, new]), np.concatenate([worth, value])
            pairs = np.concatenate([pairs, pair])
            keep = unbeaten(merged, worth)
            merged, worth, pairs = merged[keep], worth[keep], pairs[keep]
        if len(worth) > most:
            keep, step = _best_of_cells(merged, worth, most)
            merged, worth, pairs = merged[keep], worth[keep], pairs[keep]
            slack = slack + step
        chosen, before = np.divmod(pairs, max(1, len(scores)))
        steps.append((before, chosen))
        costs, scores, slack = merged, worth, slack + choice.slack
    return Combination(costs, scores, choices, steps, slack)


def unbeaten(costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of the points that no other beats, one of equals; by ascending cost where there is one cost."""
    if len(scores) == 0:
        return np.empty(0, dtype=np.int64)
    if costs.shape[1] == 1:
        order = np.argsort(costs[:, 0], kind="stable")
        best = np.maximum.accumulate(scores[order])
        order = order[np.r_[True, scores[order][1:] > best[:-1]]]
        return order[np.r_[costs[order][1:, 0] != costs[order][:-1, 0], True]]
    order = np.lexsort((costs.sum(1), -scores))
    found = np.empty(0, dtype=np.int64)
    for start in range(0, len(order), 512):
        some = order[start : start + 512]
        some = some[~(costs[found][:, None] <= costs[some][None]).all(2).any(0)]
        cheaper = (costs[some][:, None] <= costs[some][None]).all(2)
        found = np.concatenate([found, some[~np.triu(cheaper, 1).any(0)]])
    return found


def _best_of_cells(costs: np.ndarray, scores: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the best of every cell, and the cells' size, `[L]`."""
    along = max(1, int((most / 4) ** (1 / costs.shape[1])))
    low, high = costs.min(0), costs.max(0)
    size = (high - low) / along
    cell = np.minimum((costs - low) / np.where(size > 0, size, 1.0), along - 1).astype(np.int64)
    number = cell @ (along ** np.arange(costs.shape[1]))
    order = np.lexsort((-scores, number))
    first = np.r_[True, number[order][1:] != number[order][:-1]]
    return order[first], size


def best_within(
    choices: Sequence[OneOf], budgets: np.ndarray, *, most: int = MOST
) -> tuple[dict[str, Any] | None, np.ndarray]:
    """The assignment of highest score whose costs are within `budgets` `[L]`, or None, and the slack it was found with.

    Where slack is not 0, none scores higher (none exists, if None was found) whose costs are within `budgets - slack`.
    """
    relaxed = _Relaxed(choices)
    multipliers = relaxed.multipliers(budgets)
    known = relaxed.feasible(multipliers, budgets)
    floor = -np.inf if known is None else float(relaxed.scores[known].sum())
    value, _ = relaxed.at(multipliers)
    ahead = np.append(np.cumsum(value[::-1])[::-1][1:], 0.0)  # [K], the most that later choices can bring
    least = np.stack([choice.costs.min(0) for choice in choices])
    needed = np.append(np.cumsum(least[::-1], axis=0)[::-1][1:], np.zeros((1, len(budgets))), axis=0)  # [K, L]
    tolerance = 1e-9 * (1 + abs(floor)) if known is not None else 0.0

    def prune(k: int, costs: np.ndarray, scores: np.ndarray) -> np.ndarray:
        within = (costs + needed[k] <= budgets).all(1)
        bound = scores + ahead[k] + (budgets - costs) @ multipliers
        return within & (bound >= floor - tolerance)

    found = combine(choices, len(budgets), prune=prune, most=most)
    if len(found.scores) and found.scores.max() >= floor:
        return found.assignment(int(found.scores.argmax())), found.slack
    return (None if known is None else relaxed.assignment(known)), found.slack


class _Relaxed:
    """The same problem with budgets turned into prices: each choice takes what is best at the prices."""

    def __init__(self, choices: Sequence[OneOf]) -> None:
        self.choices = choices
        self.costs = np.concatenate([choice.costs for choice in choices])
        self.scores = np.concatenate([choice.scores for choice in choices])
        self.sizes = np.array([len(choice.scores) for choice in choices])
        self.starts = np.cumsum(self.sizes) - self.sizes

    def at(self, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of every choice: what its best point is worth at the prices, `[K]`, and which one that is."""
        worth = self.scores - self.costs @ prices
        best = np.maximum.reduceat(worth, self.starts)
        ties = np.flatnonzero(worth == np.repeat(best, self.sizes))
        return best, ties[np.searchsorted(ties, self.starts)]

    def spent(self, prices: np.ndarray) -> np.ndarray:
        return self.costs[self.at(prices)[1]].sum(0)

    def multipliers(self, budgets: np.ndarray) -> np.ndarray:
        """Prices at which the budgets are about spent, `[L]`; any prices from 0 give a bound, these a close one."""
        prices = np.zeros(len(budgets))
        for _ in range(1 if len(budgets) == 1 else 3):
            for i in range(len(budgets)):
                low, high = 0.0, 1 / max(abs(budgets[i]), 1e-9)

                def is_within(price: float, i: int = i) -> bool:
                    return self.spent(np.where(np.arange(len(budgets)) == i, price, prices))[i] <= budgets[i]

                if is_within(0.0):
                    prices[i] = 0.0
                    continue
                while not is_within(high) and high < 1e30:
                    high *= 2
                for _ in range(50):
                    middle = (low + high) / 2
                    low, high = (low, middle) if is_within(middle) else (middle, high)
                prices[i] = high
        return prices

    def feasible(self, prices: np.ndarray, budgets: np.ndarray) -> np.ndarray | None:
        """Indices of one point a choice, within the budgets and not bettered by any one exchange; None if none was
        met."""
        for growth in itertools.accumulate(itertools.repeat(1.1, 300), lambda a, b: a * b, initial=1.0):
            _, picks = self.at(prices * growth + (growth - 1) / np.maximum(np.abs(budgets), 1e-9))
            left = budgets - self.costs[picks].sum(0)
            if (left >= 0).all():
                break
        else:
            return None
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes)
        while True:
            gain = self.scores - self.scores[picks][owner]
            extra = self.costs - self.costs[picks][owner]
            gain = np.where((extra <= left).all(1), gain, 0.0)
            best = int(gain.argmax())
            if gain[best] <= 1e-12:
                return picks
            left = left - extra[best]
            picks[owner[best]] = best

    def assignment(self, picks: np.ndarray) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for choice, start, pick in zip(self.choices, self.starts, picks):
            values |= choice.assignment(int(pick - start))
        return values
