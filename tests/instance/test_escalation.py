"""Whom to pass on: what a score says of an answer, and what it learns from answers that were right or wrong."""

from __future__ import annotations

import math

import pytest
import torch

from archipel.errors import OptionError
from archipel.instance.escalation import Gain, doubt, doubt_of_one


class TestDoubt:
    def test_it_is_one_less_the_largest_probability(self) -> None:
        logits = 3.0 * torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(doubt(logits), 1.0 - logits.softmax(1).max(1).values)

    def test_near_certainty_is_still_told_apart(self) -> None:
        """Where 1 − max rounds to 0 in single precision."""
        found = doubt(torch.tensor([[30.0, 0.0, 0.0], [40.0, 0.0, 0.0]]))
        assert found.tolist() == pytest.approx([2.0 * math.exp(-30), 2.0 * math.exp(-40)])

    def test_of_one_answer_in_plain_numbers(self) -> None:
        logits = 3.0 * torch.randn(20, 7, generator=torch.Generator().manual_seed(0))
        assert [doubt_of_one(row) for row in logits.tolist()] == pytest.approx(doubt(logits).tolist())

    def test_equal_logits(self) -> None:
        assert float(doubt(torch.zeros(1, 4))) == pytest.approx(0.75)


def planted(n: int, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Answers; right with the largest probability. The next network is right twice as often as not where two classes
    share the answer, and no better than this one where the answer is spread over all."""
    chance = torch.Generator().manual_seed(0)
    logits = torch.full((n, classes), -9.0)
    kind = torch.arange(n) % 3
    logits[:, 0] = 0.0
    logits[kind == 1, 1] = -0.1  # two rivals
    logits[kind == 2] = 0.0  # no idea
    logits += 0.05 * torch.randn(n, classes, generator=chance)
    right = torch.rand(n, generator=chance) < logits.softmax(1).max(1).values
    fixed = torch.rand(n, generator=chance) < 2 / 3
    return logits, right, torch.where(kind == 1, fixed, right)


class TestGain:
    def test_it_sends_where_it_helps_and_doubt_where_nothing_helps(self) -> None:
        logits, right, right_next = planted(3000)
        kind = torch.arange(3000) % 3
        gain = Gain.fit(logits, right, right_next)(logits)
        assert [round(float(gain[kind == k].mean()), 1) for k in range(3)] == [0.0, 0.2, 0.0]
        assert set(kind[gain.argsort(descending=True)[:900]].tolist()) == {1}
        assert set(kind[doubt(logits).argsort(descending=True)[:900]].tolist()) == {2}

    def test_it_is_the_ridge_regression_of_a_library(self) -> None:
        from sklearn.linear_model import Ridge

        from archipel.instance.escalation import RIDGE, _margins

        logits, right, right_next = planted(300)
        known = Ridge(RIDGE).fit(_margins(logits).double(), right_next.double() - right.double())
        found = Gain.fit(logits, right, right_next)
        torch.testing.assert_close(found(logits).double(), torch.from_numpy(known.predict(_margins(logits).double())))

    def test_which_classes_they_are_does_not_matter(self) -> None:
        logits, right, right_next = planted(300)
        gain = Gain.fit(logits, right, right_next)
        torch.testing.assert_close(gain(logits), gain(logits[:, torch.randperm(6)]))

    def test_of_one_answer_in_plain_numbers(self) -> None:
        logits, right, right_next = planted(300)
        gain = Gain.fit(logits, right, right_next)
        assert [gain.of_one(row) for row in logits.tolist()] == pytest.approx(gain(logits).tolist(), abs=1e-6)

    def test_two_classes_have_two_probabilities(self) -> None:
        logits, right, right_next = planted(60, classes=6)
        gain = Gain.fit(logits[:, :2], right, right_next)
        assert gain.weights.tolist() == pytest.approx([-float(gain.weights[1]), float(gain.weights[1])])
        assert gain(logits[:, :2]).shape == (60,)

    def test_no_answers_gain_nothing(self) -> None:
        assert Gain(torch.tensor([1.0, -1.0]), 0.5)(torch.zeros(0, 4)).shape == (0,)

    def test_without_images_there_is_none(self) -> None:
        none = torch.zeros(0, dtype=torch.bool)
        with pytest.raises(OptionError, match="there are none"):
            Gain.fit(torch.zeros(0, 3), none, none)
