"""The sandwich rule: every training step has the largest child, the smallest and some between.

If both ends of a set of children that share weights are good, what lies between is too (universally slimmable
networks, Yu & Huang, ICCV 2019, §3.2); BigNAS (Yu et al., ECCV 2020) trains whole search spaces by it.

Evidence (elastic MobileNetV2 of width 0.5, 899 images of digits, one thread, one seed; test accuracy of the smallest
child, the largest and four random ones, statistics recalibrated): 12 epochs of one random child a step 69, 77 and 75 %
(4 s); 12 epochs of sandwiches 94, 96 and 95 % (16 s), and 88, 95 and 90 % where all but the largest learn from it
alone; 48 epochs of one random child a step 94, 97 and 96 % (18 s). So it is worth its time where passes over the data
are what is short, and so short a training wants labels.
"""

from __future__ import annotations

import torch

from archipel.architecture import Architecture
from archipel.cost.extremes import extremes
from archipel.errors import OptionError
from archipel.metagraph import Route, Single
from archipel.sharing.policies import PathPolicy
from archipel.space import Space
from archipel.tasks.task import Batch

__all__ = ["Sandwich"]


class Sandwich:
    """A step policy: the largest child first, so that it can teach the others (`Distillation`), then the smallest,
    then `between` of what another policy draws.

    Gradients are added up over the routes and make one step, as published: what all children share moves further than
    a step of one child would move it, which the learning rate should allow for.

    Args:
        draw: routes between the two; it may give every sample a child of its own.
        between: how many of them a step has (2 in both papers).

    Raises:
        OptionError: `between` is below 0.
    """

    def __init__(self, largest: Architecture, smallest: Architecture, draw: PathPolicy, *, between: int = 2) -> None:
        if between < 0:
            raise OptionError(f"a sandwich has {between} children between its ends; give 0 or more")
        self.largest = largest
        self.smallest = smallest
        self.draw = draw
        self.between = between

    @classmethod
    def of(cls, space: Space, input_shape: tuple[int, int, int], draw: PathPolicy, *, between: int = 2) -> Sandwich:
        """With the children of most and of fewest multiply-adds at its ends.

        Args:
            input_shape: `[C, H, W]` of an image.
        """
        ends = extremes(space, input_shape)
        return cls(ends.largest, ends.smallest, draw, between=between)

    def routes(self, batch: Batch, done: float, generator: torch.Generator) -> list[Route]:
        """`2 + between` of them, the largest child's first."""
        drawn = (self.draw.route(batch, done, generator) for _ in range(self.between))
        return [Single(self.largest), Single(self.smallest), *drawn]
