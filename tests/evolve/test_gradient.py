"""Fitness by gradient: what α learns, what cells inherit, and that it goes on as if it had not been stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archipel.cost.complexity import madds
from archipel.errors import OptionError
from archipel.evolve.dense import Frame, inherit, mixed
from archipel.evolve.genes import CellGenes
from archipel.evolve.gradient import GradientScorer, Judging, expected_madds, positive_shares, shares
from archipel.evolve.paths import PathScorer
from archipel.evolve.population import Member, Population
from archipel.evolve.search import Evolution, Outcome, evolve
from archipel.run.checkpoint import Checkpoint
from archipel.sharing.penalty import PenaltySettings, make_penalty
from archipel.spaces.cell import Cell, reference
from archipel.spaces.cell_block import CellBlock
from archipel.spaces.evolved import Backbone
from archipel.tasks import Classification, load

BACKBONE = Backbone(4, 1, 4, ((4, 1), (6, 2)), 8)
PLACES = BACKBONE.placements(8, 2)
CELLS = (Cell((3, 1, 5, 1, 2, 3), dim=0), Cell((3, 2, 0, 1, 5, 1), dim=1), reference())


@pytest.fixture(scope="module")
def digits() -> Classification:
    return load("digits", images=160, test_images=40)


def scorer(task: Classification, frame: Frame | None = None, **changes: Any) -> GradientScorer:
    torch.manual_seed(0)
    settings = Judging(**{"steps": 3, "batch": 8, **changes.pop("settings", {})})
    frame = frame or Frame(BACKBONE, classes=10, channels=1)
    kind: type[GradientScorer] = changes.pop("kind", GradientScorer)
    return kind(frame, PLACES, task, settings, **changes)


class TestMixture:
    def test_the_gradient_of_alpha(self) -> None:
        """dL/dα_k = a_k (g_k − Σ_j a_j g_j), g_k = ⟨dL/dy, f_k(x)⟩ (section 1.4 of the specification)."""
        torch.manual_seed(0)
        x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
        cells = [CellBlock(cell, 4, 4, expand=2).double() for cell in CELLS]
        alpha = torch.randn(3, dtype=torch.float64, requires_grad=True)
        y = mixed(x, cells, shares(alpha, Judging()))
        y.retain_grad()
        y.pow(3).mean().backward()
        g = torch.stack([(y.grad * cell(x)).sum() for cell in cells])
        a = alpha.detach().softmax(0)
        torch.testing.assert_close(alpha.grad, a * (g - (a * g).sum()))
        assert torch.autograd.gradcheck(lambda v: mixed(x, cells, shares(v, Judging())).pow(3).mean(), alpha)

    def test_order_and_shift(self) -> None:
        torch.manual_seed(0)
        x, alpha = torch.randn(2, 4, 5, 5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
        cells = [CellBlock(cell, 4, 4, expand=2).double() for cell in CELLS]
        order = torch.tensor([2, 0, 1])
        plain = mixed(x, cells, shares(alpha, Judging()))
        torch.testing.assert_close(plain, mixed(x, [cells[i] for i in order], shares(alpha[order], Judging())))
        torch.testing.assert_close(plain, mixed(x, cells, shares(alpha + 7, Judging())), rtol=0, atol=1e-12)

    def test_one_cell_of_all_weight_is_a_block(self) -> None:
        x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
        cells = [CellBlock(cell, 4, 4, expand=2).eval() for cell in CELLS]
        torch.testing.assert_close(mixed(x, cells, torch.tensor([0.0, 1.0, 0.0])), x + cells[1](x))

    def test_gumbel_noise(self) -> None:
        """The largest of noisy logits is drawn from their softmax."""
        alpha, own = torch.tensor([0.0, 1.0, 2.0]), Judging(normalisation="gumbel", temperature=0.05)
        generator = torch.Generator().manual_seed(0)
        wins = torch.bincount(torch.tensor([int(shares(alpha, own, generator).argmax()) for _ in range(2000)]))
        torch.testing.assert_close(wins / 2000, alpha.softmax(0), atol=0.05, rtol=0)
        assert torch.equal(shares(alpha, own), (alpha / 0.05).softmax(0))

    def test_raw_weights_are_alpha_itself(self, digits: Classification) -> None:
        """1/K + α, whatever their sum; a batch norm behind the sum; the positive ones share the cost."""
        own = Judging(normalisation="raw")
        alpha = torch.tensor([0.5, -1.0, 0.0], requires_grad=True)
        torch.testing.assert_close(shares(alpha, own), torch.tensor([5 / 6, -2 / 3, 1 / 3]))
        torch.testing.assert_close(positive_shares(shares(alpha, own)), torch.tensor([5 / 7, 0.0, 2 / 7]))
        frame = Frame(BACKBONE, classes=10, channels=1, norms=True)
        assert [norm.num_features for norm in frame.norms] == [4, 6]
        judge = scorer(digits, frame, settings={"normalisation": "raw", "alpha_lr": 0.5}, fixed_madds=1.0)
        members = [Member(cell, i) for i, cell in enumerate(CELLS)]
        scores, figures = judge.score(0, [members, members])
        assert all(abs(score) > 0.1 for row in scores for score in row)
        most = 1 + sum(max(cell.madds(at) for cell in CELLS) for at in PLACES)
        assert 1 < figures["madds"] <= most

    def test_tied_blocks_have_one_alpha_and_weights_of_their_own(self, digits: Classification) -> None:
        judge = scorer(digits, groups=(0, 0))
        scores, _ = judge.score(0, [[Member(cell, i) for i, cell in enumerate(CELLS)]])
        assert [len(row) for row in scores] == [3]
        first, second = (cells[2].projection[0].weight for cells in judge.cells)
        assert (first.shape[0], second.shape[0]) == (4, 6)
        judge.forget([[Member(CELLS[0], 0)]])
        assert [list(cells) for cells in judge.cells] == [[0], [0]]

    def test_expected_madds(self) -> None:
        """Equal shares of two networks: halfway between them; and a share's slope is its cell's cost."""
        weights = [torch.full((2,), 0.5, requires_grad=True) for _ in PLACES]
        costs = [torch.tensor([float(c.madds(at)) for c in CELLS[:2]]) for at in PLACES]
        total = expected_madds(100.0, costs, weights)
        assert float(total.detach()) == pytest.approx(100 + sum(float(c.mean()) for c in costs))
        total.backward()
        assert torch.equal(weights[0].grad, costs[0])


def test_the_frame_costs_what_the_backbone_says() -> None:
    frame = Frame(BACKBONE, classes=10, channels=1)
    cells = [frame.new_cell(CELLS[0], at) for at in PLACES]
    whole = nn.Sequential(frame.head, *cells, frame.tail)
    assert madds(whole, (1, 8, 8)) == BACKBONE.madds(8, classes=10, channels=1) + sum(
        CELLS[0].madds(at) for at in PLACES
    )


class TestInheritance:
    def test_what_fits_is_copied(self) -> None:
        torch.manual_seed(0)
        parent = CellBlock(Cell((3, 1, 5, 1, 2, 3), dim=0), 4, 4)
        child = CellBlock(Cell((5, 1, 5, 1, 2, 3), dim=0), 4, 4)
        fresh = {name: tensor.clone() for name, tensor in child.state_dict().items()}
        assert inherit(child, parent) > 0
        theirs = parent.state_dict()
        for name, tensor in child.state_dict().items():
            changed_edge = name == "edges.0_1.0.weight"
            assert torch.equal(tensor, fresh[name] if changed_edge else theirs[name])

    def test_nothing_where_the_operator_or_the_width_is_another(self) -> None:
        parent = CellBlock(Cell((3, 1, 5, 1, 2, 3), dim=0), 4, 4)
        child = CellBlock(Cell((1, 3, 1, 1, 1, 1), dim=2), 4, 4)
        before = child.state_dict()["edges.0_2.0.weight"].clone()
        inherit(child, parent)
        assert torch.equal(child.state_dict()["edges.0_2.0.weight"], before)

    @pytest.mark.parametrize(("weights", "wanted"), [("inherit", True), ("bank", True), ("fresh", False)])
    def test_a_child_starts_from_its_parent(self, digits: Classification, weights: str, wanted: bool) -> None:
        judge = scorer(digits, settings={"weights": weights})
        old, child = Member(CELLS[0], 1), Member(Cell((3, 1, 5, 1, 2, 5), dim=0), 2, parent=1)
        judge.score(0, [[old], [Member(reference(), 0)]])
        kept = judge.cells[0][1].expansion[0].weight.clone()
        block = judge._cell(0, child)
        assert torch.equal(block.expansion[0].weight, kept) is wanted

    def test_a_bank_has_one_tensor_for_all(self, digits: Classification) -> None:
        judge = scorer(digits, settings={"weights": "bank"})
        members = [Member(cell, i) for i, cell in enumerate(CELLS)]
        judge.score(0, [members, members])
        first, second, plain = (judge.cells[0][i] for i in range(3))
        assert first.expansion[0].weight is second.expansion[0].weight is plain.expansion[0].weight
        assert first.edges["1_2"][0].weight is not plain.edges["1_2"][0].weight  # 5×5 and 3×3
        assert first.expansion[1].running_mean is second.expansion[1].running_mean
        before = plain.expansion[0].weight.detach().clone()
        judge.score(1, [members[:2], members[:2]])  # those it is shared with go on
        assert not torch.equal(plain.expansion[0].weight, before)
        judge.forget([members[:1], members[:1]])
        again = judge._cell(0, Member(reference(), 9))
        assert again.edges["1_2"][0].weight is plain.edges["1_2"][0].weight

    def test_who_left_is_forgotten(self, digits: Classification) -> None:
        judge = scorer(digits)
        members = [Member(cell, i) for i, cell in enumerate(CELLS)]
        judge.score(0, [members, members])
        judge.forget([members[:1], members])
        assert [sorted(cells) for cells in judge.cells] == [[0], [0, 1, 2]]


class Planted(nn.Module):
    """A cell that hands on what its kernel code lets it: all, or noise."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.good = cell.codes[0] == 5

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x if self.good else torch.randn_like(x))


