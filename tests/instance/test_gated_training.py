"""ConvNet-AIG's losses and training: golden values, rates that reach their targets, a kill that changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from archipel.errors import OptionError
from archipel.instance.block_gates import BlockGates
from archipel.instance.code_cost import CodeCost
from archipel.instance.gated_training import GatedTraining, Gating, latency_loss, penalty_of, rate_loss
from archipel.metagraph import MetaGraph
from archipel.run.checkpoint import Checkpoint
from archipel.spaces import resnet_flat
from archipel.tasks import Classification

OPTIONS = Gating(epochs=3, batch=32, lr=0.05, targets=(0.5,))


class TestLosses:
    def test_zero_where_rates_equal_targets(self) -> None:
        targets = torch.tensor([0.6, 0.2, 0.9])
        assert float(rate_loss(targets.clone(), targets)) == 0.0
        columns = torch.tensor([1.0, 3.0])
        assert float(latency_loss(torch.tensor([0.9, 0.5]), columns, 0.6)) == pytest.approx(0.0, abs=1e-12)

    def test_golden(self) -> None:
        assert float(rate_loss(torch.tensor([0.5, 1.0]), torch.tensor([0.6, 0.6]))) == pytest.approx(0.085)
        assert float(latency_loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0]), 0.5)) == pytest.approx(0.0625)

    def test_layers_that_always_run_are_left_out(self) -> None:
        rates = torch.tensor([0.0, 0.5], requires_grad=True)
        loss = rate_loss(rates, torch.tensor([1.0, 0.75]))
        assert float(loss.detach()) == pytest.approx(0.0625)
        loss.backward()
        assert rates.grad is not None
        assert rates.grad.tolist() == [0.0, -0.5]


def training_of(
    task: Classification, arithmetic_table, options: Gating = OPTIONS, target: float = 0.5
) -> GatedTraining:
    torch.manual_seed(0)
    graph = MetaGraph(task.space(resnet_flat, blocks=1, width=0.5))
    gates = BlockGates(graph, input_shape=task.spec.input_shape, forced=options.always, hidden=options.hidden)
    cost = CodeCost(graph.space, arithmetic_table(graph.space))
    return GatedTraining(graph, gates, task, cost, options, target, seed=0)


class TestTraining:
    @pytest.mark.parametrize("target", [0.2, 0.7])
    def test_blocks_run_as_often_as_they_should(self, digits, arithmetic_table, target: float) -> None:
        options = replace(OPTIONS, epochs=10, strength=20.0, decay="constant")
        rows = training_of(digits, arithmetic_table, options, target).run()
        assert rows[-1]["rate"] == pytest.approx(target, abs=0.12)
        assert rows[-1]["loss"] < rows[0]["loss"]

    def test_or_their_milliseconds_do(self, digits, arithmetic_table) -> None:
        options = replace(OPTIONS, epochs=10, strength=20.0, cost="latency", decay="constant")
        training = training_of(digits, arithmetic_table, options, 0.3)
        training.run()
        columns = arithmetic_table(training.graph.space).linear()[1]
        generator, rates = torch.Generator().manual_seed(0), []
        with torch.no_grad():
            for batch in digits.loader("train", 64):
                decisions = training.gates.decisions(generator)
                training.graph.eval()
                training.gates.eval()
                training.graph(batch.inputs, decisions.route)
                rates.append(decisions.bits())
        share = float((torch.cat(rates).mean(0).double() * columns).sum() / columns.sum())
        assert share == pytest.approx(0.3, abs=0.12)

    def test_gates_have_a_learning_rate_of_their_own(self, digits, arithmetic_table) -> None:
        training = training_of(digits, arithmetic_table, replace(OPTIONS, epochs=1, gate_lr=0.0))
        before = {name: p.clone() for name, p in training.gates.named_parameters()}
        weights = [p.clone() for p in training.graph.parameters()]
        training.run()
        assert all(torch.equal(p, before[name]) for name, p in training.gates.named_parameters())
        assert all(not torch.equal(a, b) for a, b in zip(weights, training.graph.parameters()))

    def test_gates_learn_from_the_images_too(self, digits, arithmetic_table) -> None:
        """Without a target loss they move by what blocks do for the cross-entropy."""
        training = training_of(digits, arithmetic_table, replace(OPTIONS, epochs=1, strength=0.0))
        before = [p.clone() for p in training.gates.parameters()]
        training.run()
        assert any(not torch.equal(a, b) for a, b in zip(before, training.gates.parameters()))

    def test_killed_and_gone_on_with_it_ends_the_same(
        self, digits, arithmetic_table, tmp_path: Path, killer, killed
    ) -> None:
        def go(path: Path, at: int | None) -> tuple[list, dict[str, Tensor]]:
            training = training_of(digits, arithmetic_table, replace(OPTIONS, epochs=2))
            chance = killer(at, Checkpoint(path / "gates"))
            rows = training.run(checkpoint=chance, progress=chance)
            return rows, {**training.graph.state_dict(), **training.gates.state_dict()}

        whole = go(tmp_path / "whole", None)
        with pytest.raises(killed):
            go(tmp_path, 14)
        rows, state = go(tmp_path, None)
        assert rows == whole[0]
        assert all(torch.equal(t, whole[1][name]) for name, t in state.items())


def test_what_always_runs_is_no_part_of_the_penalty(digits, arithmetic_table) -> None:
    options = replace(OPTIONS, always=("s0.b0",))
    training = training_of(digits, arithmetic_table, options)
    loss = penalty_of(training.graph, training.gates, training.cost, options, 0.5)
    assert float(loss(torch.tensor([1.0, 0.5, 0.5]))) == 0.0
    assert float(loss(torch.tensor([0.0, 0.5, 0.9]))) == pytest.approx(0.08)


def test_steps_are_at_150_and_250_of_350_epochs() -> None:
    options = Gating(epochs=350, decay="steps")
    rates = [options.lr_at((epoch + 0.5) / 350) for epoch in (0, 149, 150, 249, 250, 349)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Gating(targets=()), "gating.targets is []; give different shares, at least one"),
        (lambda: Gating(targets=(1.2,)), "gating.targets is [1.2]; give shares from 0 to 1"),
        (lambda: Gating(ema=0.9), "gating.ema is 0.9; gates are trained without it"),
    ],
)
def test_mistakes(made, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        made()
    assert str(caught.value) == said
