import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archipel.report import write
from archipel.report.instance_page import awareness_table, savings_table
from archipel.report.run_folder import read

EVIL = "<script>alert(1)</script>"


def test_the_map_says_its_projection(finished: Path) -> None:
    html = (finished / "report.html").read_text(encoding="utf-8")
    method = "UMAP" if "umap" in sys.modules else "PCA"
    assert f">{method} of 85 probabilities</text>" in html


def test_text_from_data_is_harmless(
    make_run: Callable[..., Path], edit: Callable[..., Path], parse: Callable[[str], Any]
) -> None:
    folder = make_run(
        classes=[EVIL, "</script>", '"onload="x', "{{ 7*7 }}"], images=40, layers=3, seeds=1, curves=False
    )

    def poison(result: dict[str, Any]) -> None:
        result["title"] = result["command"] = result["awareness"]["sentence"] = EVIL
        result["points"][0]["note"] = result["device"]["name"] = EVIL
        result["task"]["skipped"] = [{"path": EVIL, "why": EVIL}]
        result["space"]["choices"][0]["name"] = result["space"]["choices"][0]["options"][0] = EVIL
        result["alarms"] = [{"kind": EVIL, "stage": EVIL, "seed": 0, "epoch": 7, "text": EVIL}]
        result["points"][3]["name"] = EVIL

    (edit(folder, poison) / "config.yaml").write_text(EVIL, encoding="utf-8")
    html = write(folder).read_text(encoding="utf-8")
    assert EVIL not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "{{ 7*7 }}" in html
    assert len(re.findall(r"</script>", html)) == 3
    page = parse(html)
    assert not page.wrong
    assert not [a for a in page.addresses if not a.startswith(("data:image/png;base64,", "#"))]


def drop(*names: str) -> Callable[[dict[str, Any]], None]:
    def edit(result: dict[str, Any]) -> None:
        for name in names:
            result[name] = None

    return edit


RECORD = ["title", "command", "preset", "started", "finished", "seconds", "stages", "environment", "task", "device"]
PARTS = [["points"], ["awareness", "alarms"], ["curves", "fidelity"], ["space"], RECORD]


@pytest.mark.parametrize(
    "parts",
    [*PARTS, [part for parts in PARTS for part in parts]],
    ids=lambda parts: "-".join(parts[:2]) + f"-{len(parts)}",
)
def test_missing_parts_are_left_out(
    parts: list[str],
    make_run: Callable[..., Path],
    edit: Callable[..., Path],
    parse: Callable[[str], Any],
    visible: Callable[[str], str],
) -> None:
    folder = edit(make_run(images=20, layers=2, seeds=1, epochs=2), drop(*parts))
    html = visible(write(folder).read_text(encoding="utf-8"))
    assert not parse(html).wrong
    assert "None" not in html
    assert "nan" not in re.sub(r"<[^>]*>", "", html).lower().replace("instanas", "")
    sentences = {
        "points": "there is no frontier to draw",
        "awareness": "says nothing on instance-awareness",
        "curves": "kept no curves of the search",
        "alarms": "did not record whether there were alarms",
        "fidelity": "no measured architectures",
        "space": "single architectures cannot be drawn",
        "command": "did not record its command",
    }
    for name, sentence in sentences.items():
        assert (sentence in html) == (name in parts), name


def test_only_result_json(make_run: Callable[..., Path]) -> None:
    folder = make_run(images=20, layers=2, seeds=1, curves=False)
    for name in ("architectures.csv", "instances.safetensors", "config.yaml"):
        (folder / name).unlink()
    html = write(folder).read_text(encoding="utf-8")
    assert "Not in the run folder: architectures.csv, instances.safetensors, config.yaml." in html
    assert "so there is no map" in html
    assert "so there is no histogram" in html
    assert "no view of single images" in html


@pytest.mark.parametrize("name", ["architectures.csv", "instances.safetensors"])
def test_one_of_the_two_image_files(name: str, make_run: Callable[..., Path]) -> None:
    folder = make_run(images=20, layers=2, seeds=1, curves=False)
    (folder / name).unlink()
    html = write(folder).read_text(encoding="utf-8")
    assert f"Not in the run folder: {name}." in html


def test_one_seed_has_no_intervals(make_run: Callable[..., Path], visible: Callable[[str], str]) -> None:
    html = write(make_run(images=20, layers=2, seeds=1, curves=False)).read_text(encoding="utf-8")
    assert "One seed, so there are no intervals." in html
    assert "±" not in re.sub(r"±0", "", visible(html))
    assert "95 % intervals" not in visible(html)


def test_points_without_instanas(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def only_baselines(result: dict[str, Any]) -> None:
        result["points"] = [p for p in result["points"] if p["kind"] == "mobilenet_v2"]

    html = write(edit(make_run(images=20, layers=2, curves=False), only_baselines)).read_text(encoding="utf-8")
    assert "5 MobileNetV2 widths:" in html
    assert "no baseline is both" not in html


def test_size_with_two_thousand_images(make_run: Callable[..., Path]) -> None:
    page = write(make_run(images=2000, side=64, seeds=1, curves=False))
    assert page.stat().st_size < 3_000_000
    assert page.read_text(encoding="utf-8").count("data-i=") == 300


def test_awareness_has_intervals(finished: Path) -> None:
    awareness = awareness_table(read(finished))
    assert awareness is not None
    assert awareness.rows[-1][0] == "all"
    assert awareness.rows[-1][5] == "–"
    assert re.fullmatch(r"\+\d\.\d \[\+\d\.\d, \+\d\.\d\]", awareness.rows[4][3])


def test_savings_say_against_whom_and_where_nothing_is_as_accurate(
    make_run: Callable[..., Path], edit: Callable[..., Path]
) -> None:
    three = {"values": [0.2, 0.3, 0.4], "mean": 0.3, "low": 0.05, "high": 0.55}
    rows = [
        {"kind": "child_cascade", "name": "A", "against": "static_child", "seeds": 3}
        | {"measured_ms": three, "measured_ms_seeds": 3, "batch_ms": None, "batch_ms_seeds": 0},
        {"kind": "instanas", "name": "B", "against": "mobilenet_v2", "seeds": 3}
        | {"measured_ms": three, "measured_ms_seeds": 2, "batch_ms": three, "batch_ms_seeds": 3},
    ]
    folder = make_run(images=40, layers=3, seeds=3, curves=False)
    assert savings_table(read(folder)) is None
    edit(folder, lambda result: result.update(savings=rows))
    table = savings_table(read(folder))
    assert table is not None
    assert [head.partition(",")[0] for head in table.head[1::2]] == ["against static child", "against MobileNetV2"]
    assert table.rows == [
        ["A", "+30.0 ± 25.0", "–", "–", "–"],
        ["B", "–", "–", "+30.0 ± 25.0 (2 of 3)", "+30.0 ± 25.0"],
    ]
    assert [kind.label for kind in table.kinds if kind] == ["child cascade", "InstaNAS"]
    assert savings_table(read(folder), gained=True) is None
    rows[0] |= {"measured_ms_gained": three, "measured_ms_gained_seeds": 3}
    edit(folder, lambda result: result.update(savings=rows))
    gained = savings_table(read(folder), gained=True)
    assert gained is not None
    assert gained.rows[0] == ["A", "+30.0 ± 25.0", "–", "–", "–"]
    assert gained.head[1] == "against static child, points"
    assert "What it saves at equal accuracy" in write(folder).read_text(encoding="utf-8")