class PlantedFrame(Frame):
    """One layer, pixels to scores."""

    def __init__(self) -> None:
        super().__init__(Backbone(4, 1, 4, (), 8), classes=10, channels=1)
        self.head = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16))
        self.tail = nn.Sequential(nn.Linear(16, 10))

    def new_cell(self, cell: Cell, at: Any, *, attention: bool = False) -> Any:  # noqa: ARG002
        return Planted(cell)

    def forward(self, x: Tensor, layers: Any, weights: Any) -> Tensor:
        y = self.head(x)
        total = sum(weight * cell(y) for cell, weight in zip(layers[0], weights[0]))
        return self.tail(total)


@pytest.mark.parametrize("kind", [GradientScorer, PathScorer])
def test_a_planted_cell_is_ranked_first(digits: Classification, kind: type[GradientScorer]) -> None:
    """Check 5: one cell's output says something, the others' is noise; first in 19 of 20 seeds or more."""
    first = 0
    for seed in range(20):
        torch.manual_seed(seed)
        judge = kind(PlantedFrame(), PLACES[:1], digits, Judging(steps=24, batch=32), seed=seed)
        place = seed % 4
        members = [Member(Cell((5 if i == place else 3, 1, 1, 1, 1, 1)), i) for i in range(4)]
        ((values,), _) = judge.score(0, [members])
        first += max(range(4), key=values.__getitem__) == place
    assert first >= 19


