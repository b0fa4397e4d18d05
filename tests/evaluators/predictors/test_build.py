"""Every listed predictor, on spaces of every kind: the contract, and better than a constant."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from archipel.errors import OptionError
from archipel.evaluators.predictors import PREDICTORS, Predictor, UncertainPredictor, build, predictor
from archipel.evaluators.predictors.ensemble import Ensemble
from archipel.evaluators.predictors.metrics import kendall_tau
from archipel.evaluators.predictors.nao import EncoderPredictorDecoder, NAOFitting
from archipel.evaluators.predictors.neural import Fitting
from archipel.nn import ConvBN
from archipel.space import Space
from archipel.spaces import nasbench201

SPACE = Space(nasbench201)
SHORT = Fitting(epochs=25, hidden=(32,), lr=1e-2, dropout=0.0)
SHORT_NAO = NAOFitting(epochs=40, lr=1e-2, embedding=16, units=32, hidden=(32,))
# The listed ones as they are where they are fast, and with fewer epochs where they are not.
FAST = {
    "mlp": lambda space, seed: build.perceptron(space, fitting=Fitting(epochs=12, hidden=()), seed=seed),
    "lstm": lambda space, seed: build.lstm(space, fitting=SHORT, seed=seed),
    "gin": lambda space, seed: build.gin(space, fitting=SHORT, seed=seed),
    "gcn": lambda space, seed: build.gcn(space, fitting=SHORT, seed=seed),
    "gates": lambda space, seed: build.gates(space, fitting=SHORT, seed=seed),
    "gates_on_node": lambda space, seed: build.gates_on_node(space, fitting=SHORT, seed=seed),
    "nao": lambda space, seed: EncoderPredictorDecoder(
        space, NAOFitting(epochs=40, lr=1e-2, embedding=16, units=32, hidden=(32,)), seed=seed
    ),
    "gates_ensemble": lambda space, seed: Ensemble(
        lambda own: build.gates(space, fitting=Fitting(epochs=15, hidden=(32,), lr=1e-2), seed=own),
        members=3,
        seed=seed,
    ),
}
MADE = {**PREDICTORS, **FAST}
WORTH = {"none": 0.0, "skip_connect": 1.0, "nor_conv_1x1": 2.0, "nor_conv_3x3": 3.0, "avg_pool_3x3": 0.5}


def made(name: str, space: Space, seed: int = 0) -> Predictor:
    if name == "boosted":
        pytest.importorskip("lightgbm")
    return MADE[name](space, seed)


def planted(architectures: list) -> torch.Tensor:
    return torch.tensor([sum(WORTH[kind] for kind in a.values()) for a in architectures])


@pytest.mark.parametrize("name", ["ridge", "svr", "forest", "boosted", "gp"])
def test_seeds_of_searches_are_large(name: str) -> None:
    """Larger than scikit-learn and LightGBM take."""
    known = [SPACE.unrank(1_000 * i) for i in range(12)]
    one, other = made(name, SPACE, seed=2**62 + 1), made(name, SPACE, seed=2**62 + 1)
    one.fit(known, planted(known))
    other.fit(known, planted(known))
    assert torch.equal(one.predict(known), other.predict(known))


@pytest.mark.parametrize("name", MADE)
class TestEvery:
    def test_beats_a_constant_on_a_planted_function_and_keeps_the_contract(self, name: str) -> None:
        rng = random.Random(0)
        known, unknown = ([SPACE.sample(rng) for _ in range(n)] for n in (50, 60))
        model = made(name, SPACE)
        model.fit(known, planted(known))
        predicted = model.predict(unknown)
        assert predicted.dtype == torch.float64
        assert kendall_tau(predicted.numpy(), planted(unknown).numpy()) > 0.3  # of a constant there is none
        assert torch.allclose(
            model.predict(unknown[3:4]), predicted[3:4], rtol=1e-4, atol=1e-4
        )  # whoever stands beside
        if isinstance(model, UncertainPredictor):
            mean, spread = model.predict_spread(unknown)
            assert torch.allclose(mean, predicted)
            assert bool((spread >= 0).all())
            assert float(spread.max()) > 0
        again = made(name, SPACE)
        again.fit(known, planted(known))
        assert torch.equal(again.predict(unknown), predicted)

    def test_scores_that_cannot_be(self, name: str) -> None:
        model = made(name, SPACE)
        with pytest.raises(OptionError, match="score 1 is nan; leave out architectures whose trial failed"):
            model.fit([SPACE.unrank(0), SPACE.unrank(1)], torch.tensor([1.0, float("nan")]))
        with pytest.raises(OptionError, match="0 architectures came with scores of shape"):
            model.fit([], torch.zeros(0))

    def test_before_it_has_learned(self, name: str) -> None:
        with pytest.raises(OptionError, match="call fit first"):
            made(name, SPACE).predict([SPACE.unrank(0)])


def nobody_defined_a_cell(choose, *, classes: int = 4) -> nn.Module:
    """Blocks of different kernels and widths, one of which may be left out."""

    def block(i: int) -> nn.Module:
        return choose.op(f"b{i}", {"k1": lambda: ConvBN(4, 4, 1), "k5": lambda: ConvBN(4, 4, 5), "skip": nn.Identity})

    return nn.Sequential(
        ConvBN(3, 4), *map(block, range(4)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.mark.parametrize("name", ["gates", "gates_on_node", "gin", "gcn"])
def test_graph_predictors_work_where_nobody_defined_a_cell(name: str) -> None:
    space = Space(nobody_defined_a_cell)
    rng = random.Random(1)
    architectures = [space.unrank(i) for i in rng.sample(range(space.size), 60)]
    worth = {"k1": 1.0, "k5": 2.0, "skip": 0.0}
    scores = torch.tensor([sum(worth[kind] for kind in a.values()) for a in architectures])
    model = MADE[name](space, 0)
    model.fit(architectures[:30], scores[:30])
    assert kendall_tau(model.predict(architectures[30:]).numpy(), scores[30:].numpy()) > 0.3


def test_one_score_is_enough(small_space: Space) -> None:
    for name in ("ridge", "svr", "forest", "gp"):
        model = predictor(name, small_space)
        model.fit([small_space.unrank(0)], torch.tensor([3.0]))
        assert model.predict([small_space.unrank(0)]).tolist() == pytest.approx([3.0])


def test_an_unknown_name() -> None:
    with pytest.raises(OptionError, match=r"there is no predictor 'gate' .*did you mean 'gates'"):
        predictor("gate", SPACE)


def test_without_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    with pytest.raises(OptionError, match=r"boosted trees need lightgbm, .* run: pip install 'archipel\[predict\]'"):
        predictor("boosted", SPACE)


class TestEnsemble:
    def test_members_see_their_share(self) -> None:
        seen: list[list] = []

        class Member:
            def fit(self, architectures, scores) -> None:
                assert len(architectures) == len(scores)
                seen.append(list(architectures))

            def predict(self, architectures):
                return torch.full((len(architectures),), float(len(seen)), dtype=torch.float64)

        known = [SPACE.unrank(i) for i in range(10)]
        ensemble = Ensemble(lambda _: Member(), members=3, share=0.8)
        ensemble.fit(known, torch.arange(10.0))
        assert [len(one) for one in seen] == [8, 8, 8]
        assert len({tuple(one) for one in seen}) == 3

    def test_mean_and_spread(self) -> None:
        class Member:
            def __init__(self, seed: int) -> None:
                self.seed = seed

            def fit(self, architectures, scores) -> None: ...

            def predict(self, architectures):
                return torch.full((len(architectures),), float(self.seed), dtype=torch.float64)

        mean, spread = Ensemble(Member, members=3, seed=4).predict_spread([SPACE.unrank(0)])
        assert mean.tolist() == [5.0]
        assert spread.tolist() == pytest.approx([(2 / 3) ** 0.5])

    def test_settings_that_cannot_be(self) -> None:
        with pytest.raises(OptionError, match="0 members that see 1 of the data"):
            Ensemble(lambda seed: MADE["ridge"](SPACE, seed), members=0)
