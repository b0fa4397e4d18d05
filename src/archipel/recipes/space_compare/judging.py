"""What is said of samples of several spaces: each alone, and every two of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from archipel.evolve import quality
from archipel.evolve.quality import Equalised, Sample
from archipel.recipes.space_compare.settings import UNITS, Judging

__all__ = ["compared"]

_STEPS = 400
"""Points at most of a distribution that is kept to be drawn."""


def compared(samples: Sequence[Sample], settings: Judging, *, seed: int) -> dict[str, Any]:
    """`spaces`, one a sample; `pairs` of them; how cost was `equalised`, or None; all in plain values."""
    equal = quality.equalised(samples, settings.bins)
    return {
        "spaces": [_alone(i, sample, equal, settings, seed) for i, sample in enumerate(samples)],
        "pairs": [
            _pair(a, b, samples, equal, settings, seed) for a, b in itertools.combinations(range(len(samples)), 2)
        ],
        "cost": {"name": settings.cost, "unit": UNITS[settings.cost]},
        "equalised": None
        if equal is None
        else {"low": equal.low, "high": equal.high, "bins": equal.bins, "counts": list(equal.counts)},
    }


def _alone(i: int, sample: Sample, equal: Equalised | None, settings: Judging, seed: int) -> dict[str, Any]:
    errors = sample.errors

    def figure(statistic: quality.Statistic) -> dict[str, float]:
        low, high = quality.bootstrap(errors, statistic, resamples=settings.resamples, seed=seed)
        return {"mean": float(statistic(errors[None])[0]), "low": low, "high": high}

    weights = None if equal is None else equal.weights[i]
    draws = [2**k for k in range(len(errors).bit_length())]
    return {
        "n": len(errors),
        "least": float(errors.min()),
        "mean": figure(lambda rows: np.asarray(rows.mean(1))),
        "median": figure(lambda rows: np.asarray(np.median(rows, axis=1))),
        "top": figure(quality.top_mean(settings.top)),
        "cost": None if sample.costs is None else float(sample.costs.mean()),
        "edf": _drawn(errors, None),
        "edf_equalised": None if weights is None else _drawn(errors, weights),
        "mean_equalised": None if weights is None else float((weights * errors).sum()),
        "best_of": [vars(best) for best in quality.best_of(errors, draws)],
        "best_of_equalised": None if weights is None else [vars(b) for b in quality.best_of(errors, draws, weights)],
    }


def _drawn(errors: np.ndarray, weights: np.ndarray | None) -> dict[str, list[float]]:
    """The steps of a distribution, thinned where there are thousands."""
    at = np.unique(errors if weights is None else errors[weights > 0])
    if len(at) > _STEPS:
        at = at[np.linspace(0, len(at) - 1, _STEPS).round().astype(int)]
    return {"error": at.tolist(), "share": quality.edf(errors, at, weights).tolist()}


def _pair(
    a: int, b: int, samples: Sequence[Sample], equal: Equalised | None, settings: Judging, seed: int
) -> dict[str, Any]:
    first, second = samples[a].errors, samples[b].errors
    weights = (None, None) if equal is None else (equal.weights[a], equal.weights[b])
    reach = quality.distance_interval(first, second, resamples=settings.resamples, seed=seed)
    difference, (low, high) = quality.mean_difference(first, second, resamples=settings.resamples, seed=seed)
    return {
        "first": a,
        "second": b,
        "distance": quality.distance(first, second),
        "distance_interval": list(reach),
        "p": quality.significance(first, second),
        "distance_equalised": None if equal is None else quality.distance(first, second, weights),
        "first_leads": quality.lead(first, second),
        "second_leads": quality.lead(second, first),
        "first_leads_equalised": None if equal is None else quality.lead(first, second, weights),
        "second_leads_equalised": None if equal is None else quality.lead(second, first, (weights[1], weights[0])),
        "mean_difference": {"mean": difference, "low": low, "high": high},
    }
