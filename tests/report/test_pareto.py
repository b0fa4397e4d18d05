import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from archipel.report.pareto import pareto
from archipel.report.run_folder import read
from archipel.report.search_run import targets


def marks(svg: str, colour: str) -> int:
    """Filled markers of a colour."""
    return len(re.findall(rf'<use [^>]*style="fill: var\(--{colour}\)', svg))


def test_every_device_has_a_panel_with_all_seeds(searched: Path) -> None:
    found = targets(read(searched))
    panels = pareto(found)
    assert [panel.title for panel in panels] == ["cpu", "hw_tables.json:pixel3"]
    for panel in panels:
        assert [f">seed {seed}</text>" in panel.svg for seed in (0, 1, 2, 3)] == [True, True, True, False]
        assert [marks(panel.svg, colour) for colour in ("accent", "ink", "soft")] == [3, 3, 3]
        assert "3 searches, each with a Pareto set of 812 to 814 architectures, of which at most" in panel.sentence
        assert "too large to prove" in panel.sentence
    for budget in found[0].budgets:
        assert f">{budget:.3f}</text>" in panels[0].svg


def test_one_search_drawn_whole(searched: Path) -> None:
    (target, _) = targets(read(searched))
    first = target.searches[0]
    whole = replace(first, pareto_size=len(first.pareto), derived=[], argmax=None)
    (panel,) = pareto([replace(target, searches=[whole], budgets=(1e6,))])
    assert panel.sentence.startswith(f"One search with a Pareto set of {len(first.pareto)} architectures.")
    assert panel.sentence.endswith("Budget outside the frame: 1 000 000 ms.")
    assert marks(panel.svg, "accent") == 0
    assert "too large" not in panel.sentence


def test_without_sets_there_is_nothing(searched: Path) -> None:
    (target, _) = targets(read(searched))
    bare = [replace(search, pareto=np.empty((0, 2))) for search in target.searches]
    assert pareto([replace(target, searches=bare)]) == []
    assert pareto([]) == []


def test_a_set_of_one_architecture(searched: Path) -> None:
    (target, _) = targets(read(searched))
    one = replace(target.searches[0], pareto=np.array([[0.5, -1.0]]), pareto_size=1)
    (panel,) = pareto([replace(target, searches=[one])])
    assert "<svg" in panel.svg
    assert "a Pareto set of 1 architecture." in panel.sentence
