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
from archipel.evolve.dense import Frame, inherit
from archipel.evolve.population import Member
from archipel.sharing.penalty import Penalty
from archipel.sharing.training import seed_of
from archipel.spaces.cell import Cell, Placement
from archipel.spaces.cell_block import CellBlock
from archipel.tasks.task import Batch, Task

__all__ = ["GradientScorer", "Judging", "expected_madds", "shares"]


@dataclass(frozen=True)
class Judging:
    """How an iteration trains and judges."""

    steps: int = 8
    """Weight steps of an iteration; in the first third α rests, then an α step follows each."""
    batch: int = 32
    lr: float = 0.05
    """Of the weights: SGD with momentum, which cells start anew in every iteration."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 5.0
    """Largest gradient norm."""
    alpha_lr: float = 0.05
    """Of α: Adam with β = (0.5, 0.999); α is 0 at the start of every iteration."""
    normalisation: Literal["softmax", "gumbel"] = "softmax"
    """What weighs cells in the sum: softmax(α / T), or the same with Gumbel noise drawn for every batch."""
    temperature: float = 1.0
    """T."""
    inherit: bool = True
    """A child starts from its parent's weights where they fit; otherwise from fresh ones."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 2), ("batch", 2)):
            if getattr(self, name) < least:
                raise OptionError(f"judging.{name} is {getattr(self, name)}; give {least} or more")
        for name in ("lr", "alpha_lr", "clip", "temperature"):
            if not getattr(self, name) > 0.0:
                raise OptionError(f"judging.{name} is {getattr(self, name):g}; give a number above 0")
        if self.normalisation not in ("softmax", "gumbel"):
            raise OptionError(f"judging.normalisation is {self.normalisation!r}; give softmax or gumbel")


def shares(alpha: Tensor, settings: Judging, generator: torch.Generator | None = None) -> Tensor:
    """The weights `[K]` that α `[K]` gives cells; with a generator the noise of `gumbel` is drawn."""
    if settings.normalisation == "gumbel" and generator is not None:
        noise = torch.empty_like(alpha, device="cpu").exponential_(generator=generator).log().neg()
        alpha = alpha + noise.to(alpha.device)
    return (alpha / settings.temperature).softmax(0)


def expected_madds(fixed: float, madds: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """M_fixed + Σ_l Σ_k a_lk M_lk, a scalar; differentiable in the weights `L × [K]`."""
    total = torch.stack([(m.to(a) * a).sum() for m, a in zip(madds, weights, strict=True)]).sum()
    return fixed + total


class GradientScorer:
    """Judges cells by the α that they reach in an iteration. Keeps the weights of every member between iterations.

    Args:
        placements: of each layer.
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
        self.cells: list[dict[int, CellBlock]] = [{} for _ in self.placements]
        """By member's number."""
        self._frame_sgd = self._sgd(self.frame.parameters())

    def score(
        self, iteration: int, active: Sequence[Sequence[Member[Cell]]]
    ) -> tuple[list[list[float]], dict[str, float]]:
        """α of each active cell; mean `loss` and `alpha_loss` of the iteration, expected `madds` at its end."""
        own = self.settings
        torch.manual_seed(seed_of(self.seed, "weights", iteration))
        layers = [[self._cell(layer, member) for member in members] for layer, members in enumerate(active)]  # [L][K]
        madds = [
            torch.tensor([float(member.genes.madds(at)) for member in members], dtype=torch.float64)
            for members, at in zip(active, self.placements, strict=True)
        ]
        alphas = [torch.zeros(len(cells), device=self.device, requires_grad=True) for cells in layers]
        noise = torch.Generator().manual_seed(seed_of(self.seed, "noise", iteration))
        train = self._batches("train", iteration)
        held_out = self._batches("arch", iteration)
        weights = [parameter for cells in layers for cell in cells for parameter in cell.parameters()]
        sgd = self._sgd(weights)
        adam = torch.optim.Adam(alphas, lr=own.alpha_lr, betas=(0.5, 0.999))
        learning = [*weights, *self.frame.parameters()]
        self.frame.train()
        losses: list[float] = []
        judged: list[float] = []
        for step in range(own.steps):
            loss = self._loss(next(train), layers, [a.detach() for a in alphas], noise)[0]
            for optimiser in (sgd, self._frame_sgd):
                optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(learning, own.clip)
            for optimiser in (sgd, self._frame_sgd):
                optimiser.step()
            losses.append(float(loss.detach()))
            if step >= own.steps // 3:
                loss, mixture = self._loss(next(held_out), layers, alphas, noise)
                if self.penalty is not None:
                    expected = expected_madds(self.fixed_madds, madds, mixture)
                    loss = self.penalty(loss, expected)
                for alpha, gradient in zip(alphas, torch.autograd.grad(loss, alphas), strict=True):
                    alpha.grad = gradient
                adam.step()
                if self.penalty is not None:
                    self.penalty.after_step(float(expected.detach()))
                judged.append(float(loss.detach()))
        settled = [shares(alpha.detach(), own) for alpha in alphas]
        figures = {
            "loss": sum(losses) / len(losses),
            "alpha_loss": sum(judged) / len(judged),
            "madds": float(expected_madds(self.fixed_madds, madds, settled)),
        }
        return [alpha.tolist() for alpha in alphas], figures

    def forget(self, members: Sequence[Sequence[Member[Cell]]]) -> None:
        for layer, staying in enumerate(members):
            numbers = {member.number for member in staying}
            self.cells[layer] = {number: cell for number, cell in self.cells[layer].items() if number in numbers}

    def parts(self) -> dict[str, Any]:
        cells = {
            f"{layer}.{number}.{name}": tensor
            for layer, known in enumerate(self.cells)
            for number, cell in known.items()
            for name, tensor in cell.state_dict().items()
        }
        parts = {"frame": self.frame, "frame_sgd": self._frame_sgd, "cells": cells}
        return parts if self.penalty is None else {**parts, "penalty": self.penalty}

    def restore(self, parts: Mapping[str, Any], members: Sequence[Sequence[Member[Cell]]]) -> None:
        held: dict[tuple[int, int], dict[str, Tensor]] = {}
        for key, tensor in parts["cells"].items():
            layer, number, name = key.split(".", 2)
            held.setdefault((int(layer), int(number)), {})[name] = tensor
        known = [{member.number: member for member in each} for each in members]
        for (layer, number), state in held.items():
            cell = self._built(layer, known[layer][number].genes)
            cell.load_state_dict(state)
            self.cells[layer][number] = cell

    def _cell(self, layer: int, member: Member[Cell]) -> CellBlock:
        known = self.cells[layer]
        if member.number not in known:
            cell = self._built(layer, member.genes)
            if self.settings.inherit and member.parent in known:
                inherit(cell, known[member.parent])
            known[member.number] = cell
        return known[member.number].train()

    def _built(self, layer: int, genes: Cell) -> CellBlock:
        cell: CellBlock = self.frame.new_cell(genes, self.placements[layer], attention=self.attention)
        return cell.to(self.device)

    def _loss(
        self, batch: Batch, layers: list[list[CellBlock]], alphas: list[Tensor], noise: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        mixture = [shares(alpha, self.settings, noise) for alpha in alphas]
        output = self.frame(batch.inputs, layers, mixture)
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
