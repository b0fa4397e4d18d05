"""Spaces that are evolved: cells, populations of them, and the search that judges them by gradient (AutoSpace)."""

from archipel.evolve.genes import CellGenes, crossover, distance

__all__ = ["CellGenes", "crossover", "distance"]
