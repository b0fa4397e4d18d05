"""When a training is not worth going on with: the contract of such rules, the rule that extrapolates curves (Baker et
al., arXiv 1705.10823), and Optuna's pruners.

Letters: `t` epochs seen, `T` epochs of a whole training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from archipel.errors import OptionError
from archipel.evaluators.learning_curves import FEWEST, Curves, Method, Regression, regression

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner

__all__ = [
    "NEVER", "Curve", "CurveStopping", "Name", "PrunerStopping", "Rule", "Stopping", "rule", "standard_error",
]  # fmt: skip

Name = Literal["curves", "median", "halving", "hyperband", "none"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A training, as far as it went."""

    features: tuple[float, ...]
    """What is known of its network."""
    scores: tuple[float, ...]
    """After each epoch, larger is better."""
    losses: tuple[float, ...] = ()
    """Of the training images in each epoch, where they are known."""
    costs: tuple[float, ...] = ()
    """What the network costs, where a search is for low cost too."""


class Rule(Protocol):
    """Gives trainings up. What it says follows from what it is asked alone, so that a search that was stopped and goes
    on, or that several processes share, is ruled as any other."""

    def given_up(self, past: Sequence[Curve], now: Curve, epochs: int) -> float | None:
        """The score of a training that ends with the scores of `now`; None where it should go on.

        Args:
            past: the trainings before it, in the order in which they ended.
            epochs: of a whole one.
        """


@dataclass(frozen=True)
class Stopping:
    """When a training is given up."""

    rule: Name = "curves"
    """`curves`: it is predicted to end below the best; `median`: it is below the median of
    the whole ones; `halving`: successive halving, asynchronous; `hyperband`: several of those, each more patient than
    the one before; `none`: never."""
    confidence: float = 0.9
    """Of `curves`: how sure it has to be of that (Δ; 0.95 in the paper)."""
    margin: float = 0.0
    """Of `curves`: by how many standard errors of the best score, a share of the validation images, a training has to
    beat it to be worth while. With 0 any gain counts, also one of a single image."""
    patience: int = 2
    """Of `curves`: so sure after so many epochs in a row; 1 in the paper."""
    curves: int = 8
    """Of `curves` and `median`: trainings that are run to their end before the first question."""
    observe: float = 0.25
    """Share of a training before the first question about it; of `hyperband`, of its least patient halving."""
    method: Method = "linear"
    """Of `curves`: what predicts."""
    reduction: int = 3
    """Of `halving` and `hyperband`: one in so many goes on (η)."""

    def __post_init__(self) -> None:
        if self.rule not in get_args(Name):
            raise OptionError(f"stopping.rule is '{self.rule}'; give one of {', '.join(get_args(Name))}")
        if self.method not in get_args(Method):
            raise OptionError(f"stopping.method is '{self.method}'; give one of {', '.join(get_args(Method))}")
        if not 0.5 <= self.confidence < 1.0:
            raise OptionError(f"stopping.confidence is {self.confidence:g}; give a share from 0.5 to below 1")
        if not self.margin >= 0.0:
            raise OptionError(f"stopping.margin is {self.margin:g}; give a number of standard errors, 0 or more")
        if self.patience < 1:
            raise OptionError(f"stopping.patience is {self.patience}; give 1 or more")
        if self.curves < FEWEST:
            raise OptionError(f"stopping.curves is {self.curves}; give {FEWEST} or more")
        if not 0.0 < self.observe < 1.0:
            raise OptionError(f"stopping.observe is {self.observe:g}; give a share between 0 and 1")
        if self.reduction < 2:
            raise OptionError(f"stopping.reduction is {self.reduction}; give 2 or more")

    def first(self, epochs: int) -> int:
        """Epochs before the first question."""
        return math.ceil(self.observe * epochs)


NEVER = Stopping(rule="none")


def rule(settings: Stopping, *, seed: int = 0, objectives: int = 1, images: int | None = None) -> Rule | None:
    """The rule that settings name.

    Args:
        images: scores are how many of so many are right, in per cent; None where they are something else.

    Raises:
        OptionError: a rule that knows the score alone, where a search is for more.
    """
    if settings.rule == "none":
        return None
    if objectives > 1 and settings.rule != "curves":
        raise OptionError(f"stopping.rule {settings.rule} knows one objective, not {objectives}; give curves or none")
    if settings.rule == "curves":
        return CurveStopping(settings, seed=seed, images=images)
    return PrunerStopping(lambda epochs: _pruner(settings, epochs))


