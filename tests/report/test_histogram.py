from dataclasses import replace
from pathlib import Path

from archipel.report.histogram import histogram
from archipel.report.run_folder import point, read
from archipel.report.theme import Panel


def test_counts_the_controller_when_the_points_do(finished: Path) -> None:
    run = read(finished)
    panel = histogram(run)
    assert isinstance(panel, Panel)
    assert "the controller included" in panel.sentence
    assert "static child" in str(panel.legend)
    unknown = replace(run, result={**run.result, "fidelity": None})
    panel = histogram(unknown)
    assert isinstance(panel, Panel)
    assert "controller" not in panel.sentence


def test_without_images(finished: Path) -> None:
    assert "no histogram" in str(histogram(replace(read(finished), variants={})))


def test_a_cascade_is_no_static_network_of_the_variant_with_its_letter(finished: Path) -> None:
    run = read(finished)
    row = {"name": "A", "kind": "child_cascade", "table_ms": {"mean": 0.6}, "sent_on": {"mean": 0.2}}
    assert str(histogram(replace(run, points=[*run.points, point(row)]))) == str(histogram(run))
