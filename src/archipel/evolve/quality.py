"""How good a space is: the distribution of its networks' errors, and what a random search in it costs.

Radosavovic et al., On network design spaces for visual recognition (ICCV 2019, arXiv 1905.13214) and Designing network
design spaces (CVPR 2020, arXiv 2003.13678). Spaces are compared by random samples of them, all trained alike. Letters:
`n` networks of a sample, `e` an error in 0..1, `F(e)` the share of networks whose error is `e` or less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from archipel.errors import OptionError

__all__ = [
    "Best", "Equalised", "Sample", "best_of", "bootstrap", "distance", "distance_interval", "edf", "equalised", "lead",
    "mean_difference", "promising", "significance", "top_mean",
]  # fmt: skip

Statistic = Callable[[np.ndarray], np.ndarray]
"""`[R, n]` errors of R resamples → `[R]`."""


@dataclass(frozen=True)
class Sample:
    """Networks drawn from one space and trained.

    Raises:
        OptionError: no network, or an error or a cost that is none.
    """

    name: str
    errors: np.ndarray
    """`[n]`, 0..1."""
    costs: np.ndarray | None = None
    """`[n]`, what each costs, above 0: multiply-adds of one image, parameters, milliseconds; of one kind in all samples
    that are compared."""

    def __post_init__(self) -> None:
        if not len(self.errors):
            raise OptionError(f"'{self.name}' has no trained network; give at least one")
        if not (np.isfinite(self.errors).all() and (self.errors >= 0).all() and (self.errors <= 1).all()):
            raise OptionError(f"'{self.name}' has errors outside 0..1; give shares, or accuracies in per cent")
        if self.costs is not None and not (
            len(self.costs) == len(self.errors) and np.isfinite(self.costs).all() and (self.costs > 0).all()
        ):
            raise OptionError(f"'{self.name}' has costs that are not above 0, or not one a network")


_AT_ONCE = 1_000_000
"""Errors in memory."""


# ---- the distribution of errors -----------------------------------------------------------------------------------


def edf(errors: np.ndarray, at: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """F at the thresholds `at` `[T]`: Σ_i w_i 1[e_i ≤ e], with w_i = 1/n where no weights `[n]` are given."""
    order = np.argsort(errors, kind="stable")
    shares = np.full(len(errors), 1 / len(errors)) if weights is None else np.asarray(weights, dtype=float)
    total = np.concatenate([[0.0], np.cumsum(shares[order])])
    found: np.ndarray = total[np.searchsorted(errors[order], at, side="right")]
    return found


def _thresholds(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.unique(np.concatenate([first, second]))


def distance(
    first: np.ndarray, second: np.ndarray, weights: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> float:
    """Kolmogorov-Smirnov: D = sup_e |F_1(e) − F_2(e)|, of weighted samples where weights are given."""
    at = _thresholds(first, second)
    return float(np.abs(edf(first, at, weights[0]) - edf(second, at, weights[1])).max())


def significance(first: np.ndarray, second: np.ndarray) -> float:
    """The two-sided p-value of `distance` without weights: that two samples of one space lie so far apart."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, second).pvalue)


