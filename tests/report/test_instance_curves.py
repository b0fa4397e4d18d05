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


def test_a_search_that_is_told_its_targets(finished: Path) -> None:
    asked = {"target_ms": [3.0, 2.0, 1.0], "map_ms": [2.7, 2.1, 1.2], "val_accuracy": [0.9, 0.9, 0.8]}
    rows = {"epoch": [0, 1], "window_low": [1.0] * 2, "window_high": [3.0] * 2, "val_accuracy": [0.7, 0.85]}
    rows |= {"fast_ms": [2.0, 1.3], "slow_ms": [2.0, 2.6], "multiplier": [31.0, 40.0], "reward": [3.0, 9.0]}
    row = {"seed": 0, **rows, "targets": {"A": 3.0, "E": 1.0}, "asked": asked}
    (seed,) = search(replace(read(finished), result={"curves": {"search": [row]}}))
    titles = ["Latency and targets", "Validation accuracy", "Reward", "What a target gives", "What a target costs"]
    assert [p.title for p in seed.panels] == titles
    by = dict(zip(titles, (str(p.svg) for p in seed.panels)))
    assert "for low targets" in by["Latency and targets"]
    assert "price of exceeding the target" in by["Reward"]
    for title in titles[3:]:
        assert "target, ms" in by[title]
        assert ">A<" in by[title]
        assert ">E<" in by[title]
        assert ">epoch<" not in by[title]
