"""Every sampler of Optuna as a strategy."""

from __future__ import annotations

import inspect
import math
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from archipel.architecture import Architecture
from archipel.errors import OptionError, did_you_mean
from archipel.space import Space
from archipel.strategies.strategy import Scores
from archipel.strategies.suggestion import grid, parameters_of, suggest

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler

__all__ = ["OptunaSampler", "samplers"]

_GRID = 100_000
"""Points that `GridSampler`, which holds them all, may have."""


class OptunaSampler:
    """A sampler of Optuna (Akiba et al., KDD 2019) by its name, such as `TPESampler`, over a study in memory.

    Raises:
        OptionError: there is no such sampler, or it cannot be made from a space and a seed.
    """

    def __init__(self, space: Space, sampler: str, *, objectives: int = 1, seed: int = 0) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it prints a line a study and a trial otherwise
        self.space = space
        self.study = optuna.create_study(
            directions=["maximize"] * objectives, sampler=_made(sampler, space, seed, objectives)
        )
        self.asked: dict[Architecture, list[Trial]] = {}

    def ask(self) -> Architecture:
        trial = self.study.ask()
        architecture = suggest(trial, self.space)
        self.asked.setdefault(architecture, []).append(trial)
        return architecture

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        from optuna.trial import TrialState, create_trial

        state = TrialState.FAIL if scores is None else TrialState.COMPLETE
        own = self.asked.pop(architecture, [])
        for trial in own:
            with suppress(RuntimeError):  # samplers that have tried everything stop a study, which is not run here
                self.study.tell(trial, scores, state=state)
        if not own:  # another's
            held = parameters_of(self.space, architecture)
            self.study.add_trial(
                create_trial(
                    state=state,
                    values=scores,
                    params={name: value for name, (value, _) in held.items()},
                    distributions={name: distribution for name, (_, distribution) in held.items()},
                )
            )


def samplers() -> dict[str, type[BaseSampler]]:
    """Optuna's samplers that a space and a seed are enough for."""
    import optuna

    found = {name: getattr(optuna.samplers, name) for name in optuna.samplers.__all__}
    return {
        name: member
        for name, member in found.items()
        if inspect.isclass(member)
        and issubclass(member, optuna.samplers.BaseSampler)
        and not inspect.isabstract(member)
        and name != "PartialFixedSampler"
    }


def _made(name: str, space: Space, seed: int, objectives: int) -> BaseSampler:
    import optuna

    known = samplers()
    if name not in known:
        raise OptionError(f"Optuna has no sampler '{name}' here ({', '.join(known)}){did_you_mean(name, known)}")
    settings: dict[str, Any] = {"seed": seed % 2**32}  # NumPy takes no larger one, and a run's have 63 bits
    if name == "GridSampler":
        settings["search_space"] = grid(space)
        points = math.prod(len(values) for values in settings["search_space"].values())
        if points > _GRID:
            raise OptionError(
                f"GridSampler would hold {points:,} points of space '{space.name}'; take BruteForceSampler"
            )
    if name == "CmaEsSampler" and objectives > 1:
        raise OptionError(f"{name} makes one objective better, not {objectives}; take NSGAIISampler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return known[name](**settings)
