"""Spaces that are evolved: cells, populations of them, and the search that judges them by gradient (AutoSpace)."""

from archipel.evolve.genes import CellGenes
from archipel.evolve.gradient import GradientScorer, Judging
from archipel.evolve.population import Member, Population
from archipel.evolve.search import Evolution, Outcome, References, evolve

__all__ = [
    "CellGenes",
    "Evolution",
    "GradientScorer",
    "Judging",
    "Member",
    "Outcome",
    "Population",
    "References",
    "evolve",
]
