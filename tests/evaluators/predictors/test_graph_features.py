"""Graphs as vectors, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from archipel.architecture import Architecture
from archipel.evaluators.predictors.graph_features import Subtrees, Ways
from archipel.evaluators.predictors.graphs import INPUT, OUTPUT, NodeGraph

# Ways: a, a·b, b (the last through the second b alone).
GRAPH = NodeGraph((INPUT, "a", "b", "b", OUTPUT), ((0, 1), (1, 2), (0, 3), (1, 4), (2, 4), (3, 4)))
TURNED = NodeGraph((OUTPUT, "b", "b", "a", INPUT), ((4, 3), (3, 2), (4, 1), (3, 0), (2, 0), (1, 0)))
ANY = [Architecture()]


def test_ways_by_hand() -> None:
    found = Ways(lambda _: (GRAPH,), ("a", "b"))(ANY)[0].tolist()
    of_all = [0, math.log(4), 2, 1, 0]
    of_a, of_b = [1, 1, 0, 2 / 3], [2, 1, 0, 2 / 3]
    assert found == pytest.approx([*of_all, *of_a, *of_b])


def test_direct_ways_and_none() -> None:
    direct = NodeGraph((INPUT, OUTPUT), ((0, 1), (0, 1)))
    nothing = NodeGraph((INPUT, OUTPUT), ())
    found = Ways(lambda _: (direct, nothing), ("a",))(ANY)[0].tolist()
    assert found == pytest.approx([0, math.log(3), 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])


def test_subtrees_by_hand() -> None:
    """Round 0: input, a, b, b, output; round 1: input(), a(input), b(a), b(input), output(a,b,b)."""
    found = Subtrees(lambda _: (GRAPH,), rounds=1)(ANY)[0]
    assert sorted(found[found > 0].tolist()) == [1] * 8 + [2]


@pytest.mark.parametrize("features", [Ways(lambda _: (GRAPH,), ("a", "b")), Subtrees(lambda _: (GRAPH,), rounds=3)])
def test_numbering_changes_nothing(features: Ways | Subtrees) -> None:
    turned = type(features)(**{**vars(features), "graphs": lambda _: (TURNED,)})
    assert torch.equal(features(ANY), turned(ANY))
