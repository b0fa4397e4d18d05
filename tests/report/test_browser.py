"""The page in a real browser, opened from its file, with the network blocked."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archipel.report import write

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page offline; afterwards it must have logged nothing and asked for nothing but itself."""
    contexts, faults = [], []

    def visit(path: Path, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(r.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize("width", [1280, 390, 360])
@pytest.mark.parametrize(("run", "figures"), [("finished", 20), ("searched", 13)])
def test_no_sideways_scroll(
    run: str, figures: int, width: int, request: pytest.FixtureRequest, visit: Callable[..., Any]
) -> None:
    page = visit(request.getfixturevalue(run) / "report.html", width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme, color in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(16, 21, 27)")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == color
        visible = page.locator(".plot svg[role=img]:visible")
        assert visible.count() == figures
        smallest = page.evaluate(
            """() => Math.min(...[...document.querySelectorAll('.plot svg')].filter((svg) => svg.clientWidth)
                 .map((svg) => 10.5 * svg.clientWidth / svg.viewBox.baseVal.width))"""
        )
        assert smallest >= 8


def test_gallery(finished: Path, visit: Callable[..., Any]) -> None:
    page = visit(finished / "report.html")
    buttons = page.locator(".gallery button")
    assert buttons.count() == 120
    assert page.locator(".drawing .before").count() == 0
    for i in (5, 60, 119):
        buttons.nth(i).click()
        assert buttons.nth(i).get_attribute("aria-pressed") == "true"
        assert page.locator(".gallery [aria-pressed=true]").count() == 1
        assert buttons.nth(i).get_attribute("aria-label").endswith(page.locator("#v-class").inner_text())
        active = int(page.locator("#v-active").inner_text().split()[0])
        assert page.locator(".drawing .node.on").count() == active
        assert page.locator(".drawing .now").count() >= max(active, 17)
        assert page.locator(".drawing .before").count() >= 17
    page.keyboard.press("ArrowLeft")
    assert buttons.nth(118).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") == pytest.approx(
        buttons.nth(0).bounding_box()["x"], abs=1
    )
    assert [page.locator("#v-legend li").nth(i).inner_text() for i in range(2)] == ["mb6_k3", "mb3_k3"]
    page.locator("#v-variants input").nth(4).focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#v-variants input").nth(3).is_checked()


def test_theme_button_and_reduced_motion(finished: Path, visit: Callable[..., Any]) -> None:
    page = visit(finished / "report.html", color_scheme="dark", reduced_motion="reduce")
    button = page.locator("#theme")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(16, 21, 27)"
    button.click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    button.click()
    assert page.evaluate(paper) == "rgb(16, 21, 27)"
    animation = "getComputedStyle(document.querySelector('.drawing .now')).animationName"
    assert page.evaluate(animation) == "none"


@pytest.mark.parametrize("layers", [1, 4, 60])
def test_drawing_scrolls_in_its_own_box(layers: int, make_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    page = visit(write(make_run(layers=layers, images=12, seeds=1, curves=False)), 375)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    box = page.evaluate(
        "[document.getElementById('drawing').scrollWidth, document.getElementById('drawing').clientWidth]"
    )
    assert (box[0] > box[1]) == (layers > 4)


def test_other_kinds_of_choices_and_many_options(
    make_run: Callable[..., Path], edit: Callable[..., Path], visit: Callable[..., Any]
) -> None:
    def mixed(result: dict[str, Any]) -> None:
        options = [f"option {i}" for i in range(12)]
        result["space"]["choices"] = [
            {"name": "a very long name of a choice", "kind": "op", "options": options, "empty": None},
            {"name": "<script>", "kind": "value", "options": [1, 2.5, 3], "empty": None},
        ]

    page = visit(write(edit(make_run(layers=3, images=12, seeds=1, curves=False), mixed)))
    assert page.locator("#v-legend li").count() == 15
    assert page.locator(".drawing .node").count() == 15
    page.locator(".gallery button").nth(3).click()
    assert page.locator(".drawing .joint").count() == 3


def test_resize_redraws_without_motion(finished: Path, visit: Callable[..., Any]) -> None:
    page = visit(finished / "report.html")
    assert page.locator(".drawing svg.still").count() == 0
    page.set_viewport_size({"width": 700, "height": 800})
    page.wait_for_selector(".drawing svg.still")


def test_without_scripts(finished: Path, visit: Callable[..., Any]) -> None:
    page = visit(finished / "report.html", java_script_enabled=False)
    assert page.locator("noscript p").inner_text().startswith("This part is drawn by a script")
    assert page.locator("#viewer").is_hidden()


def test_harmful_names_stay_text(make_run: Callable[..., Path], visit: Callable[..., Any]) -> None:
    names = ["<script>document.title = 'owned'</script>", "<img src=x onerror=\"document.title = 'owned'\">"]
    page = visit(write(make_run(classes=names, images=20, layers=2, seeds=1, curves=False)))
    for i in range(0, 20, 3):
        page.locator(".gallery button").nth(i).click()
    assert page.title() == "InstaNAS on digits · Archipel"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_search_is_read_without_scripts(width: int, scheme: str, searched: Path, visit: Callable[..., Any]) -> None:
    page = visit(searched / "report.html", width, java_script_enabled=False, color_scheme=scheme)
    closed = page.locator("#gates details").nth(4)
    assert closed.locator("table").first.is_hidden()
    closed.locator("summary").click()
    assert closed.locator("table").first.is_visible()
    assert "zero" in closed.locator(".nets").inner_text()


def test_texts_of_a_search_lie_inside_their_figures(searched: Path, visit: Callable[..., Any]) -> None:
    for width in (1280, 390):
        page = visit(searched / "report.html", width)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        clipped = page.evaluate(
            """() => [...document.querySelectorAll('.plot svg[role=img]')].filter((svg) => svg.clientWidth)
                 .flatMap((svg) => [...svg.querySelectorAll('text')].filter((text) => {
                   const a = svg.getBoundingClientRect(), b = text.getBoundingClientRect();
                   return b.left < a.left - 2 || b.right > a.right + 2 || b.top < a.top - 2 || b.bottom > a.bottom + 2;
                 }).map((text) => text.textContent))"""
        )
        assert clipped == []


def test_rows_of_map_and_networks_are_level(searched: Path, visit: Callable[..., Any]) -> None:
    page = visit(searched / "report.html")
    tops = page.evaluate(
        """() => ['.map', '.nets'].map((name) => [...document.querySelector(name).querySelectorAll('tbody tr')]
             .map((row) => row.getBoundingClientRect().top))"""
    )
    assert len(tops[0]) == len(tops[1]) == 12
    assert tops[0] == pytest.approx(tops[1], abs=3)
