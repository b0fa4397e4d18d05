"""Encoder, predictor and decoder: codes hold what they encode, and moving them uphill helps."""

from __future__ import annotations

import random

import torch

from archipel.evaluators.predictors.nao import EncoderPredictorDecoder, NAOFitting
from archipel.space import Space
from archipel.spaces import nasbench201

SPACE = Space(nasbench201)
SHORT = NAOFitting(epochs=80, lr=1e-2, embedding=12, units=24, hidden=(32,), dropout=0.0)
ARCHITECTURES = [SPACE.sample(random.Random(i)) for i in range(40)]
SCORES = torch.tensor([float(sum(kind == "nor_conv_3x3" for kind in a.values())) for a in ARCHITECTURES])


def test_codes_hold_what_they_encode_and_can_be_moved() -> None:
    predictor = EncoderPredictorDecoder(SPACE, SHORT)
    predictor.fit(ARCHITECTURES, SCORES)
    rebuilt = predictor.reconstructed(ARCHITECTURES)
    assert sum(a == b for a, b in zip(ARCHITECTURES, rebuilt)) >= 0.95 * len(ARCHITECTURES)
    before = predictor.predict(ARCHITECTURES)
    moved = predictor.moved(ARCHITECTURES, 5.0)
    changed = [i for i, (a, b) in enumerate(zip(ARCHITECTURES, moved)) if a != b]
    assert changed
    assert predictor.predict([moved[i] for i in changed]).mean() > before[changed].mean()


def test_whatever_it_decodes_is_of_the_space(small_space: Space) -> None:
    rng = random.Random(0)
    architectures = [small_space.sample(rng) for _ in range(6)]
    predictor = EncoderPredictorDecoder(small_space, NAOFitting(epochs=2, embedding=4, units=8, hidden=(4,)))
    predictor.fit(architectures, torch.arange(6.0))
    for found in (*predictor.reconstructed(architectures), *predictor.moved(architectures, 50.0)):
        assert small_space.canonical(found) == found


def test_twins_are_learned_with_the_same_score() -> None:
    """Half of the space is never seen but as the twin of the other half."""
    mirror = {"e01": "e02", "e02": "e01"}

    def twin(architecture):
        return [SPACE.canonical({mirror.get(name, name): kind for name, kind in architecture.items()})]

    seen = [a.replace(e02="none") for a in ARCHITECTURES]
    scores = torch.tensor([float(a["e01"] == "nor_conv_3x3") for a in seen])
    unseen = [twin(a)[0] for a in seen]

    def error(**more) -> float:
        predictor = EncoderPredictorDecoder(SPACE, SHORT, **more)
        predictor.fit(seen, scores)
        return float((predictor.predict(unseen) - scores).abs().mean())

    assert error(twins=twin) < 0.5 * error()
