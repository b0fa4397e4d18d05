import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from archipel.errors import OptionError, RunError
from archipel.report import frontier_svg, save_frontier
from archipel.report.frontier import headline, panels, short_name, undominated
from archipel.report.run_folder import Point, interval, read


def at(name: str, kind: str, accuracy: float, ms: float) -> Point:
    figures = {"accuracy": accuracy, "table_ms": ms}
    return Point(name, kind, {k: interval({"mean": v}) for k, v in figures.items()}, None, None)


@pytest.mark.parametrize(
    ("name", "kind", "short"),
    [
        ("A", "instanas", "A"),
        ("MobileNetV2 0.5x", "mobilenet_v2", "0.5x"),
        ("mobilenet_v2-1.0", "mobilenet_v2", "1.0"),
        ("static child of C", "static_child", "C"),
        ("static_union", "static_union", "static union"),
        ("my point", "new_kind", "my point"),
    ],
)
def test_short_name(name: str, kind: str, short: str) -> None:
    assert short_name(Point(name, kind, {}, None, None)) == short


def test_undominated() -> None:
    points = [at("A", "instanas", 0.9, 2), at("B", "instanas", 0.8, 1), at("x", "mobilenet_v2", 0.9, 2)]
    assert undominated(points, "table_ms") == (["B"], 2)
    assert undominated(points, "measured_ms") == ([], 0)


def test_headline_says_ranges(finished: Path) -> None:
    sentences = headline(read(finished))
    assert sentences[0].startswith("5 InstaNAS variants: 9")
    assert "measured one image at a time" in sentences[0]
    assert sentences[1].startswith("5 MobileNetV2 widths: ")
    assert "comparing means" in sentences[2]


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
