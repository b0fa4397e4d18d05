import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archipel.report import write

EVIL = "<script>alert(1)</script>"
SECTIONS = ["result", "frontier", "devices", "search", "pareto", "gates", "alarms", "fidelity", "record"]


def sections(html: str) -> dict[str, str]:
    return dict(re.findall(r'<section id="(\w+)".*?>(.*?)</section>', html, flags=re.DOTALL))


def test_every_section_is_there(searched: Path) -> None:
    html = (searched / "report.html").read_text(encoding="utf-8")
    found = sections(html)
    assert list(found) == SECTIONS
    assert not re.findall(r'class="absent">(?!A published table)', html)
    assert "For cpu, 3 ProxylessNAS networks" in found["result"]
    assert '<p class="verdict">Over all budgets' in found["result"]
    assert found["frontier"].count("<h3>") == found["pareto"].count("<h3>") == 2
    assert found["devices"].count('class="marked"') == 2
    assert found["search"].count("<details") == 2
    assert found["gates"].count("<details") == 6
    assert found["search"].count(" open>") == found["gates"].count(" open>") == 1
    assert found["gates"].count('class="nets"') == found["gates"].count('class="heat map"') == 6
    assert "over budget" in found["alarms"]
    assert "when the finished networks were timed" in found["alarms"]
    assert "A published table: the run measured nothing on this device." in found["fidelity"]
    assert "architectures.csv" not in html
    assert "gallery-data" not in html


def test_one_device_and_one_seed(make_search: Callable[..., Path]) -> None:
    html = write(make_search(devices=("cpu",), layers=4, seeds=1, epochs=4)).read_text(encoding="utf-8")
    assert [name for name in SECTIONS if name not in sections(html)] == ["devices"]
    assert 'href="#devices"' not in html
    assert "One seed, so there are no intervals." in html
    assert "±" not in html
    assert "95 % interval over seeds" not in html
    assert "Thin lines" not in html


def empty(name: str) -> Callable[[dict[str, Any]], None]:
    """Takes a part out of the result; `searches.x` out of every search."""

    def edit(result: dict[str, Any]) -> None:
        part, _, field = name.partition(".")
        if field:
            for row in result[part]:
                del row[field]
        else:
            result[part] = None

    return edit


SENTENCES = {
    "points": "there is no frontier to draw",
    "awareness": "no sentence on what the search was worth",
    "specialisation": "did not time each device’s network on the other devices",
    "searches.epoch": "kept no curves of the search",
    "searches.pareto": "kept no Pareto sets",
    "searches.probabilities": "gates of this search were not kept",
    "searches.derived": "No network was derived from this search",
    "space": "gates of this search were not kept, or do not fit",
    "alarms": "did not record whether there were alarms",
    "tables": "no measured architectures to compare the table with",
    "command": "did not record its command",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_what_is_missing_is_said_and_nothing_invented(
    name: str,
    make_search: Callable[..., Path],
    edit: Callable[..., Path],
    parse: Callable[[str], Any],
    visible: Callable[[str], str],
) -> None:
    several = {"devices": ("cpu", "pixel")} if name == "specialisation" else {"devices": ("cpu",)}
    folder = make_search(**several, published=(), layers=2, seeds=1, epochs=2, curves=name == "searches.epoch")
    edit(folder, empty(name))
    html = visible(write(folder).read_text(encoding="utf-8"))
    assert not parse(html).wrong
    assert SENTENCES[name] in html
    same = {"searches.epoch", "searches.probabilities"} if name == "space" else {"searches.epoch"}
    others = [sentence for other, sentence in SENTENCES.items() if other not in {name, "space"} | same]
    assert [sentence for sentence in others if sentence in html] == []
    text = re.sub(r"<[^>]*>", "", html)
    assert "None" not in text
    assert "nan" not in text.lower()


def test_nothing_but_the_schema(
    make_search: Callable[..., Path],
    edit: Callable[..., Path],
    parse: Callable[[str], Any],
    visible: Callable[[str], str],
) -> None:
    def bare(result: dict[str, Any]) -> None:
        for key in set(result) - {"schema", "method"}:
            del result[key]

    folder = edit(make_search(layers=3, seeds=1, curves=False), bare)
    (folder / "config.yaml").unlink()
    html = visible(write(folder).read_text(encoding="utf-8"))
    assert not parse(html).wrong
    assert "Not in the run folder: config.yaml." in html
    assert html.count('class="absent"') == 8
    assert "<table" not in html


def test_text_from_data_is_harmless(
    make_search: Callable[..., Path], edit: Callable[..., Path], parse: Callable[[str], Any]
) -> None:
    folder = make_search(devices=("cpu", EVIL, "{{ 7*7 }}"), published=(), layers=2, seeds=1, epochs=2)

    def poison(result: dict[str, Any]) -> None:
        result["title"] = result["awareness"]["sentence"] = result["points"][0]["note"] = EVIL
        result["alarms"] = [{"kind": EVIL, "stage": EVIL, "text": EVIL}]
        choice = result["space"]["choices"][0]
        for search in result["searches"]:
            search["seed"] = EVIL
            search["probabilities"][EVIL] = search["probabilities"].pop(choice["name"])
            for row in search["derived"]:
                del row["architecture"][choice["name"]]
                row["architecture"][EVIL] = EVIL
        choice["name"] = choice["options"][0] = EVIL

    html = write(edit(folder, poison)).read_text(encoding="utf-8")
    assert EVIL not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "{{ 7*7 }}" in html
    assert html.count("</script>") == 2
    assert not parse(html).wrong
    assert not [a for a in parse(html).addresses if not a.startswith("#")]


def test_alarms_are_on_the_page(make_search: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def ring(result: dict[str, Any]) -> None:
        result["alarms"] = [{"kind": "over budget", "stage": "timing", "text": "cpu, 1 ms: measured +3.1 % away"}]

    html = write(edit(make_search(devices=("cpu",), layers=3, seeds=1, curves=False), ring)).read_text(encoding="utf-8")
    assert "cpu, 1 ms: measured +3.1 % away" in sections(html)["alarms"]
    assert '<li class="warn"><span>alarms</span> <a href="#alarms">1</a></li>' in html
