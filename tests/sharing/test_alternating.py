"""Weights and gates by turns: what each step may touch, what is reported, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archipel import MetaGraph, Space
from archipel.choose import Choose
from archipel.cost.additive import AdditiveCost
from archipel.errors import OptionError
from archipel.nn.blocks import ConvBN, Zero, residual
from archipel.run.checkpoint import Checkpoint
from archipel.sharing.alternating import Alternation, alternate
from archipel.sharing.binarisation import ArchitectureStep, adam
from archipel.sharing.gates import Gates
from archipel.sharing.penalty import PenaltySettings, make_penalty
from archipel.sharing.training import Optimisation
from archipel.tasks import load


def small(choose: Choose, *, classes: int = 10, channels: int = 1, size: int = 8) -> nn.Module:  # noqa: ARG001
    def block(name: str) -> nn.Module:
        return residual(choose.op(name, {"k3": lambda: ConvBN(4, 4, 3), "k1": lambda: ConvBN(4, 4, 1), "zero": Zero}))

    return nn.Sequential(
        ConvBN(channels, 4, 3), block("a"), block("b"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


WEIGHTS = Optimisation(epochs=3, batch=32)
OFTEN = Alternation(every=2, settling=1, batch=16, lr=0.05)


class Search:
    """One search, all of its parts made anew from one seed."""

    def __init__(self) -> None:
        self.task = load("digits", images=160, test_images=20)
        space = Space(small)
        torch.manual_seed(0)
        self.graph = MetaGraph(space)
        self.gates = Gates(space, generator=torch.Generator().manual_seed(0))
        columns = torch.tensor([3.0, 1.0, 0.0, 3.0, 1.0, 0.0], dtype=torch.float64)
        cost = AdditiveCost(space, "planted", "ms", 1.0, columns)
        self.penalty = make_penalty(PenaltySettings(form="budget", ascent=0.5), 2.0)
        self.step = ArchitectureStep(self.graph, self.gates, adam(self.gates, 0.05), cost=cost, combine=self.penalty)

    def run(self, checkpoint: Checkpoint | None = None, weights: Optimisation = WEIGHTS, **more) -> list[dict]:
        return alternate(
            self.step, self.task, weights, OFTEN, title="t", seed=1, penalty=self.penalty, checkpoint=checkpoint, **more
        )

    def state(self) -> dict[str, Tensor]:
        return {
            **{f"graph.{n}": t.clone() for n, t in self.graph.state_dict().items()},
            **{f"gates.{n}": t.clone() for n, t in self.gates.state_dict().items()},
            **{f"penalty.{n}": t.clone() for n, t in self.penalty.state_dict().items()},
        }


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def finished() -> tuple[Search, list[dict]]:
    search = Search()
    return search, search.run()


def test_gates_rest_while_weights_settle(finished) -> None:
    _, rows = finished
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert "entropy" not in rows[0]
    for row in rows[1:]:
        assert {"loss", "arch_loss", "objective", "entropy", "confidence", "expected_cost", "argmax_cost",
                "signal_to_noise"} <= row.keys()  # fmt: skip


def test_both_learn(finished) -> None:
    search, _ = finished
    fresh = Search()
    assert not same({"a": search.gates.alphas[0]}, {"a": fresh.gates.alphas[0]})
    assert not torch.equal(search.graph.net[0][0].weight, fresh.graph.net[0][0].weight)


def test_the_multiplier_follows_the_expected_cost(finished) -> None:
    search, rows = finished
    assert rows[1]["expected_cost"] > 2.0  # uniform gates cost 3 2/3
    assert float(search.penalty.multiplier) > 0.0


def test_gates_see_only_the_split_that_is_theirs() -> None:
    search = Search()
    search.run()
    train = len(search.task.loader("train", 32, seed=0))
    assert search.task.reads["arch"] >= 2
    assert search.task.reads["val"] == search.task.reads["test"] == 0
    assert train // 2 * 2 >= 2  # the gates had several steps an epoch


@pytest.mark.parametrize("kill_after", [1, 2])
def test_killed_and_gone_on_with_it_ends_the_same(finished, tmp_path: Path, killed, kill_after: int) -> None:
    search, rows = finished

    def dies(epoch: int) -> dict[str, float]:
        if epoch == kill_after:
            raise killed
        return {}

    with pytest.raises(killed):
        Search().run(Checkpoint(tmp_path / "c.safetensors"), validate=dies)
    again = Search()
    assert again.run(Checkpoint(tmp_path / "c.safetensors")) == rows
    assert same(again.state(), search.state())


def test_half_precision_needs_a_device_that_has_it() -> None:
    with pytest.raises(OptionError, match="float16, which needs CUDA"):
        Search().run(weights=Optimisation(epochs=1, precision="float16"))


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("settling", -1), ("batch", 1), ("lr", 0.0)])
def test_settings_out_of_range(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"alternation.{name} is"):
        Alternation(**{name: value})  # type: ignore[arg-type]