@pytest.mark.parametrize(("resting", "steps"), [(0.0, 6), (1 / 3, 4), (0.5, 3), (0.99, 1)])
def test_alpha_rests_for_its_share_of_the_steps(
    digits: Classification, resting: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, taken, step = scorer(digits, settings={"steps": 6, "resting": resting}), [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda adam: taken.append(step(adam)))
    members = [Member(cell, i) for i, cell in enumerate(CELLS)]
    scores, _ = judge.score(0, [members, members])
    assert len(taken) == steps
    assert all(score != 0 for row in scores for score in row)


def test_a_stronger_budget_gives_cheaper_mixtures(digits: Classification) -> None:
    """Check 9."""
    fixed = float(BACKBONE.madds(8, classes=10, channels=1))
    low = fixed + sum(reference().madds(at) for at in PLACES)
    members = [[Member(cell, i) for i, cell in enumerate(CELLS)]] * 2
    found = []
    for strength in (0.0, 0.3, 10.0):
        penalty = make_penalty(PenaltySettings("hinge", strength=strength), low)
        judge = scorer(digits, penalty=penalty, fixed_madds=fixed, settings={"steps": 12, "alpha_lr": 0.2})
        found.append(judge.score(0, members)[1]["madds"])
    assert found[0] > found[1] > found[2]


class TestEvolution:
    OWN = Evolution(population=4, active=3, iterations=3, keep=2, tournament=2, rescoring=3)

    def run(
        self, task: Classification, weights: str = "inherit", by: str = "gradient", **others: Any
    ) -> tuple[Outcome[Cell], GradientScorer]:
        fixed = float(BACKBONE.madds(8, classes=10, channels=1))
        reference_madds = fixed + sum(reference().madds(at) for at in PLACES)
        judge = scorer(
            task, seed=5, fixed_madds=fixed, penalty=make_penalty(PenaltySettings("budget"), reference_madds),
            settings={"weights": weights}, kind=PathScorer if by == "paths" else GradientScorer,
        )  # fmt: skip
        genes = CellGenes()
        caps = [3 * reference().madds(at) for at in PLACES]
        populations = [
            Population(genes, reference(), lambda cell, at=at, cap=cap: cell.madds(at) <= cap, 4)
            for at, cap in zip(PLACES, caps)
        ]
        return evolve(populations, judge, self.OWN, genes, seed=5, **others), judge

    def test_weights_are_kept_of_members_only(self, digits: Classification) -> None:
        outcome, judge = self.run(digits)
        for cells, population, at in zip(judge.cells, outcome.populations, PLACES):
            assert cells.keys() <= {0, *(member.number for member in population.members)}
            assert all(member.genes.madds(at) <= 3 * reference().madds(at) for member in population.members)
        assert {"loss", "alpha_loss", "madds"} <= outcome.history[0].keys()

    @pytest.mark.parametrize(("weights", "by"), [("inherit", "gradient"), ("bank", "gradient"), ("inherit", "paths")])
    def test_killed_between_iterations(
        self, digits: Classification, tmp_path: Path, killer: Any, killed: Any, weights: str, by: str
    ) -> None:
        whole, _ = self.run(digits, weights, by)
        hand = killer(6, Checkpoint(tmp_path / "kept"))
        with pytest.raises(killed):
            self.run(digits, weights, by, progress=hand, checkpoint=hand)
        again, _ = self.run(digits, weights, by, checkpoint=hand.checkpoint)
        assert 0 < len(again.history) == len(whole.history)
        assert again.history == whole.history
        assert [[vars(m) for m in members] for members in again.kept] == [
            [vars(m) for m in members] for members in whole.kept
        ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 1}, "steps is 1"),
        ({"lr": 0.0}, "lr is 0"),
        ({"normalisation": "x"}, "give softmax, gumbel, raw"),
        ({"weights": "x"}, "give inherit, bank, fresh"),
        ({"by": "x"}, "give gradient, paths"),
        ({"resting": 1.0}, "resting is 1"),
    ],
)
def test_mistakes(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Judging(**changes)
