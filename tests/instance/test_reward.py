"""The reward's golden values (section 2.6 of the method), and windows that cannot close."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archipel.instance.reward import (
    Window,
    WindowSchedule,
    constrained_reward,
    latency_reward,
    next_multiplier,
    reward,
    window_penalty,
)

WINDOW = Window(1.0, 3.0)
GOLDEN = {0.5: 0.0, 1.0: 0.0, 1.25: 13.125, 1.5: 22.5, 2.0: 30.0, 2.5: 22.5, 3.0: 0.0, 3.5: 0.0}
LATENCY = torch.tensor(list(GOLDEN), dtype=torch.float64)


def test_golden_values_of_right_answers() -> None:
    assert reward(torch.ones(8, dtype=torch.bool), LATENCY, WINDOW).tolist() == list(GOLDEN.values())


@pytest.mark.parametrize("negative", [0.0, -10.0])
def test_wrong_answers_earn_the_same_everywhere(negative: float) -> None:
    assert reward(torch.zeros(8, dtype=torch.bool), LATENCY, WINDOW, negative=negative).tolist() == [negative] * 8


def test_kappa_sharpens() -> None:
    right = torch.ones(1, dtype=torch.bool)
    assert reward(right, torch.tensor([1.5]), WINDOW, kappa=2.0).tolist() == [16.875]


@given(st.floats(0.1, 10.0), st.floats(0.1, 10.0), st.floats(0.0, 1.0))
def test_a_parabola_within_the_window(low: float, width: float, share: float) -> None:
    window = Window(low, low + width)
    at = torch.tensor([low, low + width, low + share * width, low + (1 - share) * width], dtype=torch.float64)
    left, right, one, mirrored = latency_reward(at, window).tolist()
    assert left == right == 0.0
    assert 0.0 <= one <= 1.0 + 1e-9
    assert one == pytest.approx(mirrored, abs=1e-9)
    assert one == pytest.approx(4 * share * (1 - share), abs=1e-6)


class TestSchedule:
    def test_the_released_one(self) -> None:
        schedule = WindowSchedule.released(cheapest=0.4, first=1.0, everything=4.5)
        assert [schedule.at(e / 100).high for e in (0, 50, 100)] == pytest.approx([3.15, 1.825, 0.5])
        assert {schedule.at(e / 100).low for e in range(101)} == {0.4}

    def test_what_no_choice_changes_only_shifts_it(self) -> None:
        plain = WindowSchedule.released(cheapest=0.4, first=1.0, everything=4.5)
        shifted = WindowSchedule.released(cheapest=2.4, first=3.0, everything=6.5, fixed=2.0)
        for share in (0.0, 0.3, 1.0):
            assert shifted.at(share).low == pytest.approx(plain.at(share).low + 2.0)
            assert shifted.at(share).high == pytest.approx(plain.at(share).high + 2.0)

    def test_the_released_one_stays_open_where_the_cheapest_costs_more_than_half_of_b(self) -> None:
        """As on the method's CPU: T_min = 0.51·B, T_max = 4.53·B, so that 0.5·B lies below T_min."""
        schedule = WindowSchedule.released(cheapest=0.51, first=1.0, everything=4.53)
        windows = [schedule.at(e / 500) for e in range(501)]
        assert all(window.high - window.low >= 0.05 - 1e-12 for window in windows)
        assert windows[0].high == pytest.approx(0.7 * 4.53)

    @given(st.floats(0.0, 5.0), st.floats(0.01, 5.0), st.floats(0.0, 20.0), st.floats(0.0, 10.0), st.floats(0.0, 1.0))
    def test_windows_never_close(self, cheapest: float, more: float, most: float, fixed: float, done: float) -> None:
        first, everything = cheapest + more, cheapest + more + most
        for schedule in (
            WindowSchedule.released(
                cheapest=cheapest + fixed, first=first + fixed, everything=everything + fixed, fixed=fixed
            ),
            WindowSchedule.ours(cheapest=cheapest + fixed + 0.01, start=cheapest + fixed + 0.01 + most),
        ):
            window = schedule.at(done)
            assert window.high > window.low
            assert schedule.at(1.0).high <= schedule.at(done).high + 1e-9

    def test_ours_starts_around_what_is_sampled_and_ends_near_the_cheapest(self) -> None:
        schedule = WindowSchedule.ours(cheapest=1.0, start=3.0)
        middles = [(schedule.at(d).low + schedule.at(d).high) / 2 for d in (0.0, 1.0)]
        assert middles[0] == pytest.approx(3.0)
        assert 1.0 < middles[1] < 1.5

    def test_one_that_closes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="would close"):
            WindowSchedule(1.0, 3.0, 0.9)


class TestWindowPenalty:
    @pytest.mark.parametrize(("latency", "expected"), [(0.2, 0.0), (2.0, 0.0), (2.5, 0.25), (3.0, 1.0), (4.0, 3.0)])
    def test_golden_values(self, latency: float, expected: float) -> None:
        """In the upper half of the window what the reward falls short of 1."""
        window, ms = Window(1.0, 3.0), torch.tensor([latency], dtype=torch.float64)
        assert float(window_penalty(ms, window)) == pytest.approx(expected)
        if 2.0 <= latency <= 3.0:
            assert float(latency_reward(ms, window)) == pytest.approx(1.0 - expected)


class TestConstrained:
    """R = answer − λ · max(0, ℓ/τ − 1)."""

    @pytest.mark.parametrize(
        ("right", "latency", "target", "expected"),
        [
            (True, 2.0, 2.0, 30.0),
            (True, 0.1, 2.0, 30.0),
            (True, 3.0, 2.0, 20.0),
            (True, 8.0, 2.0, -30.0),
            (False, 2.0, 2.0, -5.0),
            (False, 3.0, 2.0, -15.0),
        ],
    )
    def test_golden_values(self, right: bool, latency: float, target: float, expected: float) -> None:
        more = {"multiplier": 20.0, "positive": 30.0, "negative": -5.0}
        ms = torch.tensor([latency], dtype=torch.float64)
        for aim in (target, torch.tensor([target])):
            assert float(constrained_reward(torch.tensor([right]), ms, aim, **more)) == pytest.approx(expected)

    def test_the_multiplier_rises_while_targets_are_missed_and_falls_while_they_are_met(self) -> None:
        assert next_multiplier(30.0, 0.52, 0.2) == pytest.approx(30.0 * math.exp(0.1))
        assert next_multiplier(30.0, 0.02, 0.2) == 30.0
        assert next_multiplier(30.0, 0.0, 0.2) == pytest.approx(30.0 * math.exp(-0.004))
        assert next_multiplier(30.0, 9.0, 0.0) == 30.0
        assert next_multiplier(299.0, 50.0, 1.0) == 300.0
