"""The page of an evolved space: its cells as graphs, its populations, its curves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from archipel.report import write
from archipel.report.cells import draw
from archipel.spaces.cell import EDGES, Cell, reference


class TestDrawing:
    def test_one_line_for_every_edge_that_is_used(self) -> None:
        cell = Cell((5, 1, 2, 1, 3, 7), 2)
        picture = draw(cell)
        assert picture.count("<path") == len(EDGES)
        assert picture.count("<circle") == 4
        assert re.findall(r">([\w]+)</text>", picture) == ["5", "avg", "3", "7"]
        assert "expansion at node 2" in picture

    def test_dead_edges_are_not_drawn(self) -> None:
        dead = Cell((3, 0, 0, 3, 0, 5), 0)
        assert dead.live == {(0, 3): 3}
        assert draw(dead).count("<path") == 1
        assert draw(reference()).count("<path") == 3

    def test_nothing_leaves_the_frame(self) -> None:
        numbers = re.findall(r'd="M[\d.]+ ([\d.-]+)Q[\d.]+ ([\d.-]+) ', draw(Cell((3,) * 6, 1)))
        height = 112
        for line, pulled in numbers:  # a quadratic arc's middle is halfway to its control point
            assert 8 < (float(line) + float(pulled)) / 2 < height - 8


def result(**others: Any) -> dict[str, Any]:
    def block(fitness: float) -> list[dict[str, Any]]:
        cells = [(Cell((3, 0, 1, 0, 0, 1), 1), fitness), (reference(), 0.0)]
        return [
            {
                "cell": str(cell), "matrix": cell.to_matrix(), "fitness": f, "visits": 4, "madds": 1000.0,
                "reference": f == 0,
            }
            for cell, f in cells
        ]  # fmt: skip

    history = [
        {"iteration": i, "evolved": float(i > 3), "loss": 2.0 - i / 9, "alpha_loss": 2.1 - i / 9, "madds": 2e6 + i,
         "diversity": 3.0, **({"fitness": i / 50} if i > 1 else {})}
        for i in range(6)
    ]  # fmt: skip
    space = {
        "seed": 0, "evolved": "evolved-0.json", "random": "random-0.json", "worse_than_reference": False,
        "history": history, "budget_madds": 1.9e6, "blocks": [block(0.1), block(-0.2), block(0.3)],
        "populations": [[{"fitness": 0.1, "kept": True}, {"fitness": None, "kept": False}]] * 3,
    }  # fmt: skip
    figures = {
        kind: {"values": [1e6], "mean": 1e6, "low": 1e6, "high": 1e6} for kind in ("evolved", "random", "reference")
    }
    return {
        "schema": 1, "title": "AutoSpace on digits", "method": "autospace", "points": [], "alarms": [],
        "spaces": [space], "madds": figures, **others,
    }  # fmt: skip


@pytest.fixture
def page(tmp_path: Path) -> Any:
    def made(content: dict[str, Any]) -> str:
        (tmp_path / "result.json").write_text(json.dumps(content))
        return write(tmp_path).read_text(encoding="utf-8")

    return made


def test_shows_cells_populations_and_curves(page: Any) -> None:
    text = page(result())
    assert text.count('<li class="reference">') == 3
    assert text.count('aria-label="Cell ') == 6
    assert "Of 3 kept cells 2 were judged better than the reference cell of their block." in text
    assert "1 space of 3 blocks, 2 cells each." in text
    assert len(re.findall(r'<svg viewBox="0 0 470 ', text)) == 4
    assert "Populations" in text
    assert re.search(r"<text[^>]*>budget</text>", text)
    assert 'id="frontier"' not in text


def test_what_is_damaged_is_absent(page: Any) -> None:
    content = result()
    (space,) = content["spaces"]
    space |= {"history": [None], "populations": None, "budget_madds": "x"}
    space["blocks"][0][0] |= {"matrix": [1], "fitness": None}
    text = page(content)
    assert "The run kept no history." in text
    assert text.count('aria-label="Cell ') == 5
    assert "The run kept no space." in page(result(spaces=[]))
