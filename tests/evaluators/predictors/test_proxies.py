"""Zero-cost proxies against closed forms on networks small enough to have them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archipel.evaluators.predictors.proxies import (
    PROXIES,
    Probe,
    Proxy,
    fisher,
    gradient_norm,
    grasp,
    jacobian_covariance,
    naswot,
    snip,
    synflow,
)
from archipel.nn import ConvBN

B = 6


def probe(shape: tuple[int, ...] = (3,), seed: int = 0) -> Probe:
    inputs = torch.randn(B, *shape, generator=torch.Generator().manual_seed(seed))
    return Probe(inputs, lambda output: output.square().sum() / (2 * B))


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight.clone()
    return layer


W = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
V = torch.tensor([[1.0, -2.0]])


class TestClosedForms:
    """L = mean ½ ‖W x‖², so g = W C with C = mean x xᵀ, and H g = g C."""

    def second_moment(self) -> Tensor:
        x = probe().inputs
        return x.T @ x / B

    def test_gradient_norm(self) -> None:
        assert gradient_norm(linear(W), probe()) == pytest.approx(float((W @ self.second_moment()).norm()), rel=1e-5)

    def test_snip(self) -> None:
        by_hand = float((W * (W @ self.second_moment())).abs().sum())
        assert snip(linear(W), probe()) == pytest.approx(by_hand, rel=1e-5)

    def test_grasp(self) -> None:
        c = self.second_moment()
        assert grasp(linear(W), probe()) == pytest.approx(-float((W * (W @ c @ c)).sum()), rel=1e-4)

    def test_fisher(self) -> None:
        a = probe().inputs @ W.T
        by_hand = (a * (a / B)).square().mean(0).sum() / 2
        assert fisher(linear(W), probe()) == pytest.approx(float(by_hand), rel=1e-5)

    def test_synflow_of_linear_layers_in_a_row(self) -> None:
        """R = 1ᵀ |V| |W| 1, and θ ⊙ ∂R/∂θ sums to R in each layer."""
        flow = float((V.abs() @ W.abs()).sum())
        network = nn.Sequential(linear(W), nn.ReLU(), linear(V))
        assert synflow(network, probe()) == pytest.approx(math.log(2 * flow))

    def test_synflow_does_not_see_batch_norm(self) -> None:
        bare = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False))
        normed = nn.Sequential(bare[0], nn.BatchNorm2d(4), bare[1], bare[2])
        normed[1].running_var.fill_(9.0)
        assert synflow(normed, probe((3, 5, 5))) == pytest.approx(synflow(bare, probe((3, 5, 5))))

    def test_jacobian_covariance_of_a_linear_network(self) -> None:
        """Every image has the same gradient: all correlations are 1, one eigenvalue B, the others 0."""
        k = 1e-5
        by_hand = -(math.log(B + k) + 1 / (B + k) + (B - 1) * (math.log(k) + 1 / k))
        assert jacobian_covariance(linear(V @ W), probe()) == pytest.approx(by_hand, rel=1e-6)

    def test_naswot_by_hand(self) -> None:
        """Two images, two units: (1, 0) and (1, 1) agree in one; |K| = 2·2 − 1·1."""
        inputs = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
        network = nn.Sequential(nn.Identity(), nn.ReLU())
        assert naswot(network, Probe(inputs, torch.sum)) == pytest.approx(math.log(3))


def body() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(ConvBN(3, 4, 3), ConvBN(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES.keys())
class TestEvery:
    def test_leaves_the_network_as_it_was(self, proxy: Proxy) -> None:
        network = body().eval()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        proxy(network, probe((3, 6, 6)))
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
        assert all(p.grad is None and p.dtype == torch.float32 for p in network.parameters())
        assert not any(part.training for part in network.modules())
        assert all("forward" not in vars(part) for part in network.modules())

    def test_sees_the_weights(self, proxy: Proxy) -> None:
        one, other = body(), body()
        with torch.no_grad():
            for weight in other.parameters():
                weight.normal_(generator=torch.Generator().manual_seed(3))
        assert proxy(one, probe((3, 6, 6))) != proxy(other, probe((3, 6, 6)))

    def test_is_finite_where_nothing_flows(self, proxy: Proxy) -> None:
        class Nothing(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.idle, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.last(torch.relu(x.new_zeros(()).expand(x.shape)))

        assert math.isfinite(proxy(Nothing(), probe()))
