"""Progressive widening: which sizes are asked for, in which order, and that the predictor learns from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import OptionError, SpaceError
from archipel.evaluators.predictors.blocks import FITTING, BlockLSTM, BlockMean, Blocks, block_lstm
from archipel.space import Space
from archipel.spaces import enas, nasbench201
from archipel.spaces.two_input import Rule, stacked, unordered
from archipel.strategies import Progressive, pnas, strategy

OPERATIONS = ("skip_connect", "conv_3x3", "max_pool_3x3")


def growing(choose) -> nn.Module:
    rule = Rule(OPERATIONS, unread=False, alike=True, grows=True)
    return stacked(
        choose, rule, cells=1, blocks=3, filters=2, classes=4, channels=3, size=8, drop_path=0.0, dropout=0.0
    )


SPACE = Space(growing)


def quality(architecture: Architecture) -> float:
    """Convolutions are good, and more of them in larger cells."""
    return float(sum(value == "conv_3x3" for value in architecture.values())) + 0.1 * architecture["cell.blocks"]  # type: ignore[operator]


class Oracle:
    """Knows the truth; notes what it was fitted on and asked about."""

    def __init__(self) -> None:
        self.fitted: list[int] = []
        self.asked: list[list[Architecture]] = []

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        assert len(architectures) == len(scores)
        self.fitted.append(len(architectures))

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        self.asked.append(list(architectures))
        return torch.tensor([quality(a) for a in architectures], dtype=torch.float64)


def run(own: Progressive, trials: int) -> list[Architecture]:
    told = []
    for _ in range(trials):
        told.append(own.ask())
        own.tell(told[-1], (quality(told[-1]),))
    return told


def test_size_by_size() -> None:
    """All 21 cells of one block, 4 of two, then three, best first; each canonical, none twice."""
    oracle = Oracle()
    told = run(Progressive(SPACE, oracle, beam=4, same=unordered), 33)
    assert [a["cell.blocks"] for a in told] == [1] * 21 + [2] * 4 + [3] * 8
    assert len({tuple(sorted(unordered(a).items())) for a in told}) == 33
    assert all(SPACE.canonical(a) == a for a in told)
    assert oracle.fitted == [21, 25], "it learns from all that is known"
    best = [quality(a) for a in told]
    assert best[21:25] == [pytest.approx(4.2)] * 4
    assert best[25:] == sorted(best[25:], reverse=True)
    assert best[25] == pytest.approx(6.3), "the best of all 3 blocks"


def test_only_the_best_are_enlarged_in_every_way() -> None:
    oracle = Oracle()
    told = run(Progressive(SPACE, oracle, beam=2, same=unordered), 22)
    kept = sorted(told[:21], key=quality, reverse=True)[:2]
    candidates = oracle.asked[0]
    assert len(set(candidates)) == len(candidates) == 2 * (9 * 10 // 2), "45 blocks of three states and operations"
    first = {f"cell.b2.{part}" for part in ("in1", "in2", "op1", "op2")}
    assert {tuple((k, v) for k, v in a.items() if k in first) for a in candidates} == {
        tuple((k, v) for k, v in a.items() if k in first) for a in kept
    }


def test_answers_may_fail_come_late_or_from_others() -> None:
    own = Progressive(SPACE, Oracle(), beam=3, same=unordered)
    asked = [own.ask() for _ in range(21)]
    own.tell(SPACE.unrank(SPACE.size - 1), (9.0,))
    for architecture in asked[:10]:
        own.tell(architecture, None)
    later = own.ask()
    assert later["cell.blocks"] == 1, "nothing of one block is known"
    own.tell(asked[10], (1.0,))
    assert own.ask()["cell.blocks"] == 2


def test_mistakes() -> None:
    with pytest.raises(OptionError, match="pnas grows cells block by block, and space 'nasbench201' has none"):
        pnas(Space(nasbench201))
    with pytest.raises(OptionError, match="widens by one number, and in space 'enas' no number opens other choices"):
        pnas(Space(enas, blocks=1, cells=1, filters=1))
    with pytest.raises(OptionError, match="using is 'gru'; give 'lstm' or 'mlp'"):
        pnas(SPACE, using="gru")
    with pytest.raises(OptionError, match="beam is 0; give 1 or more"):
        strategy("pnas,beam=0", SPACE)
    with pytest.raises(OptionError, match="makes one objective better, not 2; give one, or use nsga2"):
        strategy("pnas", SPACE, objectives=2)
    with pytest.raises(SpaceError, match="has no blocks of two slots; read its decisions instead"):
        Blocks(Space(nasbench201))


class TestPredictors:
    def test_tokens(self) -> None:
        blocks = Blocks(SPACE)
        one = next(a for a in SPACE if a["cell.blocks"] == 1)
        (tokens,) = blocks([one, SPACE.unrank(SPACE.size - 1)])
        assert tokens.tolist() == [[[1, 1, 1, 1], [0] * 4, [0] * 4], [[2, 2, 3, 3], [3, 3, 3, 3], [4, 4, 3, 3]]]

    @pytest.mark.parametrize("kind", [BlockLSTM, BlockMean])
    def test_absent_blocks_change_nothing(self, kind) -> None:
        torch.manual_seed(0)
        blocks = Blocks(SPACE)
        encoder = kind(blocks, embedding=4, units=5).eval()
        (tokens,) = blocks([next(a for a in SPACE if a["cell.blocks"] == 2), SPACE.unrank(SPACE.size - 1)])
        torch.testing.assert_close(encoder(tokens)[:1], encoder(tokens[:1, :2]))

    def test_small_cells_teach_about_larger_ones(self) -> None:
        """Tokens share their embeddings wherever they stand: of two blocks it learns what three are worth."""
        rows = {1: range(36), 2: range(36, 2952, 50), 3: range(2952, SPACE.size, 4001)}
        cells = {size: [SPACE.unrank(row) for row in found] for size, found in rows.items()}
        assert all(a["cell.blocks"] == size for size, found in cells.items() for a in found)
        known = [*cells[1], *cells[2]]
        model = block_lstm(SPACE, fitting=replace(FITTING, epochs=30), seed=0)
        model.fit(known, torch.tensor([quality(a) for a in known], dtype=torch.float64))
        said = model.predict(cells[3])
        assert spearmanr(said.numpy(), [quality(a) for a in cells[3]])[0] > 0.5
