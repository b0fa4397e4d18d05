from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from archipel.report.distribution import STRIP_CLASSES, map_panel, shown_variant, strips
from archipel.report.run_folder import read
from archipel.report.theme import Panel


def test_shown_variant_has_the_widest_relative_spread(finished: Path) -> None:
    run = read(finished)
    shown = shown_variant(run)
    assert shown is not None
    spreads = {v.name: v.latency_ms.std() / v.latency_ms.mean() for v in run.variants.values()}
    assert shown.name == max(spreads, key=spreads.__getitem__)


def test_strips_go_from_fast_to_slow_around_the_mean(finished: Path) -> None:
    run = read(finished)
    shown = shown_variant(run)
    assert shown is not None
    made, sentence = strips(run, shown)
    assert [strip.name for strip in made] == run.classes
    for strip in made:
        signs = [int(d.replace("−", "-").replace("±", "").split("\u202f")[0]) for _, d, _, _ in strip.images]
        assert signs == sorted(signs)
        mine = shown.latency_ms[np.array(shown.label) == strip.name] / shown.latency_ms.mean() - 1
        assert signs[0] == round(100 * mine.min())
        assert signs[-1] == round(100 * mine.max())
    assert "difference to the mean" in sentence


def test_many_classes_are_limited_and_said(make_run: Callable[..., Path]) -> None:
    run = read(make_run(classes=[f"class {i}" for i in range(30)], images=200, layers=3, seeds=1, epochs=2))
    shown = shown_variant(run)
    assert shown is not None
    made, sentence = strips(run, shown)
    assert len(made) == STRIP_CLASSES
    assert f"{STRIP_CLASSES} of 30 classes" in sentence


def test_a_collapsed_controller_has_no_map_and_no_strips(finished: Path) -> None:
    run = read(finished)
    assert run.instances is not None
    same = np.full((120, 85), 0.3, np.float32)
    flat = replace(run.variants["A"], latency_ms=np.ones(120))
    run = replace(run, instances=replace(run.instances, probabilities={"A": same}), variants={"A": flat})
    assert "same probabilities" in str(map_panel(run, flat))
    assert strips(run, flat)[0] == []
    assert "same time on every image" in strips(run, flat)[1]


def test_map_has_thumbnails_apart(finished: Path) -> None:
    run = read(finished)
    panel = map_panel(run, run.variants["C"])
    assert isinstance(panel, Panel)
    assert 10 < panel.svg.count("<image ") <= 30
    assert "PCA" in panel.sentence or "UMAP" in panel.sentence
