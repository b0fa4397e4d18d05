"""Policy gradients: against the exact gradient, what an update raises, and that a policy learns."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces import nas_rl as layer_strings
from archipel.spaces import nasbench201
from archipel.strategies import nas_rl, ppo, reinforce
from archipel.strategies.policies import RecurrentPolicy
from archipel.strategies.reinforce import Reinforce


def tiny(choose: Choose) -> nn.Module:
    return nn.Sequential(
        choose.op("a", {"x": nn.Identity, "y": nn.Identity}),
        choose.op("b", {"x": nn.Identity, "y": nn.Identity, "z": nn.Identity}),
    )


def test_the_expected_update_is_the_exact_gradient() -> None:
    """Invariant: Σ_a p(a) (R(a) − b) ∇ log p(a) = ∇ Σ_a p(a) R(a), for any b."""
    space = Space(tiny)
    policy = RecurrentPolicy(space, rng=torch.Generator().manual_seed(0), spread=1.0)
    rewards = {a: float(i * i) for i, a in enumerate(space)}
    tokens = {}
    rng = torch.Generator().manual_seed(1)
    while len(tokens) < space.size:
        architecture, drawn = policy.draw(rng)
        tokens[architecture] = drawn
    log = {a: policy.log_prob(t)[0] for a, t in tokens.items()}
    exact = torch.autograd.grad(sum(log[a].exp() * rewards[a] for a in log), policy.parameters(), retain_graph=True)
    score = sum(log[a].detach().exp() * (rewards[a] - 5.0) * log[a] for a in log)
    estimate = torch.autograd.grad(score, policy.parameters())
    for mine, theirs in zip(estimate, exact, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [reinforce, nas_rl])
@pytest.mark.parametrize("function", [nasbench201, layer_strings])
def test_better_than_before_becomes_likelier_and_worse_less_likely(make, function) -> None:
    for second, sign in ((90.0, 1), (10.0, -1)):
        own = make(Space(function), seed=3)
        own.tell(own.ask(), (50.0,))
        asked = own.ask()
        tokens = own.asked[asked]
        before = float(own.policy.log_prob(tokens)[0].detach())
        own.tell(asked, (second,))
        assert sign * (float(own.policy.log_prob(tokens)[0].detach()) - before) > 0


def test_the_baseline_is_of_earlier_rewards() -> None:
    own = reinforce(Space(nasbench201), seed=0, momentum=0.5)
    assert own.baseline is None
    for score in (1.0, 2.0, 5.0):
        own.tell(own.ask(), (score,))
    assert own.baseline == pytest.approx((0.25 * 1 + 0.5 * 2 + 1 * 5) / 1.75)


def test_what_it_did_not_ask_for_teaches_nothing() -> None:
    space = Space(nasbench201)
    own = reinforce(space, seed=0)
    before = [p.clone() for p in own.policy.parameters()]
    own.tell(space.unrank(5), (99.0,))
    own.tell(own.ask(), None)
    assert all(torch.equal(a, b) for a, b in zip(before, own.policy.parameters()))
    assert own.baseline is None


@pytest.mark.parametrize("make", [reinforce, nas_rl])
def test_it_learns(make) -> None:
    """Accuracy by the number of 3×3 convolutions: the last thirty of 150 have more than the first thirty."""
    own = make(Space(nasbench201), seed=0)
    told = []
    for _ in range(150):
        asked: Architecture = own.ask()
        told.append(sum(v == "nor_conv_3x3" for v in asked.values()))
        own.tell(asked, (50.0 + 8.0 * told[-1],))
    first, last = sum(told[:30]) / 30, sum(told[-30:]) / 30
    assert last - first > 3 * math.sqrt(6 * 0.2 * 0.8 * 2 / 30)


def test_anchors_learn_which_layers_to_read() -> None:
    """Accuracy by the number of layers that read the one before; half of them do by chance."""
    own = nas_rl(Space(layer_strings, layers=4), seed=0, learning_rate=0.01)
    told = []
    for _ in range(80):
        asked = own.ask()
        told.append(sum(f"l{i - 1}" in asked[f"l{i}.inputs"] for i in range(1, 4)))
        own.tell(asked, (50.0 + 16.0 * told[-1],))
    assert sum(told[-30:]) / 30 - 3 * 0.5 > 3 * math.sqrt(3 * 0.25 / 30)


def test_a_batch_is_one_update() -> None:
    own = reinforce(Space(nasbench201), seed=0, batch=3)
    steps = []
    for i in range(7):
        before = torch.cat([*own.policy.parameters()]).detach().clone()
        own.tell(own.ask(), (float(i),))
        steps.append(not torch.equal(before, torch.cat([*own.policy.parameters()])))
    assert [i for i, moved in enumerate(steps) if moved] == [2, 5]


def test_mistakes() -> None:
    space = Space(nasbench201)
    for batch, momentum in itertools.product((0, 1), (0.9, 1.0)):
        if batch and momentum < 1:
            continue
        with pytest.raises(OptionError, match=f"batch is {batch} and momentum {momentum:g}; give 1 or more"):
            reinforce(space, batch=batch, momentum=momentum)
    assert isinstance(reinforce(space), Reinforce)


class TestClipped:
    """PPO against its formula, and against REINFORCE where the two are one."""

    def gain(self, ratio: float, advantage: float) -> tuple[float, float]:
        """The clipped gain, and its slope in the logarithm of the probability."""
        own = ppo(Space(nasbench201), clip=0.2)
        log = torch.tensor(math.log(ratio), requires_grad=True)
        found = own._gain(log, advantage, torch.zeros(()))
        found.backward()
        return float(found.detach()), float(log.grad)

    def test_gain(self) -> None:
        assert self.gain(1.0, 2.0) == pytest.approx((2.0, 2.0)), "at first the slope is REINFORCE's"
        assert self.gain(1.5, 2.0) == pytest.approx((2.4, 0.0)), "likely enough: no more is learned"
        assert self.gain(0.5, 2.0) == pytest.approx((1.0, 1.0))
        assert self.gain(0.5, -2.0) == pytest.approx((-1.6, 0.0)), "unlikely enough"
        assert self.gain(1.5, -2.0) == pytest.approx((-3.0, -3.0))

    def test_one_pass_is_reinforce(self) -> None:
        space = Space(nasbench201)
        moved = []
        for clip in (None, 0.2):
            rng = torch.Generator().manual_seed(0)
            policy = RecurrentPolicy(space, rng=rng)
            own = Reinforce(policy, rng=rng, learning_rate=0.1, batch=3, clip=clip)
            for score in (1.0, 5.0, 2.0):
                own.tell(own.ask(), (score,))
            moved.append(torch.cat([p.detach().flatten() for p in policy.parameters()]))
        torch.testing.assert_close(*moved)

    def test_passes_need_a_clip(self) -> None:
        space, rng = Space(nasbench201), torch.Generator()
        with pytest.raises(OptionError, match="passes is 2 and clip None; give 1 or more, and above 1 a clip above 0"):
            Reinforce(RecurrentPolicy(space, rng=rng), rng=rng, learning_rate=0.1, passes=2)
