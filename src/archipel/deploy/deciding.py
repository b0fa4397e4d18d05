"""What picks architectures, as a module that can be exported: a controller and the reading of its logits.

Letters: `B` batch, `D` code columns, `G` choices of `O` options each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archipel.choice import Choice
from archipel.instance.conditioned import ConditionedController
from archipel.instance.policy import CodePolicy
from archipel.nn.fold import fold_for_inference
from archipel.space import Space

__all__ = ["Deciding"]


class Deciding(nn.Module):
    """Images `[B, C, H, W]`, and of a conditioned controller milliseconds `[B]`, to codes `[B, D]`, bool and complete,
    and the probability of every option, `[B, D]`: what `CodePolicy` makes of the logits, choices that are alike at
    once, since in a runtime every operation has its price."""

    order: Tensor

    def __init__(self, controller: nn.Module, space: Space) -> None:
        super().__init__()
        self.controller = fold_for_inference(controller)
        self.space = space
        alike: dict[tuple[str, int, int], list[Choice]] = {}
        for choice in space.choices:
            alike.setdefault((choice.kind, choice.k, len(choice.options)), []).append(choice)
        self.groups = nn.ModuleList(_Group(space, choices) for choices in alike.values())
        columns = [column for choices in alike.values() for column in _columns(space, choices)]
        self.in_order = columns == sorted(columns)
        self.register_buffer("order", torch.tensor(columns).argsort(), persistent=False)

    @property
    def conditioned(self) -> bool:
        """Whether a wanted latency is asked for."""
        return isinstance(self.controller, ConditionedController)

    def forward(self, images: Tensor, *target_ms: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.controller(images, *target_ms)
        parts = [group(logits) for group in self.groups]
        bits, probabilities = (torch.cat(own, 1) if len(own) > 1 else own[0] for own in zip(*parts))
        if not self.in_order:
            bits, probabilities = bits[:, self.order], probabilities[:, self.order]
        if any(choice.parent is not None for choice in self.space.choices):
            bits = CodePolicy(self.space).complete(bits.to(logits)) > 0.5
        return bits, probabilities


class _Group(nn.Module):
    """Choices of one kind, with as many options, read together."""

    columns: Tensor
    default: Tensor
    needed: Tensor

    def __init__(self, space: Space, choices: Sequence[Choice]) -> None:
        super().__init__()
        first = choices[0]
        self.is_subset, self.k, self.options = first.kind == "subset", first.k, len(first.options)
        default = [[float(option == choice.empty) for option in choice.options] for choice in choices]
        needed = [[float(choice.empty is None)] for choice in choices]
        self.any_default, self.any_needed = any(map(any, default)), any(map(any, needed))
        columns = _columns(space, choices)
        self.is_whole = columns == list(range(space.width))
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.register_buffer("default", torch.tensor(default), persistent=False)  # [G, O]
        self.register_buffer("needed", torch.tensor(needed), persistent=False)  # [G, 1]

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What is taken, bool, an empty selection with a default being that, and how probable each option is:
        `[B, G·O]` each."""
        own = logits if self.is_whole else logits[:, self.columns]
        z = own.unflatten(1, (-1, self.options))  # [B, G, O]
        if not self.is_subset:
            taken = torch.zeros_like(z).scatter(2, z.topk(self.k, dim=2).indices, 1.0) > 0.5
            return taken.flatten(1), z.softmax(2).flatten(1)
        bound: Tensor | float = 0.0  # σ(z) ≥ 0.5
        if self.any_needed:  # the likeliest where no other is
            bound = z.amax(2, keepdim=True).clamp(max=0.0) * self.needed
        taken = z >= bound
        if self.any_default:
            nothing = 1.0 - taken.to(z).amax(2, keepdim=True)
            taken = taken | (nothing * self.default > 0.5)
        return taken.flatten(1), z.sigmoid().flatten(1)


def _columns(space: Space, choices: Sequence[Choice]) -> list[int]:
    return [column for choice in choices for column in range(space.width)[space.slices[choice.name]]]
