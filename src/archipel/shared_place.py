"""Where a choice stands in a meta-graph: one batch through the options that its route takes there.

Letters: `B` batch, `O` options of the choice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archipel.choice import Choice, members
from archipel.choose import Place
from archipel.errors import ArchitectureError
from archipel.gating import Candidates, gated
from archipel.nn.blocks import Zero
from archipel.routes import Gating, Mixed, Single, Staged, current, follow
from archipel.rows import Numbers, Rows, add_rows, lone_row_explained, rows_of, zeros
from archipel.staging import completed, learns, multiplied

__all__ = ["SharedPlace"]


class SharedPlace(Place):
    """A place with every option, sharing weights: follows the route of the forward pass under way."""

    def __init__(self, choice: Choice, options: Mapping[str, nn.Module], empty: nn.Module | None) -> None:
        super().__init__(choice, options, empty)
        # Which choices stand inside each option.
        self._within = {
            name: frozenset(m.choice.name for m in option.modules() if isinstance(m, Place))
            for name, option in options.items()
        }

    def forward(self, x: Any) -> Tensor:
        route = current(self.choice.name)
        if isinstance(route, Rows):
            return self._masked(x, route) if route.masked else self._scattered(x, route)
        if isinstance(route, Staged):
            return self._decided(x, route)
        if isinstance(route, Mixed) and self.choice.name in route.weights:
            return self._mixed(x, route.weights[self.choice.name], route.on[self.choice.name])
        if isinstance(route, Gating) and self.choice.name in route.gates:
            return self._gated(x, route)
        return self._run_all(members(route.architecture[self.choice.name]), x)

    def computes_nothing(self) -> bool:
        """Whether the route under way runs `Zero` here and no other option is looked at."""
        route = current(self.choice.name)
        running: list[nn.Module | None]
        if isinstance(route, Mixed | Staged) or (isinstance(route, Gating) and self.choice.name in route.gates):
            return False
        if isinstance(route, Rows):
            taken = zip(self.choice.options, route.taken[self.choice.name])
            chosen = tuple(option for option, rows in taken if rows is None or len(rows))
            running = [self.options[str(option)] for option in chosen]
            running += [] if self.empty is None else [self.empty]
        else:
            chosen = members(route.architecture[self.choice.name])
            running = [self.options[str(option)] for option in chosen] if chosen else [self.empty]
        return all(isinstance(option, Zero) for option in running)

    def taken_by(self, option: Any, /) -> Tensor | bool:
        route = current(self.choice.name)
        at = self.choice.options.index(option)
        if isinstance(route, Rows):
            rows = route.taken[self.choice.name][at]
            return True if rows is None else rows if len(rows) else False
        if isinstance(route, Staged):
            raise ArchitectureError(
                f"choice '{self.choice.name}' is decided on the way, and the network asks what was taken; give codes "
                "that are known before (PerInstance)"
            )
        if isinstance(route, Mixed) and self.choice.name in route.weights:
            return route.on[self.choice.name][at]
        return option in members(route.architecture[self.choice.name])

    def _run(self, option: Any, x: Any, rows: Tensor | None = None) -> Tensor:
        own = x[option] if self.choice.kind == "inputs" else x
        y: Tensor = self.options[str(option)](own if rows is None else rows_of(own, rows))
        return y

    def _run_all(self, chosen: Sequence[Any], x: Any) -> Tensor:
        if not chosen:
            return self._run_empty(x)
        y = self._run(chosen[0], x)
        for option in chosen[1:]:
            y = y + self._run(option, x)
        return y / len(chosen) if self.choice.mean and len(chosen) > 1 else y

    def _run_empty(self, x: Tensor) -> Tensor:
        y: Tensor = self.options[str(self.choice.empty)](x) if self.empty is None else self.empty(x)
        return y

    def _mixed(self, x: Any, weights: Tensor, on: list[bool]) -> Tensor:
        y: Tensor | None = None
        for option, weight, runs in zip(self.choice.options, weights, on):
            if runs:
                term = weight * self._run(option, x)
                y = term if y is None else y + term
        if y is None:
            return self._run_empty(x)
        return y / sum(on) if self.choice.mean else y

    def _gated(self, x: Any, route: Gating) -> Tensor:
        name = self.choice.name
        gate, active = route.gates[name], str(route.architecture[name])
        if not (torch.is_grad_enabled() and gate.requires_grad):
            return self._run(active, x)
        if not isinstance(x, Tensor):
            raise ArchitectureError(f"choice '{name}' has gates and is given {type(x).__name__}; give it one tensor")
        candidates = Candidates(
            name, dict(self.options.items()), active, route.observed[name], Single(route.architecture)
        )
        inner = [route.gates[c] for c in sorted(self._within[active] & route.gates.keys())]
        return gated(x, gate, candidates, inner, recompute=route.recompute)

    def _decided(self, x: Any, route: Staged) -> Tensor:
        name = self.choice.name
        decision = route.decide(name, x)
        taken = completed(self.choice, decision)
        if not learns(decision):
            if len(taken) == 1 or bool((taken == taken[0]).all()):  # nothing to gather or scatter
                return self._run_all([o for o, on in zip(self.choice.options, taken[0].tolist()) if on], x)
            return self._scattered(x, Rows(taken, {name: slice(None)}, Numbers(), decision.device), inside=route)
        empty = None if isinstance(self.empty, Zero) else functools.partial(self._run_empty, x)
        return multiplied(self.choice, decision, lambda option: self._run(option, x), empty)

    def _scattered(self, x: Any, route: Rows, inside: Staged | None = None) -> Tensor:
        whole: Tensor | None = None  # Σ of the options that every row takes
        parts: list[tuple[Tensor, Tensor]] = []
        for option, rows in zip(self.choice.options, route.taken[self.choice.name]):
            if rows is None:
                term = self._run(option, x)
                whole = term if whole is None else whole + term
            elif len(rows):
                own = route.narrowed(rows) if self._within[str(option)] else route
                taking = f"takes option '{option}' of choice '{self.choice.name}'"
                with follow(inside or own), lone_row_explained(taking):
                    parts.append((rows, self._run(option, x, rows)))
        if self.choice.allows_empty and whole is None:
            none = (~route.codes[:, route.slices[self.choice.name]].any(1)).nonzero()[:, 0].to(route.device)
            if len(none) == len(route.codes):
                return self._run_empty(x)
            if len(none) and not isinstance(self.empty, Zero):  # what is added up begins with zeros
                parts.append((none, self._run_empty(rows_of(x, none))))
        count = self._count(route) if self.choice.mean else None
        if not parts:
            assert whole is not None  # a complete code chooses something in every row
            return whole if count is None else whole / _spread_over(count, whole)
        # Under autocast an identity keeps a wider type than a convolution.
        wide = functools.reduce(torch.promote_types, (p.dtype for _, p in parts))
        if whole is None:
            y = zeros(parts[0][1], len(route.codes), wide)
        else:  # out of place: `whole` may be x itself, or saved for the backward pass
            y = whole.to(torch.promote_types(wide, whole.dtype), copy=True)
        for rows, part in parts:
            add_rows(y, rows, part.to(y.dtype))
        return y if count is None else y.div_(_spread_over(count, y))

    def _masked(self, x: Any, route: Rows) -> Tensor:
        """What any row takes, on all rows; a row for which the choice is not active gets what its taker throws away."""
        own = route.codes[:, route.slices[self.choice.name]]
        y: Tensor | None = None
        for option, taking in zip(self.choice.options, own.t()):
            if bool(taking.any()):
                term = self._run(option, x)
                term = term if bool(taking.all()) else term * _spread_over(taking, term)
                y = term if y is None else y + term
        if self.choice.allows_empty and not bool(own.any(1).all()):
            empty = self._run_empty(x)
            y = empty if y is None else y + empty * _spread_over(~own.any(1), empty)
        assert y is not None  # somebody is here, and takes something
        count = self._count(route) if self.choice.mean else None
        return y if count is None else y / _spread_over(count, y)

    def _count(self, route: Rows) -> Tensor | None:
        """How many options each row takes, or None where every row takes one option."""
        chosen = route.codes[:, route.slices[self.choice.name]].sum(1).clamp_min(1)
        return None if int(chosen.max()) == 1 else chosen


def _spread_over(rows: Tensor, y: Tensor) -> Tensor:
    return rows.to(y).view(-1, *[1] * (y.dim() - 1))
