"""Measuring: order, counts and statistics, on a clock that is arithmetic."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter

import pytest
from planted import Ticker

from archipel.cost.device import Device
from archipel.cost.measure import OwnTimeClock, Timing, WallClock, clock_of, measure
from archipel.errors import OptionError

CPU = Device("cpu", 1)


def test_every_candidate_runs_once_a_round_in_changing_order() -> None:
    clock, calls = Ticker(), []

    def takes(name: str, ms: float) -> None:
        calls.append(name)
        clock.now += ms

    candidates = {name: (lambda name=name, ms=ms: takes(name, ms)) for name, ms in {"a": 1, "b": 2, "c": 3}.items()}
    timings = measure(candidates, CPU, rounds=20, lead=0, rng=random.Random(0), clock=clock)
    assert {name: timing.ms for name, timing in timings.items()} == pytest.approx({"a": 1, "b": 2, "c": 3})
    assert all(len(timing.samples) == 20 for timing in timings.values())
    rounds = [tuple(calls[i : i + 3]) for i in range(3, len(calls), 3)]
    assert all(Counter(order) == Counter("abc") for order in rounds)
    assert len(set(rounds)) > 2


def test_a_call_before_the_timed_one_takes_the_cold_start() -> None:
    clock, last = Ticker(), [""]

    def takes(name: str) -> None:
        clock.now += 1.0 if last[0] == name else 5.0
        last[0] = name

    candidates = {name: (lambda name=name: takes(name)) for name in "ab"}
    timings = measure(candidates, CPU, rounds=9, lead=1, rng=random.Random(0), clock=clock)
    assert {timing.median for timing in timings.values()} == {1.0}


def test_spikes_in_most_samples_do_not_move_the_figure() -> None:
    rng = random.Random(1)
    quiet = [2 + 0.01 * rng.random() for _ in range(40)]
    spiky = tuple(ms + (50 * rng.random() if rng.random() < 0.7 else 0) for ms in quiet)
    timing = Timing(spiky)
    assert timing.ms == pytest.approx(2.0, rel=0.01)
    assert timing.low <= timing.ms <= timing.median <= timing.high


def test_chance_is_half_of_what_odd_and_even_rounds_differ_by() -> None:
    assert Timing((1.0, 1.2) * 10).chance == pytest.approx(0.1)
    assert Timing((1.0,) * 5).chance == 0
    assert math.isnan(Timing((1.0,)).chance)
    rng = random.Random(2)
    timings = [Timing(tuple(rng.gauss(1, 0.1) for _ in range(100))) for _ in range(400)]
    typical = statistics.fmean(t.ms for t in timings)
    errors = [abs(t.ms / typical - 1) for t in timings]
    assert statistics.fmean(t.chance for t in timings) == pytest.approx(statistics.fmean(errors), rel=0.15)


def test_own_time_leaves_waiting_out_and_never_exceeds_the_wall() -> None:
    clock = OwnTimeClock()
    assert clock.milliseconds((0.0, 0.0), (0.010, 0.004)) == pytest.approx(4.0)
    assert clock.milliseconds((0.0, 0.0), (0.010, 0.030)) == pytest.approx(10.0)
    assert isinstance(clock_of(Device("cpu", 1)), OwnTimeClock)
    assert isinstance(clock_of(Device("cpu", 2)), WallClock)


@pytest.mark.parametrize(("candidates", "rounds"), [({}, 3), ({"a": int}, 0)])
def test_nothing_to_time_is_refused(candidates: dict, rounds: int) -> None:
    with pytest.raises(OptionError, match="needs candidates and rounds"):
        measure(candidates, CPU, rounds=rounds, rng=random.Random(0))
