"""AutoSpace's cell: its published form, one spelling for one graph, and costs that equal the built module's."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn

from archipel.cost.complexity import madds, parameters
from archipel.errors import SpaceError
from archipel.nn import InvertedResidual
from archipel.spaces.cell import EDGES, Cell, Placement, reference
from archipel.spaces.cell_block import CellBlock

CODES = st.sampled_from((0, 1, 2, 3, 5, 7))
CELLS = st.builds(
    Cell, st.tuples(*[CODES] * len(EDGES)), st.integers(0, 2), st.tuples(st.integers(0, 1), st.integers(0, 1))
)
FULL = [[0, 0, 0, 2], [5, 0, 0, [0, 1]], [1, 3, 0, 0], [1, 9, 2, 0]]


class TestThePublishedForm:
    def test_rows_are_destinations(self) -> None:
        assert Cell.from_matrix(FULL) == Cell((5, 1, 3, 1, 9, 2), dim=2, mix=(0, 1))

    @given(CELLS)
    def test_round_trip(self, cell: Cell) -> None:
        assert Cell.from_matrix(cell.to_matrix()) == cell

    @pytest.mark.parametrize(
        ("matrix", "said"),
        [
            ("[[0]]", "a 4 × 4 matrix"),
            (FULL[:3], "a 4 × 4 matrix"),
            ([*FULL[:3], [1, 1, 1]], "a 4 × 4 matrix"),
            ([*FULL[:3], [1, 1, 1, 1]], "0 on its diagonal"),
            ([FULL[0], [5, 0, 0, 0], *FULL[2:]], "a pair of bits"),
            ([FULL[0], [4, 0, 0, [0, 0]], *FULL[2:]], "odd kernels"),
            ([FULL[0], [True, 0, 0, [0, 0]], *FULL[2:]], "odd kernels"),
            ([[0, 0, 0, 3], *FULL[1:]], "give 0, 1 or 2"),
            ([FULL[0], [5, 0, 0, [0, 2]], *FULL[2:]], "two of 0 and 1"),
        ],
    )
    def test_mistakes(self, matrix, said: str) -> None:
        with pytest.raises(SpaceError, match=said) as caught:
            Cell.from_matrix(matrix)
        assert "\n" not in str(caught.value)

    def test_names_differ(self) -> None:
        some = [
            Cell((3, code, 1, 1, 1, 1), dim, bits) for code in (1, 5, 11) for dim in (0, 1) for bits in ((0, 0), (1, 0))
        ]
        assert len({str(cell) for cell in some}) == len(some)
        assert str(some[0]) == "311111d0"


def paths(cell: Cell) -> set[tuple[int, ...]]:
    """Every way from input to output, found by trying all."""
    known = {edge for edge, code in zip(EDGES, cell.codes) if code}
    ways = [(0, *inner, 3) for n in range(3) for inner in itertools.combinations((1, 2), n)]
    return {way for way in ways if all(step in known for step in itertools.pairwise(way))}


def swapped(cell: Cell) -> Cell:
    """Nodes 1 and 2 with their names exchanged; only where nothing leads from one to the other."""
    a, b, middle, direct, c, d = cell.codes
    assert not middle
    return replace(cell, codes=(b, a, 0, direct, d, c))


class TestCanonical:
    @given(CELLS)
    def test_live_edges_are_those_on_paths(self, cell: Cell) -> None:
        assert set(cell.live) == {step for way in paths(cell) for step in itertools.pairwise(way)}

    @given(CELLS)
    def test_idempotent_and_as_valid(self, cell: Cell) -> None:
        assert cell.canonical.canonical == cell.canonical
        assert cell.canonical.problem() == cell.problem()

    @given(CELLS)
    def test_numbering_does_not_count(self, cell: Cell) -> None:
        cell = replace(cell, codes=(*cell.codes[:2], 0, *cell.codes[3:]), dim=0)
        assert swapped(cell).canonical == cell.canonical

    def test_the_expansion_tells_nodes_apart(self) -> None:
        cell = Cell((3, 5, 0, 0, 1, 1), dim=1)
        assert swapped(cell).canonical != cell.canonical

    @examples(max_examples=30)
    @given(CELLS)
    def test_equal_forms_compute_the_same(self, cell: Cell) -> None:
        assume(cell.problem() is None)
        torch.manual_seed(0)
        x = torch.randn(2, 2, 5, 5)
        first, second = (CellBlock(c, 2, 3, expand=2, attention=True).eval() for c in (cell, cell.canonical))
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(x), second(x))

    @pytest.mark.parametrize(
        ("codes", "dim", "said"),
        [
            ((3, 3, 3, 0, 0, 0), 0, "no path"),
            ((0, 3, 0, 3, 3, 0), 1, "off every path"),
            ((1, 1, 1, 1, 1, 1), 0, "more than one pixel"),
            ((3, 0, 0, 1, 0, 0), 0, "more than one pixel"),
        ],
    )
    def test_what_is_no_networks(self, codes: tuple[int, ...], dim: int, said: str) -> None:
        cell = Cell(codes, dim)
        assert said in str(cell.problem())
        with pytest.raises(SpaceError, match=said):
            CellBlock(cell, 2, 2)


class TestCost:
    @examples(max_examples=30)
    @given(CELLS, st.sampled_from((1, 2)), st.sampled_from((1, 4, 7)), st.sampled_from((1, 2, 3)))
    def test_equals_counting_the_module(self, cell: Cell, stride: int, side: int, expand: int) -> None:
        assume(cell.problem() is None)
        at = Placement(4, 6, stride, side, expand)
        block = CellBlock(cell, 4, 6, expand=expand, stride=stride).eval()
        assert parameters(block) == cell.parameters(at)
        assert madds(block, (4, side, side)) == cell.madds(at)
        assert block(torch.zeros(1, 4, side, side)).shape == (1, 6, at.side_out, at.side_out)


class TestBlock:
    @pytest.mark.parametrize("kernel", [3, 5])
    @pytest.mark.parametrize("stride", [1, 2])
    def test_the_reference_is_mobilenets(self, kernel: int, stride: int, enliven) -> None:
        cell = enliven(CellBlock(reference(kernel), 4, 6, expand=3, stride=stride))
        plain = InvertedResidual(4, 6, kernel=kernel, expand=3, stride=stride, act=nn.ReLU6).double().eval()
        own = cell.state_dict()
        order = [
            *(name for name in own if name.startswith("expansion")),
            *(name for name in own if name.startswith("edges")),
            *(name for name in own if name.startswith("projection")),
        ]
        plain.load_state_dict(dict(zip(plain.state_dict(), (own[name] for name in order), strict=True)))
        x = torch.randn(2, 4, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(cell(x), plain(x))

    def test_bits_count_only_where_they_are_heeded(self, enliven) -> None:
        x = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        cell = Cell((3, 1, 3, 1, 2, 3), mix=(1, 1))
        plain, off, on = (
            enliven(CellBlock(c, 4, 4, attention=attention))
            for c, attention in ((replace(cell, mix=(0, 0)), True), (cell, False), (cell, True))
        )
        assert torch.equal(plain(x), off(x))
        assert not torch.allclose(plain(x), on(x))

    def test_a_channel_attention_by_hand(self) -> None:
        """One input only counts as much as the other's mean lets it."""
        block = CellBlock(Cell((0, 1, 0, 3, 0, 3), dim=0, mix=(0, 1)), 1, 1, expand=1, attention=True)
        seen = {}
        block.projection.register_forward_pre_hook(lambda _, given: seen.update(node=given[0]))
        for name, edge in block.edges.items():
            edge.register_forward_hook(lambda _m, _i, y, name=name: seen.update({name: y}))
        block.eval()(torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)))
        a, b = seen["0_3"], seen["2_3"]
        expected = (a * torch.sigmoid(b.mean()) + b * torch.sigmoid(a.mean())).clamp(0, 6)
        torch.testing.assert_close(seen["node"], expected)
