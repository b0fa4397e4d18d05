"""What a search for several devices left in its run: each device with its budgets, its table and its searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archipel.report.run_folder import MILLION, RunFolder, is_number, numbers

__all__ = ["Derived", "Search", "Target", "targets"]


@dataclass(frozen=True)
class Derived:
    """The network that one search gave for one budget; figures that the run does not hold are None. Costs are in the
    target's unit."""

    budget: float
    architecture: Mapping[str, str]
    """Choice → option; a choice that is not active is absent."""
    cost: float | None
    interval: tuple[float, float] | None
    log_probability: float | None
    inherited_accuracy: float | None
    candidates: int | None
    """How many within the budget were compared by that accuracy."""
    likeliest: tuple[float, float] | None
    """(cost, log-probability) of the likeliest architecture within the budget."""
    exact: bool
    """Whether none within the budget is likelier than that, for sure."""


@dataclass(frozen=True)
class Search:
    """One seed's search for one device. Networks are in the order of their budgets."""

    seed: str
    curves: Mapping[str, Any]
    """Name of a curve → its value in each epoch."""
    derived: list[Derived]
    argmax: float | None
    """What the likeliest architecture of all costs."""
    pareto: np.ndarray
    """`[N, 2]`: cost, log-probability; by ascending cost."""
    pareto_size: int
    """How many there were before some were chosen to be kept."""
    probabilities: dict[str, np.ndarray]
    """Choice → `[O]`."""


@dataclass(frozen=True)
class Target:
    """A device that networks were searched for, or multiply-adds."""

    label: str
    published: bool = False
    """A table published by others stands for it, and nothing was measured on it."""
    batch: int = 1
    unit: str = "ms"
    """Of all costs, each of one image: `ms`, or `M MAdds`."""
    budgets: tuple[float, ...] = ()
    """Ascending."""
    fidelity: Mapping[str, Any] = field(default_factory=dict)
    searches: list[Search] = field(default_factory=list)


def targets(run: RunFolder) -> list[Target]:
    """Every device that has a table or a search, in the order of the run."""
    tables = {str(row["target"]): row for row in run.rows("tables") if row.get("target") is not None}
    rows = [row for row in run.rows("searches") if row.get("target") is not None]
    found = []
    for label in dict.fromkeys([*tables, *(str(row["target"]) for row in rows)]):
        table = tables.get(label, {})
        fidelity, batch = table.get("fidelity"), table.get("batch")
        counted = table.get("unit") == "MAdds"
        held = table.get("budgets_madds" if counted else "budgets_ms") or ()
        scale = 1 / MILLION if counted else 1.0
        found.append(
            Target(
                label=label,
                published=bool(table.get("published")),
                batch=int(batch) if is_number(batch) else 1,
                unit="M MAdds" if counted else "ms",
                budgets=tuple(sorted(scale * b for b in held if is_number(b))),
                fidelity=fidelity if isinstance(fidelity, Mapping) else {},
                searches=[_search(row, counted) for row in rows if str(row["target"]) == label],
            )
        )
    return found


def _search(row: Mapping[str, Any], counted: bool) -> Search:
    suffix, scale = ("madds", 1 / MILLION) if counted else ("ms", 1.0)
    derived = [_derived(each, suffix, scale) for each in row.get("derived") or [] if _is_network(each, suffix)]
    points = [pair for pair in map(numbers, row.get("pareto") or []) if len(pair) == 2 and np.isfinite(pair).all()]
    pareto = np.array(points, dtype=np.float64).reshape(-1, 2) * (scale, 1.0)
    size, argmax = row.get("pareto_size"), row.get("argmax")
    probabilities = row.get("probabilities")
    return Search(
        seed=str(row.get("seed", "?")),
        curves={name: (numbers(row[name]) * scale).tolist() if name in _COSTS else row[name] for name in row},
        derived=sorted(derived, key=lambda each: each.budget),
        argmax=_number(argmax.get(f"table_{suffix}"), scale) if isinstance(argmax, Mapping) else None,
        pareto=pareto[np.argsort(pareto[:, 0], kind="stable")],
        pareto_size=int(size) if is_number(size) else len(pareto),
        probabilities={
            str(name): values
            for name, row in (probabilities.items() if isinstance(probabilities, Mapping) else ())
            if len(values := numbers(row)) and np.isfinite(values).all()
        },
    )


_COSTS = ("expected_cost", "argmax_cost")


def _is_network(row: Any, suffix: str) -> bool:
    if not isinstance(row, Mapping) or not isinstance(row.get("architecture"), Mapping):
        return False
    return is_number(row.get(f"budget_{suffix}"))


def _derived(row: Mapping[str, Any], suffix: str, scale: float) -> Derived:
    low, high = (_number(row.get(f"{end}_{suffix}"), scale) for end in ("low", "high"))
    found = row.get("likeliest")
    likeliest: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    best, chance = _number(likeliest.get(f"table_{suffix}"), scale), _number(likeliest.get("log_probability"))
    candidates = _number(row.get("candidates"))
    return Derived(
        budget=scale * row[f"budget_{suffix}"],
        architecture={str(name): str(option) for name, option in row["architecture"].items()},
        cost=_number(row.get(f"table_{suffix}"), scale),
        interval=None if low is None or high is None else (low, high),
        log_probability=_number(row.get("log_probability")),
        inherited_accuracy=_number(row.get("inherited_accuracy")),
        candidates=None if candidates is None else int(candidates),
        likeliest=None if best is None or chance is None else (best, chance),
        exact=likeliest.get("exact") is not False,
    )


def _number(value: Any, scale: float = 1.0) -> float | None:
    return scale * value if is_number(value) else None