def lead(
    first: np.ndarray, second: np.ndarray, weights: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> float:
    """max_e (F_1(e) − F_2(e)), 0 or more: by how much the first space is ahead where it is most.

    The second one dominates the first with tolerance t if this is t or less.
    """
    at = _thresholds(first, second)
    return float(max(0.0, (edf(first, at, weights[0]) - edf(second, at, weights[1])).max()))


@dataclass(frozen=True)
class Equalised:
    """Weights that make cost uniform over what all samples have in common."""

    low: float
    high: float
    bins: int
    """How many, of equal width: as many as asked for, or fewer, so that none is empty in any sample."""
    weights: tuple[np.ndarray, ...]
    """Of each sample `[n]`: 1 / (bins · networks in its bin), 0 outside the range; they sum to 1."""

    @property
    def counts(self) -> tuple[int, ...]:
        """How many networks of each sample count."""
        return tuple(int((weights > 0).sum()) for weights in self.weights)


def equalised(samples: Sequence[Sample], bins: int) -> Equalised | None:
    """Normalisation of samples by what their networks cost (section 3.3 of the first paper, there complexity).

    Returns:
        None where a sample has no costs, or the samples have no range in common.
    """
    if any(sample.costs is None for sample in samples):
        return None
    costs = [np.asarray(sample.costs, dtype=float) for sample in samples]
    low, high = max(c.min() for c in costs), min(c.max() for c in costs)
    if high < low:
        return None
    inside = [(c >= low) & (c <= high) for c in costs]
    for count in range(bins if high > low else 1, 0, -1):
        places = [np.clip(((c - low) / ((high - low) or 1.0) * count).astype(int), 0, count - 1) for c in costs]
        held = [np.bincount(p[i], minlength=count) for p, i in zip(places, inside)]
        if all((h > 0).all() for h in held):
            weights = tuple(
                np.where(i, 1 / (count * h[p].clip(1)), 0.0) for p, i, h in zip(places, inside, held, strict=True)
            )
            return Equalised(float(low), float(high), count, weights)
    return None


# ---- random search ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Best:
    """What the best of `draws` random networks comes to."""

    draws: int
    mean: float
    low: float
    """2.5 % of random searches find one that is better."""
    high: float
    """97.5 % of random searches find one that is as good or better."""


def best_of(errors: np.ndarray, draws: Sequence[int], weights: np.ndarray | None = None) -> list[Best]:
    """The best error of `m` networks drawn from the sample, for each m: exact, not simulated.

    With replacement, P(best > e) = (1 − F(e))^m; so for m near n it says what a search in the sample finds, not one in
    the space.
    """
    at = np.unique(errors)
    shares = edf(errors, at, weights)
    found = []
    for m in draws:
        reached = 1 - (1 - np.minimum(shares, 1.0)) ** m  # P(best ≤ e)
        reached[-1] = 1.0
        low, high = (float(at[np.searchsorted(reached, share)]) for share in (0.025, 0.975))
        found.append(Best(m, float((np.diff(reached, prepend=0.0) * at).sum()), low, high))
    return found


# ---- how sure -----------------------------------------------------------------------------------------------------


def top_mean(share: float = 0.1) -> Statistic:
    """Mean of the best `share` of each row, at least one network: a space's top tier."""

    def statistic(rows: np.ndarray) -> np.ndarray:
        count = max(1, round(share * rows.shape[1]))
        return np.asarray(np.partition(rows, count - 1, axis=1)[:, :count].mean(1))

    return statistic


def bootstrap(errors: np.ndarray, statistic: Statistic, *, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over resamples of the networks."""
    low, high = np.percentile(_resampled(errors, statistic, resamples, seed), [2.5, 97.5])
    return float(low), float(high)


def mean_difference(
    first: np.ndarray, second: np.ndarray, *, resamples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """Mean error of the first less that of the second, and its 95 % bootstrap interval."""
    means = [_resampled(e, lambda rows: rows.mean(1), resamples, seed + i) for i, e in enumerate((first, second))]
    low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
    return float(first.mean() - second.mean()), (float(low), float(high))


def distance_interval(first: np.ndarray, second: np.ndarray, *, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of `distance` over resamples of both; two samples of one space are never at 0, and
    resamples of them lie further apart still, so it says how large the distance may be, not whether there is one."""
    rng = np.random.default_rng(seed)
    drawn = [distance(rng.choice(first, len(first)), rng.choice(second, len(second))) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def promising(
    errors: np.ndarray, values: np.ndarray, *, share: float = 0.25, resamples: int = 2500, seed: int = 0
) -> np.ndarray:
    """The empirical bootstrap of the second paper: `values` `[n]` of the best network of each of many resamples.

    Args:
        share: of the networks, the size of a resample.

    Returns:
        `[resamples]`; its 2.5 and 97.5 percentiles are the promising range of what `values` measures.
    """
    size = (resamples, max(1, round(share * len(errors))))
    rows = np.random.default_rng(seed).integers(len(errors), size=size)
    return np.asarray(values[rows[np.arange(resamples), errors[rows].argmin(1)]])


def _resampled(errors: np.ndarray, statistic: Statistic, resamples: int, seed: int) -> np.ndarray:
    """`[resamples]`; a few at a time, so that ten thousands of networks take no gigabytes."""
    rng, n = np.random.default_rng(seed), len(errors)
    sizes = [min(_AT_ONCE // n + 1, resamples - done) for done in range(0, resamples, _AT_ONCE // n + 1)]
    return np.concatenate([statistic(errors[rng.integers(n, size=(size, n))]) for size in sizes])
