"""Equal accuracy, whose latency?"""

from __future__ import annotations

from typing import Any

import pytest

from archipel.recipes.instanas.savings import MEAN, SLOWEST, between, needed_ms, reached, savings, sentence
from archipel.recipes.result import figure

FAMILY = [(1.0, 0.5), (2.0, 0.7), (4.0, 0.8)]


class TestNeeded:
    @pytest.mark.parametrize(
        ("accuracy", "ms"), [(0.5, 1.0), (0.6, 1.5), (0.7, 2.0), (0.75, 3.0), (0.8, 4.0), (0.3, 1.0)]
    )
    def test_on_the_lines_between_its_networks(self, accuracy: float, ms: float) -> None:
        assert needed_ms(FAMILY, accuracy) == pytest.approx(ms)

    def test_none_where_it_never_gets_there(self) -> None:
        assert needed_ms(FAMILY, 0.81) is None
        assert needed_ms([], 0.1) is None

    def test_a_network_that_another_beats_changes_nothing(self) -> None:
        worse = [*FAMILY, (3.0, 0.65), (2.0, 0.6), (5.0, 0.8)]
        assert needed_ms(worse, 0.75) == pytest.approx(3.0)

    def test_nor_one_that_a_mixture_of_its_neighbours_beats(self) -> None:
        """At 3 ms a mixture of the second and the third is right in 75 %."""
        assert needed_ms([*FAMILY, (3.0, 0.71)], 0.71) == pytest.approx(2.2)
        assert needed_ms([(1.0, 0.5), (2.0, 0.51), (3.0, 0.9)], 0.7) == pytest.approx(2.0)


class TestReached:
    @pytest.mark.parametrize("accuracy", [0.55, 0.6, 0.7, 0.75])
    def test_what_is_needed_for_it_reaches_it(self, accuracy: float) -> None:
        ms = needed_ms(FAMILY, accuracy)
        assert ms is not None
        assert reached(FAMILY, ms) == pytest.approx(accuracy)

    def test_beyond_the_ends(self) -> None:
        assert reached(FAMILY, 9.0) == 0.8
        assert reached(FAMILY, 0.9) is None
        assert reached([], 1.0) is None


def row(kind: str, name: str, seed: int, accuracy: float, ms: float) -> dict:
    return {"kind": kind, "name": name, "seed": seed, "accuracy": accuracy, "measured_ms": ms, "batch_ms": ms / 10}


def test_by_seed_and_only_where_the_static_family_is_as_accurate() -> None:
    rows = [row("static_child", f"{i}", seed, a, ms) for seed in (0, 1) for i, (ms, a) in enumerate(FAMILY)]
    rows += [row("instanas", "A", 0, 0.75, 1.5), row("instanas", "A", 1, 0.75, 2.4)]
    rows += [row("child_cascade", "A", 0, 0.9, 3.0), row("child_cascade", "A", 1, 0.7, 1.5)]
    made = savings({str(i): r for i, r in enumerate(rows)})
    found = {(s["kind"], s["against"]): s for s in made if s["name"] != SLOWEST}
    assert set(found) == {("instanas", "static_child"), ("child_cascade", "static_child")}  # no MobileNetV2 is there
    ours = found["instanas", "static_child"]
    assert ours["measured_ms"]["values"] == pytest.approx([0.5, 0.2])
    assert ours["batch_ms"]["values"] == pytest.approx([0.5, 0.2])
    cascade = found["child_cascade", "static_child"]
    assert cascade["measured_ms"]["values"] == pytest.approx([0.25])
    assert (cascade["measured_ms_seeds"], cascade["seeds"]) == (1, 2)


def test_in_equal_time_and_over_all_points() -> None:
    rows = [row("static_child", f"{i}", seed, a, ms) for seed in (0, 1) for i, (ms, a) in enumerate(FAMILY)]
    rows += [row("instanas", "A", 0, 0.85, 2.0), row("instanas", "A", 1, 0.75, 0.5)]
    rows += [row("instanas", "B", 0, 0.7, 1.0), row("instanas", "B", 1, 0.75, 2.0)]
    a, b, both, slowest = savings({str(i): r for i, r in enumerate(rows)})
    assert [found["name"] for found in (a, b, both, slowest)] == ["A", "B", MEAN, SLOWEST]
    assert a["measured_ms_gained"]["values"] == pytest.approx([0.15])  # of the second seed nothing is as fast
    assert b["batch_ms_gained"]["values"] == pytest.approx([0.2, 0.05])
    assert both["measured_ms_gained"]["values"] == pytest.approx([0.175, 0.05])
    assert both["measured_ms"]["values"] == pytest.approx([0.5, (5 / 6 + 1 / 3) / 2])


