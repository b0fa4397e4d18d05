"""Fitness by gradient: active cells run in a weighted sum, and their weights in it learn (AutoSpace, eqs. 3 to 5).

The text of the equations is not in what could be read of the paper (arXiv 2103.11833): softmax, first-order
alternation of weights and α on two splits, the budget's form and all numbers are ours. Letters: `L` layers, `K` active
cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.evolve.dense import Bank, Frame, inherit
from archipel.evolve.population import Member
from archipel.sharing.penalty import Penalty
from archipel.sharing.training import seed_of
from archipel.spaces.cell import Cell, Placement
from archipel.spaces.cell_block import CellBlock
from archipel.tasks.task import Batch, Task

__all__ = ["GradientScorer", "Judging", "expected_madds", "positive_shares", "shares"]


@dataclass(frozen=True)
class Judging:
    """How an iteration trains and judges."""

    by: Literal["gradient", "paths"] = "gradient"
    """What a verdict is: α, learnt in a weighted sum of the active cells; or the loss of single paths through them."""
    steps: int = 8
    """Weight steps of an iteration; when α does not rest, a step of α follows each, or single paths are judged."""
    resting: float = 1 / 3
    """Share of the steps in which α rests, and only weights learn: new cells have little to show before."""
    batch: int = 32
    lr: float = 0.05
    """Of the weights: SGD with momentum, which cells start anew in every iteration."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 5.0
    """Largest gradient norm."""
    alpha_lr: float = 0.05
    """Of α: Adam with β = (0.5, 0.999); α is 0 at the start of every iteration."""
    normalisation: Literal["softmax", "gumbel", "raw"] = "softmax"
    """What weighs cells in the sum: softmax(α / T), the same with Gumbel noise drawn for every batch, or 1/K + α as it
    is, with a batch norm behind the sum."""
    temperature: float = 1.0
    """T."""
    weights: Literal["inherit", "bank", "fresh"] = "inherit"
    """What cells start from: a child from its parent's weights where they fit; all from one bank, in which each edge's
    operator has one tensor that all cells of a block share; or fresh ones."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 2), ("batch", 2)):
            if getattr(self, name) < least:
                raise OptionError(f"judging.{name} is {getattr(self, name)}; give {least} or more")
        if not 0.0 <= self.resting < 1.0:
            raise OptionError(f"judging.resting is {self.resting:g}; give a share from 0, below 1")
        for name in ("lr", "alpha_lr", "clip", "temperature"):
            if not getattr(self, name) > 0.0:
                raise OptionError(f"judging.{name} is {getattr(self, name):g}; give a number above 0")
        for name, known in (
            ("by", ("gradient", "paths")),
            ("normalisation", ("softmax", "gumbel", "raw")),
            ("weights", ("inherit", "bank", "fresh")),
        ):
            if getattr(self, name) not in known:
                raise OptionError(f"judging.{name} is {getattr(self, name)!r}; give {', '.join(known)}")


def shares(alpha: Tensor, settings: Judging, generator: torch.Generator | None = None) -> Tensor:
    """The weights `[K]` that α `[K]` gives cells; with a generator the noise of `gumbel` is drawn."""
    if settings.normalisation == "raw":
        return 1 / len(alpha) + alpha
    if settings.normalisation == "gumbel" and generator is not None:
        noise = torch.empty_like(alpha, device="cpu").exponential_(generator=generator).log().neg()
        alpha = alpha + noise.to(alpha.device)
    return (alpha / settings.temperature).softmax(0)


def expected_madds(fixed: float, madds: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """M_fixed + Σ_l Σ_k a_lk M_lk, a scalar; differentiable in the weights `L × [K]`, which sum to 1."""
    total = torch.stack([(m.to(a) * a).sum() for m, a in zip(madds, weights, strict=True)]).sum()
    return fixed + total


def positive_shares(weights: Tensor) -> Tensor:
    """Weights `[K]` that may be of any sign as shares of the sum of those above 0."""
    positive = weights.clamp_min(0)
    return positive / positive.sum().clamp_min(1e-12)


class GradientScorer:
    """Judges cells by the α that they reach in an iteration. Keeps the weights of every member between iterations.

    Args:
        placements: of each block.
        groups: which layer, counted from 0, each block belongs to: blocks of one layer have the same cells, each with
            weights of its own; if not given, every block is a layer.
        penalty: of the expected multiply-adds; None: cost does not count.
        seed: of weights, batches and noise, with the iteration's number.
    """

    def __init__(
        self,
        frame: Frame,
        placements: Sequence[Placement],
        task: Task,
        settings: Judging | None = None,
        *,
        groups: Sequence[int] | None = None,
        penalty: Penalty | None = None,
        fixed_madds: float = 0.0,
        attention: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings = settings or Judging()
        self.frame = frame.to(device)
        self.placements = tuple(placements)
        self.task = task
        self.penalty = penalty
        self.fixed_madds = fixed_madds
        self.attention = attention
        self.seed = seed
        self.device = torch.device(device)
        self.groups = tuple(range(len(self.placements))) if groups is None else tuple(groups)
        self.cells: list[dict[int, CellBlock]] = [{} for _ in self.placements]
        """Of each block, by member's number."""
        self.banks = [Bank() for _ in self.placements]
        self._frame_sgd = self._sgd(self.frame.parameters())

    def score(
        self, iteration: int, active: Sequence[Sequence[Member[Cell]]]
    ) -> tuple[list[list[float]], dict[str, float]]:
        """α of each active cell; mean `loss` and `alpha_loss` of the iteration, expected `madds` at its end."""
        own = self.settings
        torch.manual_seed(seed_of(self.seed, "weights", iteration))
        blocks = [[self._cell(b, member) for member in active[layer]] for b, layer in enumerate(self.groups)]  # [B][K]
        madds = [
            torch.tensor([float(member.genes.madds(at)) for member in active[layer]], dtype=torch.float64)
            for layer, at in zip(self.groups, self.placements, strict=True)
        ]
        alphas = [torch.zeros(len(members), device=self.device, requires_grad=True) for members in active]
        noise = torch.Generator().manual_seed(seed_of(self.seed, "noise", iteration))
        train = self._batches("train", iteration)
        held_out = self._batches("arch", iteration)
        every = (parameter for cells in blocks for cell in cells for parameter in cell.parameters())
        weights = list({id(parameter): parameter for parameter in every}.values())  # cells of a bank share some
        sgd = self._sgd(weights)
        adam = torch.optim.Adam(alphas, lr=own.alpha_lr, betas=(0.5, 0.999))
        learning = [*weights, *self.frame.parameters()]
        self.frame.train()
        losses: list[float] = []
        judged: list[float] = []
        for step in range(own.steps):
            loss = self._loss(next(train), blocks, [a.detach() for a in alphas], noise)[0]
            for optimiser in (sgd, self._frame_sgd):
                optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(learning, own.clip)
            for optimiser in (sgd, self._frame_sgd):
                optimiser.step()
            losses.append(float(loss.detach()))
            if step >= int(own.resting * own.steps):
                loss, mixture = self._loss(next(held_out), blocks, alphas, noise)
                if self.penalty is not None:
                    expected = self._expected(madds, mixture)
                    loss = self.penalty(loss, expected)
                for alpha, gradient in zip(alphas, torch.autograd.grad(loss, alphas), strict=True):
                    alpha.grad = gradient
                adam.step()
                if self.penalty is not None:
                    self.penalty.after_step(float(expected.detach()))
                judged.append(float(loss.detach()))
        settled = [shares(alphas[layer].detach(), own) for layer in self.groups]
        figures = {
            "loss": sum(losses) / len(losses),
            "alpha_loss": sum(judged) / len(judged),
            "madds": float(self._expected(madds, settled)),
        }
        return [alpha.tolist() for alpha in alphas], figures

    def forget(self, members: Sequence[Sequence[Member[Cell]]]) -> None:
        for block, layer in enumerate(self.groups):
            numbers = {member.number for member in members[layer]}
            self.cells[block] = {number: cell for number, cell in self.cells[block].items() if number in numbers}

    def parts(self) -> dict[str, Any]:
        if self.settings.weights == "bank":
            cells = {f"{b}.{key}": tensor for b, bank in enumerate(self.banks) for key, tensor in bank.tensors.items()}
        else:
            cells = {
                f"{b}.{number}.{name}": tensor
                for b, known in enumerate(self.cells)
                for number, cell in known.items()
                for name, tensor in cell.state_dict().items()
            }
        parts = {"frame": self.frame, "frame_sgd": self._frame_sgd, "cells": cells}
        return parts if self.penalty is None else {**parts, "penalty": self.penalty}

    def restore(self, parts: Mapping[str, Any], members: Sequence[Sequence[Member[Cell]]]) -> None:
        if self.settings.weights == "bank":
            for key, tensor in parts["cells"].items():
                block, _, name = key.partition(".")
                learns = tensor.is_floating_point() and not name.rpartition(".")[2].startswith("running_")
                held_ = tensor.to(self.device)
                self.banks[int(block)].tensors[name] = nn.Parameter(held_) if learns else held_
            return
        held: dict[tuple[int, int], dict[str, Tensor]] = {}
        for key, tensor in parts["cells"].items():
            b, number, name = key.split(".", 2)
            held.setdefault((int(b), int(number)), {})[name] = tensor
        known = [{member.number: member for member in each} for each in members]
        for (place, number_), state in held.items():
            cell = self._built(place, known[self.groups[place]][number_].genes)
            cell.load_state_dict(state)
            self.cells[place][number_] = cell

    def _cell(self, block: int, member: Member[Cell]) -> CellBlock:
        known = self.cells[block]
        if member.number not in known:
            if self.settings.weights == "bank":  # of chance of its own: a continued run builds cells anew
                with torch.random.fork_rng(devices=()):
                    torch.manual_seed(seed_of(self.seed, "bank", block, str(member.genes)))
                    cell = self._built(block, member.genes)
                self.banks[block].lend(cell)
            else:
                cell = self._built(block, member.genes)
            if self.settings.weights == "inherit" and member.parent in known:
                inherit(cell, known[member.parent])
            known[member.number] = cell
        return known[member.number].train()

    def _built(self, block: int, genes: Cell) -> CellBlock:
        cell: CellBlock = self.frame.new_cell(genes, self.placements[block], attention=self.attention)
        return cell.to(self.device)

    def _expected(self, madds: Sequence[Tensor], mixture: Sequence[Tensor]) -> Tensor:
        raw = self.settings.normalisation == "raw"
        return expected_madds(self.fixed_madds, madds, [positive_shares(a) for a in mixture] if raw else mixture)

    def _loss(
        self, batch: Batch, blocks: list[list[CellBlock]], alphas: list[Tensor], noise: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        drawn = [shares(alpha, self.settings, noise) for alpha in alphas]
        mixture = [drawn[layer] for layer in self.groups]
        output = self.frame(batch.inputs, blocks, mixture)
        return self.task.loss(output, batch)["total"], mixture

    def _batches(self, split: str, iteration: int) -> Iterator[Batch]:
        for turn in itertools.count():
            seed = seed_of(self.seed, split, iteration, turn)
            yield from self.task.loader(split, self.settings.batch, seed=seed, device=self.device)

    def _sgd(self, parameters: Any) -> torch.optim.SGD:
        own = self.settings
        given = list(parameters)
        groups = [
            {"params": [p for p in given if p.dim() > 1], "weight_decay": own.weight_decay},
            {"params": [p for p in given if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=own.lr, momentum=own.momentum)
