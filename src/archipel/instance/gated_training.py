"""ConvNet-AIG's training (Veit and Belongie, ECCV 2018, arXiv 1711.11503): network and gates together, with a loss that
says how often blocks are to run.

Letters: `B` batch, `D` code columns of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from archipel.errors import OptionError
from archipel.instance.alarms import diversity
from archipel.instance.block_gates import BlockGates, Decisions
from archipel.instance.code_cost import CodeCost
from archipel.metagraph import MetaGraph, Staged
from archipel.progress import SILENT, Progress
from archipel.sharing.training import Checkpoints, Optimisation, seed_of, sgd, weight_epoch
from archipel.tasks.task import Batch, Task

__all__ = ["GateRow", "GatedTraining", "Gating", "judge_gates", "latency_loss", "rate_loss"]

GateRow = dict[str, float]
"""One epoch: epoch, loss (with the penalty), rate (mean share of open gates in training); of the more probable
decisions map_rate, map_ms, val_accuracy, distinct, varying_bits."""


def rate_loss(rates: Tensor, targets: Tensor) -> Tensor:
    """Mean over gates of (t − z̄)², those with t = 1 left out. A scalar.

    Args:
        rates: z̄, mean of the decisions over the batch, `[D]`.
        targets: t, `[D]`.
    """
    own = targets < 1.0
    return ((targets - rates)[own] ** 2).sum() / own.sum().clamp_min(1)


def latency_loss(rates: Tensor, columns: Tensor, target: float) -> Tensor:
    """(Σ z̄ T / Σ T − t)²: the share of the milliseconds of all blocks that the mean image takes. A scalar.

    Args:
        rates: z̄, `[D]`.
        columns: T, milliseconds of each option, `[D]`.
        target: t.
    """
    columns = columns.to(rates)
    return ((rates * columns).sum() / columns.sum() - target) ** 2


@dataclass(frozen=True)
class Gating(Optimisation):
    """Network and gates together, from scratch."""

    epochs: int = 30
    lr: float = 0.1
    weight_decay: float = 5e-4
    decay: Literal["cosine", "steps", "constant"] = "cosine"
    """`steps`: × 0.1 at 3/7 and 5/7 of the training (epochs 150 and 250 of 350)."""
    targets: tuple[float, ...] = (0.4, 0.6)
    """Shares t of images that each block is to run for: a training for each."""
    always: tuple[str, ...] = ()
    """Choices that run for every image (t = 1): they have no gate."""
    strength: float = 2.0
    """Weight λ of the target loss."""
    cost: Literal["rate", "latency"] = "rate"
    """`rate`: every gate is held to the target; `latency`: the milliseconds of all blocks together are."""
    gate_lr: float = 1.0
    """Learning rate of the gates, as a multiple of `lr`."""
    hidden: int = 16
    """Width of a gate's inner layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise OptionError(f"gating.targets is {list(self.targets)}; give different shares, at least one")
        if not all(0.0 <= t <= 1.0 for t in self.targets):
            raise OptionError(f"gating.targets is {list(self.targets)}; give shares from 0 to 1")
        if self.ema or self.precision == "float16":
            which = "ema" if self.ema else "precision"
            raise OptionError(f"gating.{which} is {getattr(self, which)}; gates are trained without it")

    def lr_at(self, done: float) -> float:
        if self.decay == "steps":
            return self.lr * 0.1 ** (int(done >= 3 / 7) + int(done >= 5 / 7))
        return super().lr_at(done)


