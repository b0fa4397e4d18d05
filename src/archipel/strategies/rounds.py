"""Random architectures first, then rounds in which all that is known gives the next few."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.strategies.strategy import Scores

__all__ = ["InRounds"]


class InRounds(ABC):
    """What strategies have in common that learn from all that is known, and then ask for several at once.

    Nothing is asked for twice while a round finds something new.

    Args:
        initial: so many architectures are random.
        counts: settings that have to be 1 or more, by name.

    Raises:
        OptionError: `initial` or one of the counts is below 1.
    """

    def __init__(self, space: Space, *, seed: int, initial: int, **counts: int) -> None:
        for name, value in {"initial": initial, **counts}.items():
            if value < 1:
                raise OptionError(f"{name} is {value}; give 1 or more")
        self.space, self.initial = space, initial
        self.rng = random.Random(seed)
        self.known: dict[Architecture, tuple[float, ...]] = {}
        self.seen: set[Architecture] = set()
        """Asked for or told, whatever came of it."""
        self.queue: deque[Architecture] = deque()

    def ask(self) -> Architecture:
        while self.queue and self.queue[0] in self.seen:
            self.queue.popleft()
        if not self.queue and len(self.seen) >= self.initial and len(self.known) > 1:
            self.queue.extend(self.round())
        asked = self.queue.popleft() if self.queue else self.random()
        self.seen.add(asked)
        return asked

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        self.seen.add(architecture)
        if scores is not None:
            self.known[architecture] = scores

    @abstractmethod
    def round(self) -> list[Architecture]:
        """What to ask for next, most promising first; none: a random one."""

    def random(self) -> Architecture:
        """A random architecture, one that was not seen if such a one is found soon."""
        for _ in range(100):
            drawn = self.space.sample(self.rng)
            if drawn not in self.seen:
                break
        return drawn