def test_what_was_not_timed_has_no_saving() -> None:
    rows = {"a": row("instanas", "A", 0, 0.6, 1.0), "b": row("static_child", "A", 0, 0.6, 2.0)}
    del rows["b"]["batch_ms"]
    found, slowest = savings(rows)
    for one in (found, slowest):
        assert one["measured_ms"]["mean"] == pytest.approx(0.5)
        assert one["batch_ms"] is None


def test_below_the_least_accurate_static_network_only_a_loss_is_known() -> None:
    """A smaller one, which nobody trained, might be as fast; none needs more time than the least there is."""
    rows = [row("mobilenet_v2", f"{i}", seed, a, ms) for seed in (0, 1) for i, (ms, a) in enumerate(FAMILY)]
    rows += [row("instanas", "A", 0, 0.4, 0.5), row("instanas", "A", 1, 0.4, 3.0)]
    found = savings({str(i): r for i, r in enumerate(rows)})[0]
    assert found["measured_ms"]["values"] == pytest.approx([-2.0])
    assert (found["measured_ms_seeds"], found["seeds"]) == (1, 2)


def test_as_accurate_as_the_slowest_and_in_its_time() -> None:
    """Along the lines between a kind's own points."""
    rows = [row("mobilenet_v2", f"{i}", seed, a, ms) for seed in (0, 1, 2) for i, (ms, a) in enumerate(FAMILY)]
    rows += [row("early_exit", "A", 0, 0.85, 3.0), row("early_exit", "B", 0, 0.75, 1.0)]
    rows += [row("early_exit", "A", 1, 0.79, 3.0), row("early_exit", "A", 2, 0.82, 1.0)]
    found = savings({str(i): r for i, r in enumerate(rows)})[-1]
    assert (found["name"], found["network"], found["seeds"]) == (SLOWEST, "2", 3)
    assert found["measured_ms"]["values"] == pytest.approx([0.5, 0.75])  # the second never gets there
    assert found["batch_ms_seeds"] == 2
    assert found["measured_ms_gained"]["values"] == pytest.approx([0.05, -0.01, 0.02])


def test_the_slowest_is_slowest_in_the_mean_of_the_seeds() -> None:
    """Not in the one search in which a network was slowest by chance."""
    timed = {"1x": (3.0, 3.0), "0.5x": (1.0, 3.5)}
    rows = [row("mobilenet_v2", name, seed, 0.6, ms) for name, both in timed.items() for seed, ms in enumerate(both)]
    rows += [row("early_exit", "A", seed, 0.7, 1.0) for seed in (0, 1)]
    assert savings({str(i): r for i, r in enumerate(rows)})[-1]["network"] == "1x"


def test_what_early_exits_save_in_a_sentence() -> None:
    """On average over their points: the row that comes last."""

    def saved(name: str, against: str, alone: float | None, batch: float | None) -> dict[str, Any]:
        ends = {"measured_ms": alone, "batch_ms": batch}
        known = {clock: None if share is None else figure([share]) for clock, share in ends.items()}
        return {"kind": "early_exit", "name": name, "against": against, **known}

    shares = [saved("A", "static_exit", None, None), saved(MEAN, "static_exit", 0.18, 0.2)]
    own = [*shares, saved(SLOWEST, "static_exit", 0.9, 0.9)]
    told = sentence(own)
    assert (
        told
        == "Early exits save, at equal accuracy, 18 % one image at a time and 20 % in a batch against one exit for all."
    )
    assert sentence([own[0], own[2]]) is None
    several = [{**shares[1], "measured_ms": figure([0.1, 0.3]), "batch_ms": figure([0.2, 0.2])}]
    assert "save, at equal accuracy, 20 % (95 % interval -107 to 147) one" in sentence(several)
    more = {**shares[1], "measured_ms_gained": figure([0.012]), "batch_ms_gained": figure([0.005])}
    assert "In equal time they gain +1.2 points one image at a time and +0.5" in sentence([more])
    assert sentence([saved("A", "static_exit", -0.3, 0.0)]).startswith(
        "Early exits save, at equal accuracy, nothing against one exit"
    )
    counts = {"network": "1x", "seeds": 1, "measured_ms_seeds": 1, "batch_ms_seeds": 1}
    beside = {**saved(SLOWEST, "mobilenet_v2", 0.555, 0.5), **counts}
    said = "Where they are as accurate as MobileNetV2 1x, they save 56 % one image at a time and 50 % in a batch."
    assert sentence([*own, saved(MEAN, "mobilenet_v2", 0.7, 0.7), beside]) == f"{told} {said}"
    never = {**beside, "seeds": 3}
    assert sentence([never]) == "Not in every search are they as accurate as MobileNetV2 1x."


def test_ranges() -> None:
    assert between([0.011, 0.02, 0.015]) == "+1.1 to +2.0 points of test accuracy"
    assert between([0.011, 0.0112]) == "+1.1 points of test accuracy"
    assert between([-0.1, 0.2], " %", ".0f") == "-10 to 20 %"
