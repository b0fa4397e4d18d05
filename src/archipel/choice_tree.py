"""The choices of a space as a tree, options opening more of them: which are active, and how many ways to set them.

Counting, ranking and drawing are one recursion: `unrank` maps 0..size-1 one to one onto the assignments, so a uniform
assignment is the one at a uniform index.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archipel.choice import Choice, members

__all__ = ["ChoiceTree"]


class ChoiceTree:
    """Choices, parents before what they open.

    Assignments are mappings from the names of the active choices to canonical values.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._children: dict[str | None, list[Choice]] = {}
        for choice in choices:
            self._children.setdefault(choice.parent, []).append(choice)
        # How many ways to set a choice and all that it opens; and, for each option, what it alone opens.
        self._counts: dict[str, int] = {}
        self._weights: dict[str, tuple[int, ...]] = {}
        for choice in reversed(choices):
            self._weights[choice.name] = tuple(
                math.prod(self._counts[child.name] for child in self._opened(choice, option))
                for option in choice.options
            )
            self._counts[choice.name] = _count(choice, self._weights[choice.name])
        self.size: int = math.prod(self._counts[choice.name] for choice in self._always)
        """How many assignments there are, exactly."""

    @property
    def _always(self) -> list[Choice]:
        return self._children.get(None, [])

    def _opened(self, choice: Choice, option: Any) -> list[Choice]:
        return [child for child in self._children.get(choice.name, []) if option in child.when]

    def active(self, assignment: Mapping[str, Any]) -> Iterator[Choice]:
        """The choices that are active under an assignment, which may grow meanwhile; parents before what they open."""
        pending = list(self._always)
        while pending:
            choice = pending.pop(0)
            yield choice
            if choice.name in assignment and choice.name in self._children:
                chosen = members(assignment[choice.name])
                pending += [c for c in self._children[choice.name] if not c.when.isdisjoint(chosen)]

    def unrank(self, index: int) -> dict[str, Any]:
        """The assignment at `index` of `size`."""
        return self._unrank(self._always, index)

    def rank(self, assignment: Mapping[str, Any]) -> int:
        """Inverse of `unrank`."""
        return self._rank(self._always, assignment)

    def first(self, choice: Choice) -> Any:
        """What a choice is set to in the first assignment of it and all that it opens."""
        return self._unrank_one(choice, 0)[choice.name]

    def drawn(self, choice: Choice, rng: random.Random) -> Any:
        """What a choice is set to in a uniform assignment of it and all that it opens."""
        return self._unrank_one(choice, rng.randrange(self._counts[choice.name]))[choice.name]

    def _unrank(self, choices: Sequence[Choice], index: int) -> dict[str, Any]:
        assignment: dict[str, Any] = {}
        for choice in choices:
            index, digit = divmod(index, self._counts[choice.name])
            assignment |= self._unrank_one(choice, digit)
        return assignment

    def _unrank_one(self, choice: Choice, index: int) -> dict[str, Any]:
        weights = self._weights[choice.name]
        taken: list[tuple[Any, int]] = []  # option, index within what it opens
        if choice.kind == "subset":
            index += not choice.allows_empty
            for option, weight in zip(choice.options, weights):
                index, digit = divmod(index, 1 + weight)
                if digit:
                    taken.append((option, digit - 1))
        elif choice.kind == "inputs":
            left = choice.k
            for i, option in enumerate(choice.options):
                if not left:
                    break
                rest = _ways(weights[i + 1 :], left - 1)
                if index < weights[i] * rest:
                    nested, index = divmod(index, rest)
                    taken.append((option, nested))
                    left -= 1
                else:
                    index -= weights[i] * rest
        else:
            for option, weight in zip(choice.options, weights):
                if index < weight:
                    taken.append((option, index))
                    break
                index -= weight
        chosen = tuple(option for option, _ in taken)
        assignment = {choice.name: chosen if choice.takes_several else chosen[0]}
        for option, nested in taken:
            assignment |= self._unrank(self._opened(choice, option), nested)
        return assignment

    def _rank(self, choices: Sequence[Choice], assignment: Mapping[str, Any]) -> int:
        index = 0
        for choice in reversed(choices):
            index = index * self._counts[choice.name] + self._rank_one(choice, assignment)
        return index

    def _rank_one(self, choice: Choice, assignment: Mapping[str, Any]) -> int:
        weights = self._weights[choice.name]
        chosen = members(assignment[choice.name])
        nested = {option: self._rank(self._opened(choice, option), assignment) for option in chosen}
        if choice.kind == "subset":
            index = 0
            for option, weight in reversed(list(zip(choice.options, weights))):
                index = index * (1 + weight) + (nested[option] + 1 if option in nested else 0)
            return index - (not choice.allows_empty)
        if choice.kind == "inputs":
            index, left = 0, choice.k
            for i, option in enumerate(choice.options):
                if not left:
                    break
                rest = _ways(weights[i + 1 :], left - 1)
                if option in nested:
                    index += nested[option] * rest
                    left -= 1
                else:
                    index += weights[i] * rest
            return index
        position = choice.options.index(chosen[0])
        return sum(weights[:position]) + nested[chosen[0]]


def _count(choice: Choice, weights: Sequence[int]) -> int:
    if choice.kind == "subset":
        return math.prod(1 + w for w in weights) - (not choice.allows_empty)
    return _ways(weights, choice.k)


def _ways(weights: Sequence[int], k: int) -> int:
    """Σ over k-subsets of Π of their weights (elementary symmetric polynomial)."""
    ways = [1] + [0] * k
    for weight in weights:
        for r in range(k, 0, -1):
            ways[r] += weight * ways[r - 1]
    return ways[k]
