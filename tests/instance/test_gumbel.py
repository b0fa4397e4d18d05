"""The Gumbel sampler's frequencies, its straight-through gradient, and a fresh gate."""

from __future__ import annotations

import math

import pytest
import torch

from archipel.instance.gumbel import BlockGate, gumbel_noise, straight_through


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("logits", [(0.1, 2.0), (0.0, 0.0), (-1.0, 0.5, 2.0)])
def test_frequencies_are_softmax_probabilities(logits: tuple[float, ...]) -> None:
    """Within three standard errors of 40,000 draws, for every option."""
    n = 40_000
    z = torch.tensor(logits).expand(n, -1)
    drawn = straight_through(z, gumbel_noise(tuple(z.shape), generator()))
    for p, frequency in zip(torch.tensor(logits).softmax(0).tolist(), drawn.mean(0).tolist()):
        assert abs(frequency - p) < 3 * math.sqrt(p * (1 - p) / n)


def test_draws_are_one_hot_to_the_bit() -> None:
    z = torch.randn(500, 4, generator=generator()) * 5
    drawn = straight_through(z, gumbel_noise((500, 4), generator(1)), 0.3)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.sum(1).eq(1).all()


def test_without_noise_the_most_probable() -> None:
    z = torch.randn(50, 3, generator=generator())
    assert torch.equal(straight_through(z).argmax(1), z.argmax(1))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_gradient_is_the_soft_one(temperature: float) -> None:
    noise, pull = gumbel_noise((20, 2), generator(1)), torch.randn(20, 2, generator=generator(2))
    gradients = []
    for hard in (True, False):
        z = torch.randn(20, 2, generator=generator()).requires_grad_()
        y = straight_through(z, noise, temperature) if hard else ((z + noise) / temperature).softmax(-1)
        (y * pull).sum().backward()
        gradients.append(z.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)
    assert gradients[0] is not None
    assert gradients[0].abs().min() > 0


def test_noise_is_finite_where_a_draw_is_0_or_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The released program's NaNs."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.0, 1.0]))
    assert torch.isfinite(gumbel_noise((2,), generator())).all()


class TestFreshGate:
    @pytest.mark.parametrize("options", [1, 5])
    def test_open_with_probability_087(self, options: int) -> None:
        torch.manual_seed(0)
        gate = BlockGate(8, options)
        logits = gate(torch.randn(256, 8, 4, 4, generator=generator()))
        assert logits.shape == (256, options, 2)
        p = logits.softmax(2)[..., 1]
        assert ((p > 0.85) & (p < 0.88)).all()

    def test_it_opens_that_often(self) -> None:
        torch.manual_seed(0)
        logits = BlockGate(8)(torch.randn(4000, 8, 2, 2, generator=generator()))
        drawn = straight_through(logits, gumbel_noise(tuple(logits.shape), generator(1)))[..., 1]
        assert 0.85 <= float(drawn.detach().mean()) <= 0.88

    def test_it_sees_the_mean_over_space_alone(self) -> None:
        gate = BlockGate(3).eval()
        x = torch.randn(4, 3, 6, 6, generator=generator())
        mean = x.mean((2, 3), keepdim=True).expand(4, 3, 2, 2)
        torch.testing.assert_close(gate(x), gate(mean))
