"""An evolved space: a file like any other, a space like any other, costs that add up."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archipel.cost import complexity_cost
from archipel.cost.complexity import madds
from archipel.errors import SpaceError
from archipel.recipes.opening import absolute_space
from archipel.sharing.gates import Gates
from archipel.space import Space
from archipel.spaces import proxyless, resolve
from archipel.spaces.cell import Cell, reference
from archipel.spaces.evolved import Backbone, CellSpace, Kept, load_space, options_of
from archipel.spaces.proxyless import MACROS

BACKBONE = Backbone(8, 2, 8, ((8, 1), (16, 2), (16, 1)), 32)
CELLS = (Cell((5, 3, 1, 1, 3, 2), dim=0, mix=(1, 0)), Cell((3, 2, 0, 1, 5, 1), dim=1), reference())


@pytest.fixture
def made() -> CellSpace:
    options = tuple(Kept(cell, 2 + i, 0.25 * i - 0.1, i) for i, cell in enumerate(CELLS))
    return CellSpace(BACKBONE, (options, options[1:], options[:1]), evidence={"seed": 3, "cells": ["ä", None]})


@pytest.fixture
def file(made: CellSpace, tmp_path: Path) -> Path:
    made.save(tmp_path / "evolved.json")
    return tmp_path / "evolved.json"


class TestFile:
    def test_round_trip(self, made: CellSpace, file: Path) -> None:
        assert load_space(file) == made
        assert Space(resolve(str(file))).digest == Space(made.function).digest

    def test_is_found_from_elsewhere(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(file.parent)
        assert absolute_space("evolved.json") == str(file)

    @pytest.mark.parametrize(
        ("path", "value", "said"),
        [
            ((), [], "it is no evolved space; 'archipel evolve' makes one"),
            (("what",), "x", "it is no evolved space"),
            (("format",), 2, "it has the format 2; this version reads 1"),
            (("backbone", "tail"), None, "it has None where a number above 0 belongs"),
            (("backbone", "stem"), 0, "it has 0 where"),
            (("backbone", "eps"), -1.0, "its eps is -1"),
            (("backbone", "blocks"), [[8, 1]], "3 lists of cells are given for 1 blocks"),
            (("backbone", "blocks", 0), [8], "it is damaged: "),
            (("backbone",), {}, "it lacks 'eps'"),
            (("blocks", 0, 0, "cell"), [[1]], "a cell is a 4 × 4 matrix"),
            (("blocks", 0, 0, "expand"), 1.5, "it has 1.5 where"),
            (("blocks", 0, 0, "visits"), "1", "it has '1' where a int belongs"),
            (("blocks", 1), [], "block b2 has no cell, and cannot be left out"),
            (("zero",), 1, "it has 1 where yes or no belongs"),
            (("blocks",), 7, "it is damaged: "),
        ],
    )
    def test_damaged(self, file: Path, path: tuple[Any, ...], value: Any, said: str) -> None:
        data = json.loads(file.read_text())
        if path:
            *outer, last = path
            held = data
            for key in outer:
                held = held[key]
            held[last] = value
        else:
            data = value
        file.write_text(json.dumps(data))
        with pytest.raises(SpaceError) as caught:
            resolve(str(file))
        assert str(caught.value).startswith(f"evolved space '{file}': {said}")
        assert "\n" not in str(caught.value)

    def test_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(SpaceError, match="there is no evolved space"):
            resolve(str(tmp_path / "none.json"))
        (tmp_path / "half.json").write_text('{"what": "arch')
        with pytest.raises(SpaceError, match="cannot be read") as caught:
            resolve(str(tmp_path / "half.json"))
        assert "\n" not in str(caught.value)


class TestSpace:
    def test_choices(self, made: CellSpace) -> None:
        space = Space(made.function)
        assert space.name == "evolved"
        assert [choice.name for choice in space.choices] == ["b1", "b2", "b3"]
        assert [len(choice.options) for choice in space.choices] == [4, 2, 2]
        assert space.choices[0].options == ("531132d0m10e2", "320151d1e3", "103001d1e4", "zero")
        assert [choice.options[-1] == "zero" for choice in space.choices] == [True, False, True]
        assert [len(c.options) for c in Space(replace(made, zero=False).function).choices] == [3, 2, 1]

    def test_gates_take_it(self, made: CellSpace) -> None:
        space = Space(made.function, classes=3)
        assert space.canonical(Gates(space).argmax())

    def test_costs_add_up(self, made: CellSpace) -> None:
        space = Space(made.function, classes=5, channels=1, size=9)
        cost, rng = complexity_cost(space, "madds", (1, 9, 9)), random.Random(0)
        at = made.backbone.placements(9)
        assert cost.base == made.backbone.madds(9, classes=5, channels=1)
        for _ in range(2):
            architecture = space.sample(rng)
            total = cost.base
            for place, options in enumerate(made.blocks):
                chosen = {kept.name: kept for kept in options}.get(str(architecture[f"b{place + 1}"]))
                if chosen is not None:
                    total += chosen.cell.madds(replace(at[place], expand=chosen.expand))
            assert total == cost.of(architecture) == madds(space.build(architecture), (1, 9, 9))

    @pytest.mark.parametrize("macro", ["digits", "compact"])
    def test_the_reference_everywhere_is_a_network_of_proxyless(self, macro: str) -> None:
        backbone = Backbone.of(MACROS[macro], 0.5)
        own = Space(
            CellSpace(backbone, ((Kept(reference(5), 3),),) * len(backbone.blocks), zero=False).function, size=16
        )
        theirs = Space(proxyless, macro=macro, width=0.5, size=16)
        network = theirs.build({choice.name: "k5e3" for choice in theirs.choices})
        assert madds(own.build(own.unrank(0)), (3, 16, 16)) == madds(network, (3, 16, 16))


class TestOptions:
    def test_every_graph_once(self) -> None:
        same = (Cell((3, 5, 0, 1, 1, 2), dim=0), Cell((5, 3, 0, 1, 2, 1), dim=0))
        found = [Kept(cell, fitness=0.5, visits=2) for cell in same]
        assert options_of(found, (3, 6)) == (Kept(same[0], 3, 0.5, 2), Kept(same[0], 6, 0.5, 2))

    def test_kernels_take_each_others_place(self) -> None:
        cells = (Cell((5, 1, 1, 1, 1, 3)), Cell((3, 1, 1, 1, 1, 3)))
        found = options_of([Kept(cell) for cell in cells], (2,), (5, 7))
        assert [kept.cell.codes[0] for kept in found] == [5, 7, 3]

    def test_mistakes(self) -> None:
        with pytest.raises(SpaceError, match="off every path"):
            CellSpace(BACKBONE, ((Kept(Cell((0, 3, 0, 3, 3, 0), dim=1)),),) * 3)
        with pytest.raises(SpaceError, match="stands in block b1 twice"):
            CellSpace(BACKBONE, ((Kept(CELLS[0]), Kept(CELLS[0])),) * 3)
        with pytest.raises(SpaceError, match="expands 0 times"):
            CellSpace(BACKBONE, ((Kept(CELLS[0], 0),),) * 3)
