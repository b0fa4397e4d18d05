from collections.abc import Callable
from pathlib import Path

from archipel.report.run_folder import read
from archipel.report.search_curves import search
from archipel.report.search_run import targets

TITLES = ["Cost", "Decision", "Loss and accuracy", "Signal in the gates’ gradient"]


def test_every_device_has_its_figures(searched: Path) -> None:
    groups = search(targets(read(searched)))
    assert [group.name for group in groups] == ["cpu, 3 seeds", "hw_tables.json:pixel3, 3 seeds"]
    for group in groups:
        assert [panel.title for panel in group.panels] == TITLES
        assert all("Thin lines are the 3 seeds" in panel.sentence for panel in group.panels)
    cost, _, losses, _ = groups[0].panels
    assert cost.svg.count(">≤ ") == 3
    assert ">expected</text>" in cost.svg
    assert "reward of the gates" not in losses.svg
    assert "objective of the gates" in losses.svg


def test_one_seed_and_no_curves(make_search: Callable[..., Path]) -> None:
    (group,) = search(targets(read(make_search(devices=("cpu",), layers=4, seeds=1, epochs=3))))
    assert group.name == "cpu, 1 seed"
    assert not any("Thin lines" in panel.sentence for panel in group.panels)
    assert search(targets(read(make_search(devices=("cpu",), layers=4, seeds=1, curves=False)))) == []
