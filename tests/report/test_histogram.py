from dataclasses import replace
from pathlib import Path

from archipel.report.histogram import histogram
from archipel.report.run_folder import read
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
