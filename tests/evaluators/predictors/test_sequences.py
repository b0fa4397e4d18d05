"""Decisions as a sequence: there and back, for every space, and every sequence that is allowed is an architecture."""

from __future__ import annotations

import random

import torch

from archipel.evaluators.predictors.sequences import LSTM, Decisions
from archipel.space import Space


def test_there_and_back(space: Space) -> None:
    decisions, rng = Decisions(space), random.Random(0)
    for _ in range(20):
        architecture = space.sample(rng)
        tokens = decisions.tokens(architecture)
        assert len(tokens) == len(decisions.slots)
        assert decisions.architecture(tokens) == architecture


def test_what_is_allowed_is_every_architecture_and_nothing_else(small_space: Space) -> None:
    decisions = Decisions(small_space)
    written: list[list[int]] = [[]]
    for slot in decisions.slots:
        written = [[*before, token] for before in written for token in decisions.allowed(slot, before)]
    found = [decisions.architecture(tokens) for tokens in written]
    assert set(found) == set(small_space)
    # An empty selection with a default is a second spelling of it; else each is written once.
    if not any(choice.empty in choice.options for choice in small_space.choices):
        assert len(found) == small_space.size


def test_lstm_tells_every_decision_apart(small_space: Space) -> None:
    torch.manual_seed(0)
    architectures = list(small_space)[:40]
    with torch.no_grad():
        codes = LSTM(small_space.width, embedding=8, units=8).double()(*Decisions(small_space)(architectures))
    assert len(codes.unique(dim=0)) == len(architectures)
