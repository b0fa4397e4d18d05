"""Fitness by single paths: each cell judged as it would run in a network, where every layer has one.

In a weighted sum cells learn to stand beside each other, and a weak one costs little. Here K paths take turns, each
through one cell of every layer, and every cell is on exactly one of them: all learn, and are judged, equally often
(strict fairness: Chu et al., FairNAS, ICCV 2021, arXiv 1907.01845). Batch norm uses the statistics of the batch along
the path itself, since those of all paths together are nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archipel.evolve.gradient import GradientScorer
from archipel.evolve.population import Member
from archipel.sharing.training import seed_of
from archipel.spaces.cell import Cell
from archipel.spaces.cell_block import CellBlock
from archipel.tasks.task import Batch

__all__ = ["PathScorer", "fair_paths"]


def fair_paths(sizes: Sequence[int], generator: torch.Generator) -> list[list[int]]:
    """Which cell of each layer is on each path: `K` lists of `L`, K the largest of `sizes`; all layers in random order,
    a smaller one begins again where it is through."""
    orders = [torch.randperm(size, generator=generator).tolist() for size in sizes]
    return [[order[k % len(order)] for order in orders] for k in range(max(sizes))]


class PathScorer(GradientScorer):
    """As `GradientScorer`, but a cell's score is minus the mean loss of the paths that it was on, with the penalty of
    what they cost; α is not learnt."""

    def score(
        self, iteration: int, active: Sequence[Sequence[Member[Cell]]]
    ) -> tuple[list[list[float]], dict[str, float]]:
        """Minus the mean loss on `arch` of each active cell's paths; the figures are `GradientScorer`'s, `madds` those
        of the mean path."""
        own = self.settings
        torch.manual_seed(seed_of(self.seed, "weights", iteration))
        blocks = [[self._cell(b, member) for member in active[layer]] for b, layer in enumerate(self.groups)]  # [B][K]
        chance = torch.Generator().manual_seed(seed_of(self.seed, "paths", iteration))
        train, held_out = self._batches("train", iteration), self._batches("arch", iteration)
        every = (parameter for cells in blocks for cell in cells for parameter in cell.parameters())
        weights = list({id(parameter): parameter for parameter in every}.values())  # cells of a bank share some
        sgd = self._sgd(weights)
        learning = [*weights, *self.frame.parameters()]
        sizes = [len(members) for members in active]
        scores = [torch.zeros(size, dtype=torch.float64) for size in sizes]
        visits = [torch.zeros(size, dtype=torch.float64) for size in sizes]
        losses: list[float] = []
        judged: list[float] = []
        costs: list[float] = []
        self.frame.train()
        for step in range(own.steps):
            for optimiser in (sgd, self._frame_sgd):
                optimiser.zero_grad(set_to_none=True)
            batch, paths = next(train), fair_paths(sizes, chance)
            for path in paths:
                loss = self._path_loss(batch, blocks, path)
                (loss / len(paths)).backward()
                losses.append(float(loss.detach()))
            nn.utils.clip_grad_norm_(learning, own.clip)
            for optimiser in (sgd, self._frame_sgd):
                optimiser.step()
            if step >= int(own.resting * own.steps):
                batch, paths = next(held_out), fair_paths(sizes, chance)
                for path in paths:
                    cost = self._path_madds(active, path)
                    with torch.no_grad():
                        loss = self._path_loss(batch, blocks, path)
                        if self.penalty is not None:
                            loss = self.penalty(loss, torch.tensor(cost, dtype=torch.float64))
                    for layer, place in enumerate(path):
                        scores[layer][place] -= float(loss)
                        visits[layer][place] += 1
                    judged.append(float(loss))
                    costs.append(cost)
                if self.penalty is not None:
                    self.penalty.after_step(sum(costs[-len(paths) :]) / len(paths))
        figures = {
            "loss": sum(losses) / len(losses),
            "alpha_loss": sum(judged) / len(judged),
            "madds": sum(costs) / len(costs),
        }
        return [(total / seen).tolist() for total, seen in zip(scores, visits)], figures

    def _path_loss(self, batch: Batch, blocks: list[list[CellBlock]], path: Sequence[int]) -> Tensor:
        alone = [[cells[path[layer]]] for cells, layer in zip(blocks, self.groups, strict=True)]
        whole = [torch.ones(1, device=self.device)] * len(alone)
        return self.task.loss(self.frame(batch.inputs, alone, whole), batch)["total"]

    def _path_madds(self, active: Sequence[Sequence[Member[Cell]]], path: Sequence[int]) -> float:
        taken = (active[layer][path[layer]].genes for layer in self.groups)
        return self.fixed_madds + sum(cell.madds(at) for cell, at in zip(taken, self.placements, strict=True))
