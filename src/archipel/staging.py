"""Decisions made on the way through a meta-graph (`routes.Staged`): what they mean, and how gates learn from them.

Letters: `B` batch, `O` options of a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archipel.choice import Choice
from archipel.errors import ArchitectureError
from archipel.routes import Staged
from archipel.space import Space

__all__ = ["completed", "learns", "multiplied", "staged"]


def staged(space: Space, route: Staged) -> Staged:
    """The route, if it can be followed through the space.

    Raises:
        ArchitectureError: the space has `value` choices.
    """
    for choice in space.choices:
        if choice.kind == "value":
            raise ArchitectureError(
                f"choice '{choice.name}' is a value, which shapes what all samples flow through; a staged route "
                "decides about modules only"
            )
    return route


def learns(decision: Tensor) -> bool:
    """Whether a gradient is to flow into a decision."""
    return torch.is_grad_enabled() and decision.requires_grad


def completed(choice: Choice, decision: Tensor) -> Tensor:
    """Which options each sample takes, an empty selection written as its default; `[B, O]`, bool, on the CPU.

    Raises:
        ArchitectureError: some sample takes too few or too many.
    """
    taken = decision.detach().bool().cpu()
    if choice.kind == "subset" and choice.allows_empty:
        return taken
    if choice.empty in choice.options:
        taken[:, choice.options.index(choice.empty)] |= ~taken.any(1)
    count = taken.sum(1)
    is_subset = choice.kind == "subset"
    wrong = count == 0 if is_subset else count != choice.k
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ArchitectureError(
            f"sample {row} is decided to take {int(count[row])} options of {choice.kind} choice '{choice.name}'; "
            f"take {'at least one' if is_subset else choice.k}"
        )
    return taken


def multiplied(
    choice: Choice, decision: Tensor, run: Callable[[Any], Tensor], empty: Callable[[], Tensor] | None
) -> Tensor:
    """Σ_o z_o f_o(x), every option run on every sample; averaged, or with what an empty selection runs, where the
    choice says so. In both the gradient counts too: of an option that is off it is what turning it on would change.

    Args:
        decision: z, `[B, O]`.
        run: an option → its output.
        empty: gives what a sample without options gets, where the choice allows that; None: 0.
    """
    none = (1.0 - decision).prod(1)  # 1 where nothing is on; its gradient says which option alone prevents that
    weights = dict(zip(choice.options, decision.unbind(1)))
    if choice.empty in weights:
        weights[choice.empty] = weights[choice.empty] + none
    y: Tensor | None = None
    for option, weight in weights.items():
        term = run(option)
        term = term * _over(weight, term)
        y = term if y is None else y + term
    assert y is not None
    if choice.allows_empty and empty is not None:
        y = y + _over(none, y) * empty()
    if not choice.mean:
        return y
    count = torch.stack(list(weights.values())).sum(0)
    return y / _over(count + none if choice.allows_empty else count, y)


def _over(rows: Tensor, y: Tensor) -> Tensor:
    return rows.to(y).view(-1, *[1] * (y.dim() - 1))
