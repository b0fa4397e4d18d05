"""AutoSpace's cell: a graph of four nodes as integers, its canonical form, and what it costs (Zhou et al., ICCV 2021).

The integers are the published ones (arXiv 2103.11833, repository zhoudaquan/AutoSpace); what they stand for was not
published and is our reading, chosen so that the published network costs what is said of it (docs/methods/autospace.md).
Node 0 is the input, node 3 the output. One 1×1 expansion to `expand · c_in` channels stands at node `dim`, a 1×1
projection behind node 3. What leaves the nodes up to `dim` towards later ones is strided and, if it does not come from
`dim` itself, repeated `expand` times to the wider channel count.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from archipel.errors import SpaceError

__all__ = ["EDGES", "IDENTITY", "NONE", "POOL", "Cell", "Placement", "reference"]

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, destination), in the order of a cell's codes: row by row of the published matrix."""

NONE, IDENTITY, POOL = 0, 1, 2
"""Codes of edges that are not there, hand on what they get, and average over 3×3; an odd code k from 3 on is a
depthwise k×k convolution."""

_OUTPUT = 3


@dataclass(frozen=True)
class Placement:
    """Where a cell stands: what it costs depends on it."""

    c_in: int
    c_out: int
    stride: int = 1
    side: int = 1
    """Of the maps that reach it, in pixels."""
    expand: int = 6

    @property
    def side_out(self) -> int:
        return -(-self.side // self.stride)


@dataclass(frozen=True)
class Cell:
    """One genotype.

    Raises:
        SpaceError: another number of codes, an unknown one, or genes out of range.
    """

    codes: tuple[int, ...]
    """Operator of each edge, in the order of `EDGES`."""
    dim: int = 2
    """Node at which the expansion stands: 0, 1 or 2."""
    mix: tuple[int, int] = (0, 0)
    """Of nodes 2 and 3: whether each input is weighed by what a channel attention makes of the other inputs."""

    def __post_init__(self) -> None:
        if len(self.codes) != len(EDGES) or not all(map(_is_code, self.codes)):
            raise SpaceError(
                f"a cell has the codes {list(self.codes)}; give {len(EDGES)}: 0 none, 1 identity, 2 pooling, or odd "
                "kernels from 3 on"
            )
        if type(self.dim) is not int or not 0 <= self.dim < _OUTPUT:
            raise SpaceError(f"a cell's expansion stands at node {self.dim!r}; give 0, 1 or 2")
        if len(self.mix) != 2 or any(type(bit) is not int or bit not in (0, 1) for bit in self.mix):
            raise SpaceError(f"a cell has the mix bits {list(self.mix)!r}; give two of 0 and 1")

    def __str__(self) -> str:
        """Short, and a name that a choice's option can have: `515115d2`, mix bits behind it where there are any."""
        codes = "".join(str(code) if code < 10 else f"({code})" for code in self.codes)
        bits = f"m{self.mix[0]}{self.mix[1]}" if any(self.mix) else ""
        return f"{codes}d{self.dim}{bits}"

    # ---- the published form -----------------------------------------------------------------------------------

    @classmethod
    def from_matrix(cls, matrix: Any) -> Cell:
        """From the published 4 × 4 matrix: row destination, column source; [0][3] is `dim`, [1][3] `mix`.

        Raises:
            SpaceError: it is no such matrix.
        """
        rows = matrix if isinstance(matrix, list) else []
        if len(rows) != 4 or any(not isinstance(row, list) or len(row) != 4 for row in rows):
            raise SpaceError(f"a cell is a 4 × 4 matrix, four lists of four; this is {_short(matrix)}")
        if any(matrix[i][j] != 0 for i in range(4) for j in range(i, 4) if (i, j) not in ((0, 3), (1, 3))):
            raise SpaceError(f"a cell's matrix is 0 on its diagonal and, but for [0][3] and [1][3], above: {matrix}")
        if not isinstance(matrix[1][3], list):
            raise SpaceError(f"a cell's matrix has at [1][3] a pair of bits such as [0, 0], not {matrix[1][3]!r}")
        return cls(tuple(matrix[i][j] for j, i in EDGES), matrix[0][3], tuple(matrix[1][3]))

    def to_matrix(self) -> list[list[Any]]:
        """Inverse of `from_matrix`."""
        matrix: list[list[Any]] = [[0] * 4 for _ in range(4)]
        for (j, i), code in zip(EDGES, self.codes):
            matrix[i][j] = code
        matrix[0][3], matrix[1][3] = self.dim, list(self.mix)
        return matrix

    # ---- the graph --------------------------------------------------------------------------------------------

    @functools.cached_property
    def live(self) -> dict[tuple[int, int], int]:
        """Edge → code of the edges on a path from input to output."""
        edges = {edge: code for edge, code in zip(EDGES, self.codes) if code != NONE}
        ahead, behind = {0}, {_OUTPUT}
        for j, i in sorted(edges, key=lambda edge: edge[1]):
            ahead |= {i} if j in ahead else set()
        for j, i in sorted(edges, key=lambda edge: -edge[0]):
            behind |= {j} if i in behind else set()
        return {(j, i): code for (j, i), code in edges.items() if j in ahead and i in behind}

    def problem(self) -> str | None:
        """What makes it no network's cell, in words, or None: its output hangs on its input, its expansion is on the
        way between them, and something in it looks at more than one pixel."""
        if not self.live:
            return "no path leads from its input to its output"
        if self.dim not in {j for j, _ in self.live}:
            return f"its expansion stands at node {self.dim}, off every path"
        if all(code == IDENTITY for code in self.live.values()):
            return "none of its edges looks at more than one pixel"
        return None

    @functools.cached_property
    def canonical(self) -> Cell:
        """The one spelling of all cells that compute the same graph: edges off every path and bits that decide
        nothing are 0; of two ways to number nodes 1 and 2 the one with smaller codes.

        The two can change places where nothing leads from one to the other and the expansion is at neither.
        """
        codes = tuple(self.live.get(edge, NONE) for edge in EDGES)
        second, last = (sum(i == node for _, i in self.live) > 1 for node in (2, _OUTPUT))
        pruned = replace(self, codes=codes, mix=(self.mix[0] * second, self.mix[1] * last))
        if self.dim or codes[2] != NONE:
            return pruned
        a, b, _, direct, c, d = codes
        return min(pruned, replace(pruned, codes=(b, a, NONE, direct, d, c)), key=lambda cell: cell.codes)

    # ---- cost -------------------------------------------------------------------------------------------------

    def madds(self, at: Placement) -> int:
        """Multiply-adds of one image, as `archipel.cost.complexity.madds` counts them in the built module."""
        wide, pixels, pixels_out = at.expand * at.c_in, at.side**2, at.side_out**2
        total = at.c_in * wide * pixels + wide * at.c_out * pixels_out
        for (j, i), code in self.live.items():
            if code >= 3:
                total += code**2 * (at.c_in if j < self.dim else wide) * (pixels_out if i > self.dim else pixels)
        return total

    def parameters(self, at: Placement) -> int:
        """Learned numbers, batch norm's scale and shift included."""
        wide = at.expand * at.c_in
        total = at.c_in * wide + 2 * wide + wide * at.c_out + 2 * at.c_out
        for (j, _), code in self.live.items():
            if code >= 3:
                total += (code**2 + 2) * (at.c_in if j < self.dim else wide)
        return total

    def with_kernel(self, kernel: int) -> Cell:
        """The same cell with another depthwise kernel on edge 0→1: what the published network chose block by block."""
        return replace(self, codes=(kernel, *self.codes[1:]))


def reference(kernel: int = 3) -> Cell:
    """MobileNetV2's inverted residual as a cell: expansion at node 1, depthwise k×k from there to node 2."""
    return Cell((IDENTITY, NONE, kernel, NONE, NONE, IDENTITY), dim=1)


def _is_code(code: Any) -> bool:
    return type(code) is int and (code in (NONE, IDENTITY, POOL) or (code >= 3 and code % 2 == 1))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
