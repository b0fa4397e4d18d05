"""Latency in a batch: shares of options, and the sum that the batch takes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from archipel.instance.batch_cost import BatchCost
from archipel.instance.routed_cost import RoutedCost
from archipel.metagraph import MetaGraph
from archipel.nn import ConvBN
from archipel.sharing.policies import draw_codes
from archipel.space import Space


def chain(choose) -> nn.Module:
    kinds = {"a": lambda: ConvBN(3, 3), "b": lambda: ConvBN(3, 3, 3)}
    return nn.Sequential(choose.op("l0", kinds), choose.subset("l1", kinds, empty=nn.Identity))


SPACE = Space(chain)


@dataclass(frozen=True)
class Line:
    """Option d takes 2 + (d + 1)·n ms for n images, everything else 1 + n."""

    batch: int

    def linear(self) -> tuple[float, torch.Tensor]:
        return 1.0 + self.batch, torch.tensor([2.0 + (d + 1.0) * self.batch for d in range(4)]).double()


BATCH = BatchCost.of(MetaGraph(SPACE), [Line(1), Line(16)])  # type: ignore[list-item]


def test_a_batch_of_its_size_costs_what_its_images_do_together() -> None:
    codes = draw_codes(SPACE, 16, 0.5, torch.Generator().manual_seed(0))
    cost = RoutedCost(BATCH, 16, overhead=8.0)
    assert float(cost(codes).sum()) == pytest.approx(8.0 + BATCH.predict(codes)["gathered"])


def test_company_makes_an_option_cheaper() -> None:
    cost = RoutedCost(BATCH, 16)
    first = SPACE.canonical({"l0": "a", "l1": ["a"]})
    one, other = SPACE.encode(first), SPACE.encode(SPACE.canonical({"l0": "b", "l1": ["b"]}))
    alone = float(cost(torch.stack([one] + [other] * 15))[0])
    together = float(cost(torch.stack([one] * 15 + [other]))[0])
    assert together < alone
    assert cost.of(first) == pytest.approx(float(cost(one[None].repeat(16, 1))[0]))
    assert cost.of(first) < together


def test_the_landmarks_are_those_of_batches_that_agree() -> None:
    cost = RoutedCost(BATCH, 16, overhead=1.6)
    every = {architecture: cost.of(architecture) for architecture in SPACE}
    assert cost.cheapest() == min(every, key=every.__getitem__)
    assert cost.everything() == max(every, key=every.__getitem__)
    assert cost.fixed == pytest.approx(0.1 + 17 / 16)


def test_gradients_go_through_what_an_option_costs_in_this_company() -> None:
    cost = RoutedCost(BATCH, 16, overhead=8.0)
    codes = draw_codes(SPACE, 12, 0.5, torch.Generator().manual_seed(0))
    bits = codes.double().requires_grad_()
    told = cost.through(bits)
    assert told.detach().equal(cost(codes))
    told.sum().backward()
    assert bits.grad is not None
    rates = (cost(codes) - 0.5 - BATCH.rates(codes.double().mean(0), 16)[0])[:, None]
    torch.testing.assert_close(codes.double() @ bits.grad[0][:, None], rates)
