from pathlib import Path
from typing import Any

import pytest

from archipel.report.run_folder import RunFolder, read
from archipel.report.specialisation import cross_table


def f(*values: float) -> dict[str, Any]:
    mean = sum(values) / len(values)
    return {"values": list(values), "mean": mean, "low": min(values), "high": max(values)}


def run(rows: list[Any], measured: Any = (True, False)) -> RunFolder:
    part = {"targets": ["cpu", "pixel"], "measured": list(measured), "rows": rows}
    return RunFolder(Path(), {"specialisation": part}, [], {}, None, None)


def row(target: str, cpu: float | None, pixel: float | None) -> dict[str, Any]:
    ms = {"cpu": None if cpu is None else f(cpu), "pixel": None if pixel is None else f(pixel)}
    return {"target": target, "budget_ms": 1.5, "accuracy": f(0.9), "ms": ms}


def test_best_of_each_column_is_framed(searched: Path) -> None:
    table = cross_table(read(searched))
    assert table is not None
    assert table.head == ["network", "test accuracy, %", "cpu, ms", "hw_tables.json:pixel3, ms (published table)"]
    assert [[cell.marked for cell in cells] for _, _, cells in table.rows] == [
        [False, True, False],
        [False, False, True],
    ]
    assert table.rows[0][2][1].note == "own, fastest"
    assert table.rows[1][2][1].note.startswith("+")
    assert "2 of 2 (means)" in table.sentence
    assert "nothing was measured there" in table.sentence
    assert "95 %" in table.caption


def test_colour_is_how_much_slower() -> None:
    table = cross_table(run([row("cpu", 1.0, 2.0), row("pixel", 1.25, 5.0)]))
    assert table is not None
    heat = [[cell.heat for cell in cells[1:]] for _, _, cells in table.rows]
    assert heat == [[0.0, 0.0], [pytest.approx(0.5), 1.0]]
    assert [cell.note for cell in table.rows[1][2][1:]] == ["+25\u202f%", "own, +150\u202f%"]
    assert "1 of 2 (means)" in table.sentence
    assert "95 %" not in table.caption


def test_missing_times_are_dashes_and_nothing_is_best_alone() -> None:
    table = cross_table(run([row("cpu", 1.0, None), row("pixel", None, None)], measured=(True, True)))
    assert table is not None
    assert [[cell.text for cell in cells[1:]] for _, _, cells in table.rows] == [["1.00", "–"], ["–", "–"]]
    assert not any(cell.marked for _, _, cells in table.rows for cell in cells)
    assert "served fastest" not in table.sentence
    assert "published" not in table.sentence + " ".join(table.head)


@pytest.mark.parametrize("rows", [[], [None], [row("cpu", None, None)], [{"target": "cpu", "ms": 3}], "x"])
def test_nothing_to_compare(rows: Any) -> None:
    assert cross_table(run(rows)) is None
