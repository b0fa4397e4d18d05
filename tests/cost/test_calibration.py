"""The line and its intervals."""

from __future__ import annotations

import random
import statistics

import pytest

from archipel.cost.calibration import Calibration, fit
from archipel.errors import OptionError


def test_a_line_is_found_exactly() -> None:
    entries = [float(i) for i in range(1, 25)]
    fitted = fit(entries, [0.3 + 1.4 * x for x in entries], base=9.0)
    assert (fitted.intercept, fitted.slope) == pytest.approx((0.3, 1.4), rel=1e-5)
    assert fitted.margin(0.9) < 1e-5


def test_where_nothing_can_be_told_the_table_is_believed() -> None:
    assert fit([], [], base=0.7) == Calibration(0.7, 1.0, ())
    same = fit([2.0] * 8, [2.5] * 8, base=0.5)
    assert same.predict(2.0) == pytest.approx(2.5)
    assert same.slope == pytest.approx(1.0)


def test_intervals_cover_as_often_as_they_say() -> None:
    # With 24 residuals the interval at 0.9 ends at the 23rd smallest, which covers 23/25 in expectation. Its
    # coverage over repetitions is spread by about 0.055, its mean over 300 by 0.003; leaving one out widens
    # a two-parameter fit's residuals by up to 1/24 of themselves, worth 0.01.
    rng = random.Random(0)
    shares = []
    for _ in range(300):
        entries = [rng.uniform(1, 10) for _ in range(64)]
        measured = [(0.5 + 1.2 * x) * rng.gauss(1, 0.03) for x in entries]
        fitted = fit(entries[:24], measured[:24], base=0.5)
        margin = fitted.margin(0.9)
        inside = [abs(y / fitted.predict(x) - 1) <= margin for x, y in zip(entries[24:], measured[24:])]
        shares.append(sum(inside) / len(inside))
    assert statistics.mean(shares) == pytest.approx(23 / 25, abs=0.02)


@pytest.mark.parametrize("level", [0.97, 1.0, 0.0, -1.0])
def test_a_level_beyond_the_data_is_refused(level: float) -> None:
    fitted = Calibration(0.0, 1.0, tuple(0.01 * i for i in range(24)))
    with pytest.raises(OptionError, match="calibration networks"):
        fitted.margin(level)
