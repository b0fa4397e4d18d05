import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archipel.errors import RunError
from archipel.report import write
from archipel.report.page import PAGES


@pytest.fixture(params=["finished", "searched"])
def page_of(request: pytest.FixtureRequest) -> Path:
    """A run folder with its report, of each kind of run."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_page_is_one_file_without_addresses(page_of: Path, parse: Callable[[str], Any]) -> None:
    html = (page_of / "report.html").read_text(encoding="utf-8")
    page = parse(html)
    assert not page.wrong
    assert not page.stack
    assert not [a for a in page.addresses if not a.startswith(("data:image/png;base64,", "#"))]
    assert "http://" not in html
    assert "https://" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_page_is_accessible(page_of: Path, parse: Callable[[str], Any]) -> None:
    html = (page_of / "report.html").read_text(encoding="utf-8")
    page = parse(html)
    assert not page.unnamed
    assert page.headings.count("h1") == 1
    assert page.headings[0] == "h1"
    assert page.headings.index("h3") > page.headings.index("h2")
    assert html.count("<table") == html.count("<caption>")
    assert '<html lang="en">' in html
    assert len(page.ids) == len(set(page.ids))
    for target in re.findall(r'(?:href="|url\()#([\w.-]+)', html):
        assert target in page.ids, target


def test_colours_follow_the_theme(page_of: Path) -> None:
    html = (page_of / "report.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in html
    assert "prefers-reduced-motion" in html
    assert "#01fe" not in html
    assert "var(--accent)" in html


def test_figures_have_a_sentence(page_of: Path) -> None:
    html = (page_of / "report.html").read_text(encoding="utf-8")
    figures = re.findall(r'<figure class="plot">.*?</figure>', html, flags=re.DOTALL)
    assert len(figures) > 8
    for figure in figures:
        assert re.search(r"<figcaption>[^<]{20,}\.</figcaption>", figure)


def test_navigation_names_every_section(page_of: Path) -> None:
    html = (page_of / "report.html").read_text(encoding="utf-8")
    named = re.findall(r'href="#(\w+)"', html.partition("</header>")[0].partition("<nav")[2])
    assert ["result", *named] == re.findall(r'<section id="(\w+)"', html)


@pytest.mark.parametrize("make", ["make_run", "make_search"])
def test_written_twice_is_the_same(make: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(make)(layers=3, seeds=1, curves=False)
    first = write(folder).read_bytes()
    assert write(folder).read_bytes() == first


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


def test_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(RunError) as caught:
            write(folder)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_method_without_a_page(make_run: Callable[..., Path], edit: Callable[..., Path]) -> None:
    folder = edit(make_run(images=5, layers=2, seeds=1, curves=False), lambda result: result.update(method="astrology"))
    with pytest.raises(RunError, match="method 'astrology'") as caught:
        write(folder)
    assert ", ".join(PAGES) in str(caught.value)
    assert "\n" not in str(caught.value)
