"""From a search's probabilities to architectures: the most probable, alone or within budgets, and the Pareto set.

Cost and log-probability of an architecture are both sums over its choices, so the most probable one under a budget is a
multiple-choice knapsack; it is solved exactly (`archipel.sharing.fronts`). ProxylessNAS itself takes the argmax of
every choice and has no budget. `D` code columns, `O` options of a choice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost.additive import AdditiveCost, reach
from archipel.errors import OptionError, SpaceError
from archipel.sharing.fronts import Combination, best_within, combine, fronts_of
from archipel.space import Space

__all__ = ["Derived", "Front", "argmax", "best_under", "pareto", "random_under"]

LEAST_PROBABILITY = 1e-300
"""What is less counts as this much, so that an option never taken can still be what a budget leaves."""

ENUMERATED = 1024
"""Largest space of which `random_under` looks at every architecture."""

PATIENCE = 50_000
"""Draws in a row that may be rejected."""

ROUNDING = 1e-12
"""Relative; two orders of adding up the same costs differ by less."""


@dataclass(frozen=True)
class Derived:
    """An architecture that a search gives."""

    architecture: Architecture
    cost: float
    """In the cost's unit."""
    log_probability: float
    """Nats: Σ log p over its active choices."""
    slack: float = 0.0
    """How far it may be from the best: none that is more probable is within its budgets less their slack (here that of
    the first). 0 where exact."""
    is_exact: bool = True

    def sentence(self) -> str:
        """What it is and how sure that is, for a person."""
        found = f"cost {self.cost:.6g}, log-probability {self.log_probability:.4f}"
        if self.is_exact:
            return f"{found}; no architecture within its budget is more probable"
        return (
            f"{found}; the space is too large to look at every unbeaten combination, so costs were put on a grid: "
            f"it is within its budget, and no more probable one is within a budget {self.slack:.3g} smaller"
        )


@dataclass(frozen=True, eq=False)
class Front:
    """The architectures of a search that no other beats in both cost and probability, by ascending cost."""

    costs: np.ndarray
    """`[n]`, in the cost's unit."""
    log_probabilities: np.ndarray
    """`[n]`, nats, ascending."""
    slack: float
    """As `Derived.slack`, at every cost; 0 where exact."""
    cost: AdditiveCost = field(repr=False)
    points: Combination = field(repr=False)

    def __len__(self) -> int:
        return len(self.costs)

    def __getitem__(self, index: int) -> Derived:
        position = range(len(self))[index]
        architecture = self.cost.space.canonical(self.points.assignment(position))
        log_probability = float(self.log_probabilities[position])
        return Derived(architecture, self.cost.of(architecture), log_probability, self.slack, self.slack == 0)

    def under(self, budget: float) -> Derived:
        """The most probable one that costs at most `budget`.

        Raises:
            OptionError: the budget is below the cheapest.
        """
        index = int(np.searchsorted(self.costs, budget + _rounding(self.cost, budget), side="right")) - 1
        if index < 0:
            raise OptionError(_too_small(self.cost, budget, float(self.costs[0])))
        return self[index]


def argmax(probabilities: Mapping[str, Tensor], cost: AdditiveCost) -> Derived:
    """The most probable option of every choice, the first of equals, as ProxylessNAS derives its networks.

    Args:
        probabilities: choice name → `[O]`, of each option where the choice is active.
    """
    logs = _logs(cost.space, probabilities)
    best = {choice.name: choice.options[int(logs[choice.name].argmax())] for choice in cost.space.choices}
    architecture = cost.space.canonical(best)
    return Derived(architecture, cost.of(architecture), _log_probability(cost.space, logs, architecture))


