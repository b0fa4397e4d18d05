"""Fronts: which points are unbeaten, and what still holds where a front is thinned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archipel.sharing import fronts
from archipel.sharing.fronts import best_within, combine, fronts_of, unbeaten
from archipel.space import Space


def layered(choose) -> nn.Module:
    options = {f"o{j}": nn.Identity for j in range(5)}
    return nn.Sequential(*(choose.op(f"l{i}", options) for i in range(12)))


SPACE = Space(layered)


def choices_of(seed: int, width: int) -> list[fronts.OneOf]:
    rng = np.random.default_rng(seed)
    scores = {c.name: rng.normal(size=5) for c in SPACE.choices}
    return fronts_of(SPACE, scores, rng.uniform(0, 4, (SPACE.width, width)), np.ones(SPACE.width, dtype=bool))


@given(
    seed=st.integers(0, 10**6), n=st.integers(0, 700), width=st.integers(1, 3), values=st.sampled_from([4, 50, 10**6])
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_unbeaten_points_are_those_of_the_definition(seed: int, n: int, width: int, values: int) -> None:
    """With few values there are many ties; of equal points one is kept."""
    rng = np.random.default_rng(seed)
    costs, scores = rng.integers(0, values, (n, width)).astype(float), rng.integers(0, values, n).astype(float)
    no_worse = (costs[:, None] <= costs[None]).all(2) & (scores[:, None] >= scores[None])  # [by, whom]
    beaten = (no_worse & ~no_worse.T).any(0)
    expected = {(*costs[i], scores[i]) for i in np.flatnonzero(~beaten)}
    kept = unbeaten(costs, scores)
    assert len(kept) == len(expected)
    assert {(*costs[i], scores[i]) for i in kept} == expected


def test_large_fronts_are_merged_in_pieces(monkeypatch) -> None:
    choices = choices_of(0, 1)
    whole = combine(choices, 1)
    monkeypatch.setattr(fronts, "PIECE", 7)
    pieces = combine(choices, 1)
    np.testing.assert_allclose(pieces.costs, whole.costs)
    np.testing.assert_allclose(pieces.scores, whole.scores)
    assert pieces.assignment(len(pieces.scores) // 2) == whole.assignment(len(whole.scores) // 2)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_thinned_search_stays_within_its_budgets_and_says_what_it_may_miss(seed: int, width: int) -> None:
    choices = choices_of(seed, width)
    least = np.sum([choice.costs.min(0) for choice in choices], axis=0)
    most = np.sum([choice.costs[choice.scores.argmax()] for choice in choices], axis=0)
    columns = {choice.choice.name: choice for choice in choices}

    def totals(assignment: dict[str, str]) -> tuple[np.ndarray, float]:
        costs, score = np.zeros(width), 0.0
        for name, option in assignment.items():
            point = list(columns[name].options).index(int(option[1:]))
            costs, score = costs + columns[name].costs[point], score + columns[name].scores[point]
        return costs, score

    for share in (0.4, 0.7):
        budgets = least + share * np.maximum(most - least, 1.0)
        found, slack = best_within(choices, budgets, most=8)
        exact, none = best_within(choices, budgets)
        assert exact is not None
        assert not none.any()
        narrower, _ = best_within(choices, budgets - slack)
        if found is None:
            assert slack.any()
            assert narrower is None
            continue
        costs, score = totals(found)
        assert (costs <= budgets + 1e-9).all()
        assert score <= totals(exact)[1] + 1e-9
        assert narrower is None or score >= totals(narrower)[1] - 1e-9