def _pruner(settings: Stopping, epochs: int) -> BasePruner:
    from optuna import pruners

    first, reduction = settings.first(epochs), settings.reduction
    if settings.rule == "median":
        return pruners.MedianPruner(n_startup_trials=settings.curves, n_warmup_steps=first)
    if settings.rule == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=reduction)
    return pruners.HyperbandPruner(min_resource=first, max_resource=max(first, epochs), reduction_factor=reduction)


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy in per cent on so many images, in points."""
    share = min(max(accuracy / 100, 0.0), 1.0)
    return 100 * math.sqrt(share * (1 - share) / images)


class CurveStopping:
    """Gives up a training once P(its score at the end < the best so far + gain) ≥ Δ, by what a regression learned
    from whole trainings; it scores what is predicted. Where cost counts, the best is of networks that cost no more.

    The gain is half an image where scores are shares of images: as many right as the best has is no more than the
    best, and a distribution without steps gives that number all between half an image less and half an image more.
    Most trainings that beat the best by less than its standard error do so by chance: a margin gives them up too.

    A few curves say little about how far predictions miss, so that the paper's rule, asked after every epoch, now and
    then gives up the best network of all. Ours has to say so twice in a row.
    """

    def __init__(self, settings: Stopping, *, seed: int = 0, images: int | None = None) -> None:
        self.settings, self.seed, self.images = settings, seed, images
        self._whole: list[Curve] = []
        self._regression: Regression | None = None

    def given_up(self, past: Sequence[Curve], now: Curve, epochs: int) -> float | None:
        whole = [curve for curve in past if len(curve.scores) == epochs]
        asked = range(len(now.scores) - self.settings.patience + 1, len(now.scores) + 1)
        if len(whole) < self.settings.curves or asked[0] < self.settings.first(epochs) or asked[-1] >= epochs:
            return None
        rivals = [curve.scores[-1] for curve in whole if all(a <= b for a, b in zip(curve.costs, now.costs))]
        if not rivals:
            return None
        learned, best = self._learned(whole), max(rivals)
        worth = best + self._gain(best)
        for t in asked:
            if learned.below(_arrays([now], t), worth)[0] < self.settings.confidence:
                return None
        return min(float(learned.predict(_arrays([now], len(now.scores)))[0]), best)

    def _gain(self, best: float) -> float:
        if self.images is None:
            return 0.0
        return max(50 / self.images, self.settings.margin * standard_error(best, self.images))

    def _learned(self, whole: list[Curve]) -> Regression:
        if self._regression is None or whole != self._whole:
            self._whole, self._regression = whole, regression(self.settings.method, seed=self.seed)
            self._regression.fit(_arrays(whole, len(whole[0].scores)))
        return self._regression


def _arrays(curves: Sequence[Curve], t: int) -> Curves:
    """Their first `t` epochs; losses where all have them."""
    losses = np.array([curve.losses[:t] for curve in curves]) if all(curve.losses for curve in curves) else None
    features, scores = [curve.features for curve in curves], [curve.scores[:t] for curve in curves]
    return Curves(np.array(features), np.array(scores), losses)


class PrunerStopping:
    """A pruner of Optuna. A training that is given up scores what it had last.

    The pruner watches a study in memory, to which what ended is told epoch by epoch as it once came.
    """

    def __init__(self, make: Callable[[int], BasePruner]) -> None:
        self.make = make
        self._restart(1)

    def given_up(self, past: Sequence[Curve], now: Curve, epochs: int) -> float | None:
        if not 0 < len(now.scores) < epochs:
            return None
        if epochs != self._epochs or list(past[: len(self._past)]) != self._past:
            self._restart(epochs)
        for curve in past[len(self._past) :]:
            self._end(curve)
        if now.scores[: len(self._shown)] != self._shown:  # what was under way came to nothing
            self._restart(epochs)
            for curve in past:
                self._end(curve)
        return now.scores[-1] if self._show(now.scores) else None

    def _restart(self, epochs: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._epochs = epochs
        # Hyperband deals trials to its halvings by the study's name.
        self._study = optuna.create_study(direction="maximize", study_name="stopping", pruner=self.make(epochs))
        self._past: list[Curve] = []
        self._trial: Trial | None = None
        self._shown: tuple[float, ...] = ()

    def _show(self, scores: tuple[float, ...]) -> bool:
        """Tell the trial that is under way, or a new one, all further scores; whether the pruner would end it now."""
        self._trial = self._trial or self._study.ask()
        ends = False
        for epoch, score in enumerate(scores[len(self._shown) :], len(self._shown) + 1):
            self._trial.report(score, epoch)
            ends = self._trial.should_prune()
        self._shown = scores
        return ends

    def _end(self, curve: Curve) -> None:
        """Tell what a training came to: that under way, or another's."""
        from optuna.trial import TrialState

        held = self._trial, self._shown
        if curve.scores[: len(self._shown)] != self._shown:
            self._trial, self._shown = None, ()
        else:
            held = None, ()
        self._show(curve.scores)
        assert self._trial is not None
        if len(curve.scores) == self._epochs:
            self._study.tell(self._trial, curve.scores[-1])
        else:
            self._study.tell(self._trial, state=TrialState.PRUNED)
        self._trial, self._shown = held
        self._past.append(curve)
