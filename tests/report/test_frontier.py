from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archipel.report.frontier import View, headline, short_name, undominated, verdict, views
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


def test_name_of_a_device_is_kept_whole() -> None:
    assert (
        short_name(Point("cuda:0@32, 0.4 ms", "proxylessnas", {}, None, None, "cuda:0@32", 0.4)) == "cuda:0@32, 0.4 ms"
    )


def test_undominated() -> None:
    points = [at("A", "instanas", 0.9, 2), at("B", "instanas", 0.8, 1), at("x", "mobilenet_v2", 0.9, 2)]
    assert undominated(points, "table_ms") == ([points[1]], 2)
    assert undominated(points, "measured_ms") == ([], 0)
    ours = [at("a", "proxylessnas", 0.9, 2), at("r", "random_architecture", 0.8, 2)]
    assert undominated(ours, "table_ms") == ([ours[0]], 1)


def test_another_method_is_a_baseline_of_the_one_that_a_run_was_for() -> None:
    points = [at("A", "instanas", 0.9, 2), at("g", "blockdrop", 0.95, 1), at("t", "convnet_aig", 0.8, 3)]
    assert undominated(points, "table_ms") == ([], 1)
    assert undominated(points[1:], "table_ms") == ([points[1]], 1)


def test_headline_says_ranges(finished: Path) -> None:
    sentences = headline(read(finished))
    assert sentences[0].startswith("5 InstaNAS variants: 9")
    assert "measured one image at a time" in sentences[0]
    assert sentences[1].startswith("5 MobileNetV2 widths: ")
    assert "comparing means" in sentences[2]


def test_one_view_a_device(searched: Path) -> None:
    run = read(searched)
    here, elsewhere = views(run.result, run.points)
    assert (here.figure, here.title, here.how) == ("measured_ms", "cpu", "measured")
    assert (elsewhere.figure, elsewhere.title) == ("table_ms", "hw_tables.json:pixel3 (published table)")
    assert here.budgets == pytest.approx(tuple(run.result["tables"][0]["budgets_ms"]))
    assert {p.target for p in elsewhere.points} == {"hw_tables.json:pixel3"}
    assert (here.without, elsewhere.without) == ((), ("MobileNetV2",))
    assert "no baseline with a latency there" in str(verdict(elsewhere))


def test_devices_stand_in_the_order_of_the_tables(searched: Path) -> None:
    run = read(searched)
    turned = {"tables": run.result["tables"][::-1]}
    assert [view.target for view in views(turned, run.points)] == ["hw_tables.json:pixel3", "cpu"]
    assert [view.target for view in views({}, run.points)] == ["cpu", "hw_tables.json:pixel3"]


def test_headline_of_a_search(searched: Path) -> None:
    here, elsewhere, pooled = headline(read(searched))
    assert here.startswith("For cpu, 3 ProxylessNAS networks: 9")
    assert ", measured, at " in here
    assert here.endswith(" % of their budgets.")
    assert elsewhere.endswith("per image, by the published table.")
    assert pooled.startswith(
        "No baseline with a known latency is both as fast and as accurate as 6 of these 6 networks"
    )


def test_headline_of_one_network(make_search: Callable[..., Path]) -> None:
    one, told = headline(read(make_search(devices=("cpu",), budgets=1, layers=4, seeds=1, curves=False)))
    assert one.startswith("For cpu, 1 ProxylessNAS network: ")
    assert one.endswith(" % of its budget.")
    assert told.startswith("In measured time on cpu no baseline is both as fast and as accurate as the network for ")


def test_a_beaten_search_says_so() -> None:
    rows = [at("a", "proxylessnas", 0.8, 2), at("b", "mobilenet_v2", 0.9, 1)]
    assert "every variant is matched" in str(verdict(View("table_ms", "", "", "", rows)))
    assert "every network is matched" in str(verdict(View("table_ms", "", "", "", rows, "cpu")))
    assert verdict(View("table_ms", "", "", "", rows[:1])) is None


def test_no_network_of_its_own(make_search: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def only_controls(result: dict[str, Any]) -> None:
        result["points"] = [p for p in result["points"] if p["kind"] != "proxylessnas"]

    folder = edit(make_search(layers=4, seeds=1, curves=False), only_controls)
    assert headline(read(folder)) == ["This run has no network of its own with both an accuracy and a latency."]
