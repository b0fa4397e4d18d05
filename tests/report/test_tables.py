from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from archipel.report import write
from archipel.report.run_folder import point, read
from archipel.report.tables import points_table


def test_null_figures_become_dashes(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def empty(result: dict[str, Any]) -> None:
        for p in result["points"]:
            p["measured_ms"] = None
        result["points"][0]["accuracy"] = None
        result["fidelity"] = {"mape": None, "pairs": None}
        result["curves"]["search"][0]["reward"] = [None] * 2
        result["curves"]["search"][0]["map_ms"][1] = None

    folder = edit(make_run(images=20, layers=2, seeds=1, epochs=2), empty)
    run = read(folder)
    table = points_table(run)
    assert table is not None
    assert "measured, ms" not in table.head
    assert table.rows[0][1] == "–"
    assert ">Measured, batch 1<" not in write(folder).read_text(encoding="utf-8")


def test_points_are_sorted_by_kind(finished: Path) -> None:
    table = points_table(read(finished))
    assert table is not None
    assert [row[0] for row in table.rows[:10]] == [*"ABCDE", "0.25x", "0.5x", "0.75x", "1.0x", "1.4x"]
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert "budget, ms" not in table.head


def test_points_of_a_search_stand_by_device_and_budget(searched: Path) -> None:
    run = read(searched)
    table = points_table(run)
    assert table is not None
    assert table.head[:6] == [
        "network", "budget, ms", "test accuracy, %", "table, ms", "measured, ms", "over its budget, %",
    ]  # fmt: skip
    assert [row[0] for row in table.rows] == ["cpu"] * 9 + ["hw_tables.json:pixel3"] * 9
    assert [look.name for look in table.kinds[:3] if look] == ["proxylessnas", "mobilenet_v2", "random_architecture"]
    budgets = [float(row[1]) for row in table.rows[:9]]
    assert budgets == sorted(budgets)
    over = run.points[0]["over_budget"]
    assert over is not None
    assert table.rows[0][5].startswith(f"{100 * over.mean:+.1f} ± ".replace("-", "−"))
    assert {row[4] for row in table.rows[9:]} == {row[5] for row in table.rows[9:]} == {"–"}


def test_how_many_images_a_cascade_sends_on(finished: Path) -> None:
    run = read(finished)
    row = {"name": "A", "kind": "mobilenet_cascade", "accuracy": {"mean": 0.9}, "sent_on": {"mean": 0.125}}
    table = points_table(replace(run, points=[*run.points, point(row)]))
    assert table is not None
    column = table.head.index("sent on to the second network")
    assert [line[column] for line in table.rows if line[column] != "–"] == ["12.5 %"]
    assert "sent on to the second network" not in points_table(run).head
