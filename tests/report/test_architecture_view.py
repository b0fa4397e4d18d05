from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archipel.report.architecture_view import GALLERY_IMAGES, Gallery, gallery
from archipel.report.distribution import shown_variant
from archipel.report.run_folder import read


def test_data_leads_back_to_the_file(finished: Path) -> None:
    run = read(finished)
    shown = shown_variant(run)
    made = gallery(run, shown)
    assert isinstance(made, Gallery)
    assert shown is not None
    assert len(made.thumbnails) == len(made.data["images"]) == 120
    for i, thumbnail in enumerate(made.thumbnails):
        index = int(thumbnail.label.split(",")[0].removeprefix("test image "))
        predicted, correct, ms, code = made.data["variants"]["B"]["rows"][i]
        b = run.variants["B"]
        assert made.data["codes"][code] == b.codes[index]
        assert (predicted, correct) == (b.predicted[index], b.correct[index])
        assert ms == pytest.approx(b.latency_ms[index])


@pytest.mark.parametrize("layers", [1, 4, 60])
def test_any_number_of_choices(layers: int, make_run: Callable[..., Path]) -> None:
    run = read(make_run(layers=layers, images=12, seeds=1, epochs=2))
    made = gallery(run, run.variants["A"])
    assert isinstance(made, Gallery)
    assert len(made.data["choices"]) == layers


def test_images_are_limited_and_spread_over_classes(make_run: Callable[..., Path]) -> None:
    run = read(make_run(images=900, layers=2, seeds=1, epochs=2))
    made = gallery(run, run.variants["A"])
    assert isinstance(made, Gallery)
    assert len(made.data["images"]) == GALLERY_IMAGES
    assert {made.data["images"].count(name) for name in run.classes} == {30}


def test_codes_that_do_not_fit_the_space(finished: Path) -> None:
    run = read(finished)
    odd = replace(run, result={**run.result, "space": {"choices": [{"name": "x", "options": ["a"]}]}})
    assert "cannot be drawn" in str(gallery(odd, run.variants["A"]))
    assert "no view" in str(gallery(replace(run, instances=None), run.variants["A"]))
    assert "no view" in str(gallery(run, None))
