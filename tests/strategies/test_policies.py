"""Policies: probabilities over token strings are those of a distribution over exactly the space's architectures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.space import Space
from archipel.spaces import enas, instanas, nas_rl, nasbench201
from archipel.strategies.policies import (
    IndependentPolicy,
    RecurrentPolicy,
    Token,
    _assembled,
    skips_of,
    slots_of,
)

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


def skipping(choose: Choose) -> nn.Module:
    """Three layers of two kinds; the second may read the first, the third reads one of those before it or both."""
    kinds = {"a": nn.Identity, "b": nn.Identity}
    layers = [choose.op("l0.kind", kinds)]
    for i in (1, 2):
        skips = {f"l{j}": nn.Identity for j in range(i)}
        empty = nn.Identity if i == 1 else None
        layers += [choose.op(f"l{i}.kind", kinds), choose.subset(f"l{i}.inputs", skips, empty=empty)]
    return nn.Sequential(*layers)


class TestAnchors:
    @pytest.fixture
    def policy(self) -> RecurrentPolicy:
        return RecurrentPolicy(Space(skipping), rng=torch.Generator().manual_seed(0), spread=0.8)

    def told(self, policy: RecurrentPolicy) -> dict[Architecture, list[Token]]:
        return dict(strings(policy.space))

    def test_which_choices_have_them(self) -> None:
        assert skips_of(Space(nas_rl, layers=3)) == {"l1.inputs", "l2.inputs"}
        for space in (Space(nasbench201), Space(enas, cells=1), Space(instanas, macro="digits")):
            assert not skips_of(space)
            assert RecurrentPolicy(space, rng=torch.Generator()).anchors is None

    def test_probabilities_add_up_to_one(self, policy: RecurrentPolicy) -> None:
        found = self.told(policy)
        assert found.keys() == set(policy.space)
        assert len(found) == 2**3 * 2 * 3
        with torch.no_grad():
            total = math.fsum(math.exp(policy.log_prob(tokens)[0]) for tokens in found.values())
        assert total == pytest.approx(1.0, abs=1e-5)

    def test_draws_follow_the_probabilities(self, policy: RecurrentPolicy) -> None:
        rng, n, known = torch.Generator().manual_seed(1), 400, self.told(policy)
        drawn = [policy.draw(rng) for _ in range(n)]
        assert all(tokens == known[architecture] for architecture, tokens in drawn)
        with torch.no_grad():
            expected = {a: math.exp(policy.log_prob(tokens)[0]) for a, tokens in known.items()}
        for name, option in (("l1.inputs", "l0"), ("l2.inputs", "l0"), ("l2.inputs", "l1"), ("l2.kind", "a")):
            p = sum(own for a, own in expected.items() if option in a[name])
            share = sum(option in architecture[name] for architecture, _ in drawn) / n
            assert share == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5), (name, option)

    def test_the_formula(self, policy: RecurrentPolicy) -> None:
        anchors = policy.anchors
        assert anchors is not None
        earlier, now = torch.randn(3, 35), torch.randn(35)
        yes = anchors(earlier, now).softmax(-1)[:, 1]
        for h, p in zip(earlier, yes):
            hidden = torch.tanh(anchors.previous.weight @ h + anchors.current.weight @ now)
            torch.testing.assert_close(p, torch.sigmoid(anchors.v.weight[0] @ hidden))

    def test_each_layer_on_its_own(self) -> None:
        """With the same sizes, log P of reading one layer is the same whatever else that layer reads."""
        policy = RecurrentPolicy(Space(nas_rl, layers=3), rng=torch.Generator().manual_seed(0), spread=0.8)
        drawn, _ = _assembled(policy.space, policy.slots, lambda slot, _: slot.number % slot.width)

        def log(*inputs: str) -> float:
            wanted = policy.space.canonical({**drawn, "l2.inputs": inputs})
            values = iter(
                int(o in wanted[c.name]) if c.kind == "subset" else c.options.index(wanted[c.name])
                for c in policy.space.choices
                for o in (c.options if c.kind == "subset" else [None])
            )
            got, tokens = _assembled(policy.space, policy.slots, lambda *_: next(values))
            assert got == wanted
            return float(policy.log_prob(tokens)[0].detach())

        assert log("l0", "l1") - log("l1") == pytest.approx(log("l0") - log(), abs=1e-5)
        assert abs(log("l0") - log()) > 1e-3

    def test_states_of_earlier_layers_learn_from_skips(self, policy: RecurrentPolicy) -> None:
        """h_j gets a gradient from the decision itself, not only through the steps after it."""
        seen: list[Tensor] = []

        def note(_: nn.Module, given: tuple[Tensor, Tensor]) -> None:
            given[0].retain_grad()
            seen.append(given[0])

        assert policy.anchors is not None
        _, tokens = policy.draw(torch.Generator().manual_seed(0))
        policy.anchors.register_forward_pre_hook(note)
        policy.log_prob(tokens)[0].backward()
        states = [h for h in seen if h.grad is not None]
        assert [len(h) for h in states] == [1, 2]
        assert all(float(row.norm()) > 1e-6 for h in states for row in h.grad)
        assert not torch.allclose(states[1][0], states[1][1]), "layers have states of their own"

    def test_the_same_layer_has_the_same_state_for_all_that_may_read_it(self, policy: RecurrentPolicy) -> None:
        seen: list[Tensor] = []
        assert policy.anchors is not None
        policy.anchors.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        _, tokens = policy.draw(torch.Generator().manual_seed(0))
        drawn, seen[:] = list(seen), []
        policy.log_prob(tokens)
        torch.testing.assert_close(seen[0][0], seen[1][0])
        for now, then in zip(seen, drawn, strict=True):
            torch.testing.assert_close(now.detach(), then)
