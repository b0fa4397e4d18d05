from dataclasses import replace
from pathlib import Path

from archipel.report.instance_curves import pretraining, search
from archipel.report.run_folder import read


def test_every_seed_has_its_figures(finished: Path) -> None:
    run = read(finished)
    assert [p.title for p in pretraining(run)] == ["Pre-training: accuracy", "Pre-training: loss"]
    seeds = search(run)
    assert [s.name for s in seeds] == ["Search, seed 0", "Search, seed 1", "Search, seed 2"]
    for seed in seeds:
        assert [p.title for p in seed.panels] == ["Latency and window", "Validation accuracy", "Reward", "Diversity"]
    assert ">D E<" in seeds[0].panels[0].svg


def test_half_a_search(finished: Path) -> None:
    run = read(finished)
    rows = [{"seed": 4, "epoch": [0], "map_ms": [1.0]}, {"seed": 5}, None, {"epoch": [0, 1], "reward": [None, 0.5]}]
    half = replace(run, result={"curves": {"pretraining": None, "search": rows}})
    assert pretraining(half) == []
    seeds = search(half)
    assert [(s.name, [p.title for p in s.panels]) for s in seeds] == [
        ("Search, seed 4", ["Latency and window"]),
        ("Search, seed 3", ["Reward"]),
    ]
