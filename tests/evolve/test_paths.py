"""Fitness by single paths: everybody on as many, and judged by their loss alone."""

from __future__ import annotations

import pytest
import torch

from archipel.evolve.dense import Frame
from archipel.evolve.gradient import Judging
from archipel.evolve.paths import PathScorer, fair_paths
from archipel.evolve.population import Member
from archipel.sharing.penalty import PenaltySettings, make_penalty
from archipel.spaces.cell import Cell, reference
from archipel.spaces.evolved import Backbone
from archipel.tasks import load

BACKBONE = Backbone(4, 1, 4, ((4, 1), (6, 2)), 8)
PLACES = BACKBONE.placements(8, 2)
CELLS = (Cell((3, 1, 5, 1, 2, 3), dim=0), Cell((3, 2, 0, 1, 5, 1), dim=1), reference())
MEMBERS = [Member(cell, i) for i, cell in enumerate(CELLS)]


def judge(**more: object) -> PathScorer:
    torch.manual_seed(0)
    task = load("digits", images=160, test_images=40)
    return PathScorer(
        Frame(BACKBONE, classes=10, channels=1), PLACES, task, Judging(by="paths", steps=6, batch=16), **more
    )  # type: ignore[arg-type]


def test_every_cell_is_on_one_path() -> None:
    chance = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(20):
        paths = fair_paths([4, 4, 2], chance)
        assert len(paths) == 4
        for layer in (0, 1):
            assert sorted(path[layer] for path in paths) == [0, 1, 2, 3]
        assert sorted(path[2] for path in paths) == [0, 0, 1, 1]
        seen |= {tuple(path[:2]) for path in paths}
    assert len(seen) == 16, "layers are drawn independently"


def test_what_cells_cost_enters_the_verdict_and_nothing_else() -> None:
    """Weights learn without the penalty, so verdicts differ by what it says of the paths: in the sum over a layer by
    nothing, since every path is in it once."""
    fixed = 1000.0
    costs = [[float(cell.madds(at)) for cell in CELLS] for at in PLACES]
    middle = fixed + sum(sum(row) / len(row) for row in costs)
    plain, figures = judge(fixed_madds=fixed).score(0, [MEMBERS, MEMBERS])
    assert figures["madds"] == pytest.approx(middle)
    penalty = make_penalty(PenaltySettings("add_linear", strength=2.0), middle)
    held, _ = judge(fixed_madds=fixed, penalty=penalty).score(0, [MEMBERS, MEMBERS])
    for before, after in zip(plain, held, strict=True):
        assert sum(before) - sum(after) == pytest.approx(0.0, abs=1e-5)
    dearest = max(range(3), key=lambda k: costs[0][k] + costs[1][k])
    assert sum(row[dearest] for row in held) < sum(row[dearest] for row in plain)


def test_cells_learn_as_single_ones() -> None:
    """Every tensor of every cell gets a gradient, and the loss falls."""
    own = judge()
    first = own.score(0, [MEMBERS, MEMBERS])[1]["loss"]
    before = [{n: p.detach().clone() for n, p in cell.named_parameters()} for cell in own.cells[0].values()]
    for iteration in range(1, 6):
        _, figures = own.score(iteration, [MEMBERS, MEMBERS])
    assert figures["loss"] < first
    for held, cell in zip(before, own.cells[0].values(), strict=True):
        assert all(not torch.equal(held[name], parameter) for name, parameter in cell.named_parameters())


def test_tied_blocks_take_the_same_cell() -> None:
    scores, _ = judge(groups=(0, 0)).score(0, [MEMBERS])
    assert [len(row) for row in scores] == [3]
