"""Spaces that are evolved: cells, how they vary, and the published ones read and written (AutoSpace)."""

from archipel.evolve.genes import CellGenes

__all__ = ["CellGenes"]
