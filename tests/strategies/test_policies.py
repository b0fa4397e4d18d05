"""Policies: probabilities over token strings are those of a distribution over exactly the space's architectures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from archipel.architecture import Architecture
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies.policies import IndependentPolicy, RecurrentPolicy, Token, _assembled, slots_of

POLICIES = (IndependentPolicy, RecurrentPolicy)


def strings(space: Space) -> Iterator[tuple[Architecture, list[Token]]]:
    """Every string of tokens that can be drawn, in the order of their values."""
    slots = slots_of(space)
    prefix: list[int] | None = []
    while prefix is not None:
        drawn: list[tuple[int, list[int]]] = []

        def draw(slot, allowed: list[bool], prefix=prefix, drawn=drawn) -> int:  # noqa: ARG001
            free = [i for i, may in enumerate(allowed) if may]
            value = prefix[len(drawn)] if len(drawn) < len(prefix) else free[0]
            drawn.append((value, free))
            return value

        yield _assembled(space, slots, draw)
        while drawn and drawn[-1][0] == drawn[-1][1][-1]:
            drawn.pop()
        last = [drawn[-1][1][drawn[-1][1].index(drawn[-1][0]) + 1]] if drawn else []
        prefix = [*(value for value, _ in drawn[:-1]), *last] if drawn else None


@pytest.mark.parametrize("kind", POLICIES)
def test_probabilities_add_up_to_one(kind, small_space: Space) -> None:
    policy = kind(small_space, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(20)  # far from uniform
        found = [(a, float(policy.log_prob(tokens)[0])) for a, tokens in strings(small_space)]
    assert {architecture for architecture, _ in found} == set(small_space)
    assert math.fsum(math.exp(log) for _, log in found) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", POLICIES)
def test_draws_follow_the_probabilities(kind) -> None:
    space = Space(nasbench201)
    rng = torch.Generator().manual_seed(1)
    policy = kind(space, rng=rng)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(20)
        logs, entropies = [], []
        for _ in range(150):
            architecture, tokens = policy.draw(rng)
            log, entropy = policy.log_prob(tokens)
            assert [space.choices[s.number].options[v] for s, _, v in tokens] == list(architecture.values())
            logs.append(float(log))
            entropies.append(float(entropy))
    told = torch.tensor(logs)
    error = float(told.std()) / 150**0.5
    assert -float(told.mean()) == pytest.approx(sum(entropies) / 150, abs=4 * error)  # E[−log p] is the entropy
