import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from archipel.errors import RunError
from archipel.report import write
from archipel.report.page import awareness_table, points_table
from archipel.report.run_folder import read

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags, their addresses, and whether every tag that was opened is closed in order."""

    VOID = frozenset({"meta", "img", "br", "input", "link", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.unnamed: list[str] = []
        self.ids: list[str] = []
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)

    def _note(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.addresses += [v or "" for k, v in attributes.items() if k in ("src", "href", "xlink:href", "srcset")]
        if attributes.get("id"):
            self.ids.append(attributes["id"] or "")
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        spoken = {"img": "alt", "svg": "aria-label"}.get(tag)
        if spoken and spoken not in attributes and attributes.get("aria-hidden") != "true":
            self.unnamed.append(tag)


def text_of(html: str) -> str:
    return re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)


def test_page_is_one_file_without_addresses(finished: Path) -> None:
    html = (finished / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.wrong
    assert not page.stack
    assert page.addresses
    assert not [a for a in page.addresses if not a.startswith(("data:image/png;base64,", "#"))]
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_page_is_accessible(finished: Path) -> None:
    html = (finished / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.unnamed
    assert page.headings.count("h1") == 1
    assert page.headings[0] == "h1"
    assert page.headings.index("h3") > page.headings.index("h2")
    assert html.count("<table") == html.count("<caption>")
    assert '<html lang="en">' in html
    assert len(page.ids) == len(set(page.ids))
    for target in re.findall(r'(?:href="|url\()#([\w.-]+)', html):
        assert target in page.ids, target


def test_colours_follow_the_theme(finished: Path) -> None:
    html = (finished / "report.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in html
    assert "prefers-reduced-motion" in html
    assert "#01fe" not in html
    assert "var(--instanas)" in html


def test_figures_have_a_sentence_and_say_the_projection(finished: Path) -> None:
    html = (finished / "report.html").read_text(encoding="utf-8")
    for figure in re.findall(r'<figure class="plot">.*?</figure>', html, flags=re.DOTALL):
        assert re.search(r"<figcaption>[^<]{20,}\.</figcaption>", figure)
    method = "UMAP" if "umap" in sys.modules else "PCA"
    assert f">{method} of 85 probabilities</text>" in html


def test_written_twice_is_the_same(make_run: Callable[..., Path]) -> None:
    folder = make_run(images=30, layers=3, seeds=1, curves=False)
    first = write(folder).read_bytes()
    assert write(folder).read_bytes() == first


def test_text_from_data_is_harmless(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
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
    page = Page(html)
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
def test_missing_parts_are_left_out(parts: list[str], make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    folder = edit(make_run(images=20, layers=2, seeds=1, epochs=2), drop(*parts))
    html = text_of(write(folder).read_text(encoding="utf-8"))
    assert not Page(html).wrong
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


def test_one_seed_has_no_intervals(make_run: Callable[..., Path]) -> None:
    html = write(make_run(images=20, layers=2, seeds=1, curves=False)).read_text(encoding="utf-8")
    assert "One seed, so there are no intervals." in html
    assert "±" not in re.sub(r"±0", "", text_of(html))
    assert "95 % intervals" not in text_of(html)


def test_points_without_instanas(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def only_baselines(result: dict[str, Any]) -> None:
        result["points"] = [p for p in result["points"] if p["kind"] == "mobilenet_v2"]

    html = write(edit(make_run(images=20, layers=2, curves=False), only_baselines)).read_text(encoding="utf-8")
    assert "5 MobileNetV2 widths:" in html
    assert "no baseline is both" not in html


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


def test_points_table_is_sorted_by_kind_and_awareness_has_intervals(finished: Path) -> None:
    run = read(finished)
    table = points_table(run)
    assert table is not None
    assert [row[0] for row in table.rows[:10]] == [*"ABCDE", "0.25x", "0.5x", "0.75x", "1.0x", "1.4x"]
    assert {len(row) for row in table.rows} == {len(table.head)}
    awareness = awareness_table(run)
    assert awareness is not None
    assert awareness.rows[-1][0] == "all variants"
    assert awareness.rows[-1][5] == "–"
    assert re.fullmatch(r"\+\d\.\d \[\+\d\.\d, \+\d\.\d\]", awareness.rows[4][3])


def test_alarms_in_words(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    folder = make_run(images=20, layers=2, seeds=1, curves=False)
    assert "There were no alarms." in write(folder).read_text(encoding="utf-8")

    def ring(result: dict[str, Any]) -> None:
        alarm = {"kind": "dead window", "stage": "search", "seed": 0, "text": "2 % of rewards are positive."}
        result["alarms"] = [{**alarm, "epoch": epoch} for epoch in (3, 7, 8, 9)] + [{"kind": "collapse", "seed": 0}, {}]

    html = write(edit(folder, ring)).read_text(encoding="utf-8")
    assert "2 % of rewards are positive." in html
    assert "search, seed 0, epochs 3, 7–9" in html
    assert "4 times; the last: 2 %" in html
    assert html.count("2 % of rewards are positive.") == 1
    assert "There were no alarms." not in html


def test_size_with_two_thousand_images(make_run: Callable[..., Path]) -> None:
    page = write(make_run(images=2000, side=64, seeds=1, curves=False))
    assert page.stat().st_size < 3_000_000
    assert page.read_text(encoding="utf-8").count("data-i=") == 300


def test_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(RunError) as caught:
            write(folder)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