class GatedTraining:
    """One network with its gates.

    Args:
        cost: milliseconds of codes, gates included.
    """

    def __init__(
        self,
        graph: MetaGraph,
        gates: BlockGates,
        task: Task,
        cost: CodeCost,
        options: Gating,
        target: float,
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.graph, self.gates, self.task, self.cost = graph, gates, task, cost
        self.options, self.target, self.seed, self.device = options, target, seed, device
        self._penalty = penalty_of(graph, gates, cost, options, target)
        self._decisions: Decisions | None = None
        self._rates: list[Tensor] = []
        self.optimiser = sgd(graph, options)
        self._factors = [1.0] * len(self.optimiser.param_groups)
        for group in sgd(gates, options).param_groups:
            self.optimiser.add_param_group(group)
            self._factors.append(options.gate_lr)

    def run(
        self, *, checkpoint: Checkpoints | None = None, progress: Progress = SILENT, title: str = "gates"
    ) -> list[GateRow]:
        """All epochs, going on from the checkpoint where there is one.

        Returns:
            One row an epoch.
        """
        options = self.options
        parts = {"graph": self.graph, "gates": self.gates, "optimiser": self.optimiser}
        rows: list[GateRow] = []
        if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
            rows = kept["rows"]
        steps = len(self.task.loader("train", options.batch, seed=0))
        with progress.bar(title, options.epochs * steps) as bar:
            bar.advance(len(rows) * steps)
            for epoch in range(len(rows), options.epochs):
                for group, factor in zip(self.optimiser.param_groups, self._factors):
                    group["lr"] = factor * options.lr_at((epoch + 0.5) / options.epochs)
                self.gates.train()
                self._rates = []
                row = weight_epoch(
                    self.graph,
                    self.task,
                    self.optimiser,
                    policy=self,
                    batch_size=options.batch,
                    seed=seed_of(self.seed, title, epoch),
                    clip=options.clip,
                    label_smoothing=options.label_smoothing,
                    precision=options.precision,
                    penalty=self.penalty,
                    device=self.device,
                    bar=bar,
                )
                rate = float(torch.stack(self._rates).mean())
                judged = judge_gates(self.graph, self.gates, self.task, self.cost, device=self.device)
                rows.append({"epoch": float(epoch), **row, "rate": rate, **judged})
                bar.advance(0, accuracy=rows[-1]["val_accuracy"], open=rows[-1]["map_rate"])
                if checkpoint is not None:
                    checkpoint.save(parts, {"rows": rows})
        return rows

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Staged:  # noqa: ARG002
        """The route of a training batch: gates sampled with Gumbel noise, noted for `penalty`."""
        self._decisions = self.gates.decisions(generator)
        return self._decisions.route

    def penalty(self) -> Tensor:
        """λ times the target loss of the batch that has just passed."""
        assert self._decisions is not None
        rates = self._decisions.bits().mean(0)
        self._rates.append(rates.detach().mean())
        return self.options.strength * self._penalty(rates)


def penalty_of(
    graph: MetaGraph, gates: BlockGates, cost: CodeCost, options: Gating, target: float
) -> Callable[[Tensor], Tensor]:
    """The target loss as a function of the rates `[D]`."""
    space = graph.space
    if options.cost == "latency":
        nothing = torch.zeros(1, space.width, dtype=torch.bool)
        columns = cost(torch.eye(space.width, dtype=torch.bool)) - cost(nothing)
        return lambda rates: latency_loss(rates, columns, target)
    targets = torch.full((space.width,), target)
    for name in gates.forced:
        targets[space.slices[name]] = 1.0
    return lambda rates: rate_loss(rates, targets.to(rates))


@torch.no_grad()
def judge_gates(
    graph: MetaGraph,
    gates: BlockGates,
    task: Task,
    cost: Callable[[Tensor], Tensor],
    *,
    split: str = "val",
    device: torch.device | str = "cpu",
) -> Mapping[str, float]:
    """What the more probable decisions do on a split."""
    graph.eval()
    gates.eval()
    metric, found = task.metric(), []
    for batch in task.loader(split, 256, device=device):
        decisions = gates.decisions()
        metric.update(graph(batch.inputs, decisions.route), batch)
        found.append(decisions.codes())
    codes = torch.cat(found)
    spread = diversity(codes)
    return {
        "map_rate": float(codes.double().mean()),
        "map_ms": float(cost(codes).mean()),
        "val_accuracy": metric.compute()["score"],
        "distinct": float(spread.distinct),
        "varying_bits": float(spread.varying_bits),
    }