def best_under(
    probabilities: Mapping[str, Tensor],
    cost: AdditiveCost,
    budget: float,
    *,
    also: Sequence[tuple[AdditiveCost, float]] = (),
    allowed: Tensor | None = None,
) -> Derived:
    """The most probable architecture that costs at most `budget`.

    Args:
        probabilities: choice name → `[O]`, of each option where the choice is active.
        also: other costs of the same space that have budgets of their own.
        allowed: `[D]`, bool: options that may be taken (`PeakActivations.allowed`).

    Raises:
        OptionError: no architecture is within the budgets; names the cheapest.
        SpaceError: the space has other choices than `op` choices.
    """
    limits = [(cost, budget), *also]
    space, logs = cost.space, _logs(cost.space, probabilities)
    columns = np.stack([limit.columns.numpy() for limit, _ in limits], axis=1)  # [D, L]
    choices = fronts_of(space, logs, columns, _allowed(space, allowed))
    _none_left_out(space, [(front.choice.name, len(front.scores)) for front in choices])
    for i, (limit, most) in enumerate(limits):
        cheapest = limit.base + sum(float(front.costs[:, i].min()) for front in choices)
        if cheapest > most + _rounding(limit, most):
            raise OptionError(_too_small(limit, most, cheapest))
    budgets = np.array([most + _rounding(limit, most) - limit.base for limit, most in limits])
    found, slack = best_within(choices, budgets) if choices else ({}, np.zeros(1))
    if found is None:
        listed = " and ".join(f"{most:g} {limit.unit} of {limit.name}" for limit, most in limits)
        known = "was found" if slack.any() else "is"
        raise OptionError(f"no architecture of space '{space.name}' {known} within {listed} at once; raise one of them")
    architecture = space.canonical(found)
    total = _log_probability(space, logs, architecture)
    return Derived(architecture, cost.of(architecture), total, float(slack[0]), not slack.any())


def pareto(probabilities: Mapping[str, Tensor], cost: AdditiveCost, *, allowed: Tensor | None = None) -> Front:
    """Every architecture that is the most probable at its cost: a whole set of budgets from one search.

    Args:
        probabilities, allowed: as `best_under`.

    Raises:
        OptionError: some choice has no option that is allowed.
        SpaceError: the space has other choices than `op` choices.
    """
    space, logs = cost.space, _logs(cost.space, probabilities)
    choices = fronts_of(space, logs, cost.columns.numpy()[:, None], _allowed(space, allowed))
    _none_left_out(space, [(front.choice.name, len(front.scores)) for front in choices])
    points = combine(choices, 1)
    return Front(cost.base + points.costs[:, 0], points.scores, float(points.slack[0]), cost, points)


def random_under(
    space: Space,
    cost: AdditiveCost,
    budget: float,
    rng: random.Random,
    count: int,
    *,
    floor: float = 0.9,
    probabilities: Mapping[str, Tensor] | None = None,
) -> list[Architecture]:
    """Random architectures that use up a budget: the control of a search that was given it, or what the search's own
    distribution gives there.

    Distribution: each is uniform over all architectures whose cost lies in `[floor * budget, budget]`, or distributed
    there as `probabilities` say, independently of the others (so one may come twice). Small spaces are enumerated.
    Large ones are drawn by rejection: every choice takes an option with probability ∝ (what it opens, times its own
    probability) · exp(-tilt · cost), with the tilt for which the mean cost is the budget (its floor, where
    architectures as they come are cheaper), and what lies in the band is kept with probability
    exp(tilt · (cost - the band's end)), which takes the tilt out again.

    Args:
        floor: lower end of the band, as a share of the budget.
        probabilities: choice name → `[O]`, of each option where the choice is active; None: all architectures alike.

    Raises:
        OptionError: no architecture lies in the band, or none was met in 50,000 draws.
        SpaceError: the space has other choices than `op` choices.
    """
    _ops_only(space)
    logs = None if probabilities is None else _logs(space, probabilities)
    low, high = floor * budget, budget + _rounding(cost, budget)
    if space.size <= ENUMERATED:
        within = [architecture for architecture in space if low <= cost.of(architecture) <= high]
        if not within:
            raise OptionError(_empty_band(cost, low, budget))
        likely = None if logs is None else [math.exp(_log_probability(space, logs, a)) for a in within]
        return rng.choices(within, likely, k=count)
    tilt = _tilt(space, cost, low, high, logs)
    weights = _tilted(space, cost, tilt, logs)[0]
    end = budget if tilt > 0 else low
    found: list[Architecture] = []
    tries = 0
    while len(found) < count:
        tries += 1
        if tries > PATIENCE:
            raise OptionError(_empty_band(cost, low, budget))
        values: dict[str, Any] = {}
        for choice in space.active(values):  # grows as the loop sets values
            values[choice.name] = rng.choices(choice.options, weights[choice.name])[0]
        architecture = space.canonical(values)
        value = cost.of(architecture)
        if low <= value <= high and rng.random() < math.exp(min(0.0, tilt * (value - end))):
            found.append(architecture)
            tries = 0
    return found


