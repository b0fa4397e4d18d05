import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from archipel.errors import OptionError, RunError
from archipel.report import frontier_svg, save_frontier
from archipel.report.frontier_figure import panels
from archipel.report.run_folder import read


def test_panels_name_what_is_outside(finished: Path) -> None:
    made = panels(read(finished))
    assert [p.title for p in made] == ["Table latency", "Measured, batch 1", "Measured, batch 128"]
    assert "Outside the frame: random policy" in made[0].sentence
    assert "random policy" not in made[0].svg


def test_own_points_stay_inside_however_far(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def slow(result: dict[str, Any]) -> None:
        for p in result["points"]:
            if p["kind"] == "instanas" and p["name"] in "AB":
                p["table_ms"] = {"values": [90.0], "mean": 90.0, "low": 90.0, "high": 90.0}

    made = panels(read(edit(make_run(images=10, layers=2, seeds=1, curves=False), slow)))
    assert ">A</text>" in made[0].svg
    assert "A (90" not in made[0].sentence


def test_a_huge_interval_is_cut_and_said(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def wide(result: dict[str, Any]) -> None:
        result["points"][0]["accuracy"] |= {"low": -3.0, "high": 5.0}

    made = panels(read(edit(make_run(images=10, layers=2, curves=False), wide)))
    assert "Bars that end at the frame go on beyond it." in made[0].sentence


def test_picture_alone(finished: Path, tmp_path: Path) -> None:
    svg = save_frontier(finished, tmp_path / "frontier.svg").read_text(encoding="utf-8")
    ET.fromstring(svg)
    assert "var(--" not in svg
    assert "#01fe" not in svg
    assert "#ffffff" in svg
    with Image.open(save_frontier(finished, tmp_path / "frontier.png")) as picture:
        assert picture.width > 1500


def test_picture_needs_points_and_a_known_ending(
    make_run: Callable[..., Path], edit: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_run(images=5, layers=2, seeds=1, epochs=2)
    with pytest.raises(OptionError, match=r"use \.svg or \.png"):
        save_frontier(folder, tmp_path / "frontier.jpg")

    def no_points(result: dict[str, Any]) -> None:
        result["points"] = []

    edit(folder, no_points)
    with pytest.raises(RunError):
        frontier_svg(read(folder).result)


def test_a_search_has_a_panel_a_device_with_its_budgets(searched: Path) -> None:
    run = read(searched)
    here, elsewhere = panels(run)
    assert [here.title, elsewhere.title] == ["cpu", "hw_tables.json:pixel3 (published table)"]
    budgets = [f"{budget:.3f}" for budget in run.result["tables"][0]["budgets_ms"]]
    for budget in budgets:  # above its line, and at each of its three points
        assert here.svg.count(f">{budget}</text>") == 4
    assert here.svg.count("stroke-dasharray") == len(budgets)
    assert "budgets in ms" in here.sentence
    assert "var(--mobilenet_v2)" in here.svg
    assert "var(--mobilenet_v2)" not in elsewhere.svg
    assert "only in the table: MobileNetV2." in elsewhere.sentence


def test_a_far_budget_is_said_and_squeezes_nothing(make_search: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def far(result: dict[str, Any]) -> None:
        result["points"][-1]["budget_ms"] = 900.0

    folder = edit(make_search(devices=("cpu",), layers=4, seeds=1, curves=False), far)
    (panel,) = panels(read(folder))
    assert "Budget outside the frame: 900 ms." in panel.sentence
    assert "stroke-dasharray" in panel.svg


def test_picture_of_many_devices_has_rows(make_search: Callable[..., Path]) -> None:
    labels = [f"device{i}" for i in range(5)]
    svg = frontier_svg(read(make_search(devices=labels, published=(), layers=3, seeds=1, curves=False)).result)
    ET.fromstring(svg)
    for label in labels:
        assert f">{label}: test accuracy, %</text>" in svg
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    assert (width, height) == (1340, 802)