def _tilt(space: Space, cost: AdditiveCost, low: float, high: float, logs: Mapping[str, np.ndarray] | None) -> float:
    """The tilt that brings the mean cost into the band, to the end that architectures as they come are nearer to."""
    mean = _tilted(space, cost, 0.0, logs)[1]
    if low <= mean <= high:
        return 0.0
    target, sign = (high, 1.0) if mean > high else (low, -1.0)
    far = 1 / max(abs(mean), 1e-9)
    while sign * (_tilted(space, cost, sign * far, logs)[1] - target) > 0:
        far *= 2
        if far > 1e12 / max(abs(mean), 1e-9):
            raise OptionError(_empty_band(cost, low, high))
    near = 0.0
    for _ in range(40):
        middle = (near + far) / 2
        beyond = sign * (_tilted(space, cost, sign * middle, logs)[1] - target) <= 0
        near, far = (near, middle) if beyond else (middle, far)
    return sign * far


def _tilted(
    space: Space, cost: AdditiveCost, tilt: float, logs: Mapping[str, np.ndarray] | None
) -> tuple[dict[str, list[float]], float]:
    """Of architectures drawn with probability ∝ p · exp(-tilt · cost): each choice's probabilities, and the mean cost.

    Args:
        logs: log p; None: all architectures alike.
    """
    columns = cost.columns.tolist()
    opened: dict[tuple[str, Any], list[str]] = {}
    for choice in space.choices:
        for option in choice.when:
            opened.setdefault((str(choice.parent), option), []).append(choice.name)
    weights: dict[str, list[float]] = {}
    totals: dict[str, tuple[float, float]] = {}  # log of the sum of all weights below, mean cost below
    for choice in reversed(space.choices):
        own, means = [], []
        for i, option in enumerate(choice.options):
            column = columns[space.slices[choice.name].start + i]
            below = [totals[name] for name in opened.get((choice.name, option), ())]
            log_p = 0.0 if logs is None else float(logs[choice.name][i])
            own.append(log_p - tilt * column + sum(log for log, _ in below))
            means.append(column + sum(mean for _, mean in below))
        top = max(own)
        whole = sum(math.exp(log - top) for log in own)
        weights[choice.name] = [math.exp(log - top) / whole for log in own]
        totals[choice.name] = top + math.log(whole), sum(w * m for w, m in zip(weights[choice.name], means))
    return weights, cost.base + sum(totals[choice.name][1] for choice in space.choices if choice.parent is None)


def _logs(space: Space, probabilities: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """log p of every choice, `[O]`, after a look at whether they fit."""
    _ops_only(space)
    reach(space, probabilities)
    return {
        choice.name: np.log(np.maximum(probabilities[choice.name].detach().cpu().double().numpy(), LEAST_PROBABILITY))
        for choice in space.choices
    }


def _log_probability(space: Space, logs: Mapping[str, np.ndarray], architecture: Architecture) -> float:
    options = {choice.name: choice.options for choice in space.choices}
    return float(sum(logs[name][options[name].index(option)] for name, option in architecture.items()))


def _ops_only(space: Space) -> None:
    for choice in space.choices:
        if choice.kind != "op":
            raise SpaceError(
                f"choice '{choice.name}' of space '{space.name}' is a {choice.kind} choice; "
                "architectures are derived from op choices only"
            )


def _allowed(space: Space, allowed: Tensor | None) -> np.ndarray:
    if allowed is None:
        return np.ones(space.width, dtype=bool)
    if allowed.shape != (space.width,):
        raise OptionError(f"allowed options have shape {list(allowed.shape)}; give [{space.width}], a bool a column")
    return allowed.cpu().bool().numpy()


def _none_left_out(space: Space, points: Sequence[tuple[str, int]]) -> None:
    for name, count in points:
        if count == 0:
            raise OptionError(f"no option of choice '{name}' of space '{space.name}' is allowed; raise the limit")


def _rounding(cost: AdditiveCost, budget: float) -> float:
    return ROUNDING * (abs(budget) + abs(cost.base))


def _too_small(cost: AdditiveCost, budget: float, cheapest: float) -> str:
    return (
        f"budget {budget:g} {cost.unit} is below the cheapest architecture of space '{cost.space.name}', which costs "
        f"{cheapest:g} {cost.unit} of {cost.name}; give at least that"
    )


def _empty_band(cost: AdditiveCost, low: float, high: float) -> str:
    return (
        f"no architecture of space '{cost.space.name}' was found that costs {low:g} to {high:g} {cost.unit} of "
        f"{cost.name}; give another budget"
    )
