from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archipel.report.gates import SeedGates, gates
from archipel.report.run_folder import read
from archipel.report.search_run import Target, targets


@pytest.fixture
def first(searched: Path) -> SeedGates:
    run = read(searched)
    found = gates(run, targets(run))
    assert not isinstance(found, str)
    assert [one.name for one in found[:4]] == [
        "cpu, seed 0",
        "cpu, seed 1",
        "cpu, seed 2",
        "hw_tables.json:pixel3, seed 0",
    ]
    return found[0]


def test_map_holds_every_probability(first: SeedGates, searched: Path) -> None:
    row = read(searched).result["searches"][0]
    assert first.map is not None
    assert first.map.head == ["layer", "k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "zero"]
    assert [name for name, _, _ in first.map.rows] == list(row["probabilities"])
    for name, _, cells in first.map.rows:
        shares = row["probabilities"][name]
        assert [cell.text for cell in cells if cell.text] == [f"{100 * share:.0f}" for share in shares]
        assert [cell.heat for cell in cells if cell.heat is not None] == pytest.approx(shares)
        assert (cells[6].text == "") == (len(shares) == 6)


def test_framed_is_what_the_derived_networks_take(first: SeedGates, searched: Path) -> None:
    derived = read(searched).result["searches"][0]["derived"]
    assert first.map is not None
    options = first.map.head[1:]
    for name, _, cells in first.map.rows:
        taken = [row["architecture"][name] for row in derived]
        assert {options[i] for i, cell in enumerate(cells) if cell.marked} == set(taken)
        everyone = len(set(taken)) == 1
        assert any(cell.note == "1–3" for cell in cells) == everyone
    assert "(1 for ≤" in first.map.sentence


def test_networks_are_drawn_from_what_was_derived(first: SeedGates, searched: Path) -> None:
    derived = read(searched).result["searches"][0]["derived"]
    nets = first.networks
    assert nets is not None
    assert len(nets.head) == 4
    for name, blocks in nets.rows:
        assert [block.text for block in blocks if block] == [row["architecture"][name] for row in derived]
    looks = {block.text: block for _, line in nets.rows for block in line if block}
    assert looks["zero"].gap
    for option, block in looks.items():
        if option != "zero":
            assert (block.height, block.width) == (int(option[1]) / 7, int(option[3]) / 6)
    assert dict(nets.figures)["candidates"] == ["16", "16", "16"]
    assert dict(nets.figures)["inherited accuracy"] == ["70.0 %", "75.0 %", "80.0 %"]
    assert "as wide as its expansion" in nets.sentence
    assert "the most accurate with the weights of the search was taken" in nets.sentence


def only(folder: Path) -> tuple[SeedGates, Target]:
    run = read(folder)
    found = gates(run, targets(run))
    assert not isinstance(found, str)
    return found[0], targets(run)[0]


def test_other_options_and_inactive_choices(make_search: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def rename(result: dict[str, Any]) -> None:
        result["space"]["choices"] = [
            {"name": "kind", "options": ["conv", "pool"]},
            {"name": "kind.size", "options": ["small", "large", "k3e6"]},
        ]
        search = result["searches"][0]
        search["probabilities"] = {"kind": [0.25, 0.75], "kind.size": [0.2, 0.2, 0.6]}
        search["derived"] = search["derived"][:2]
        search["derived"][0]["architecture"] = {"kind": "pool"}
        search["derived"][1]["architecture"] = {"kind": "conv", "kind.size": "large"}

    one, _ = only(edit(make_search(devices=("cpu",), layers=3, seeds=1, curves=False), rename))
    assert one.map is not None
    assert [cell.note for cell in one.map.rows[0][2]] == ["2", "1", "", "", ""]
    assert [cell.note for cell in one.map.rows[1][2]] == ["", "", "", "2", ""]
    assert one.networks is not None
    assert [None if block is None else block.text for block in one.networks.rows[1][1]] == [None, "large"]
    assert {block.width for _, line in one.networks.rows for block in line if block} == {1.0}
    assert "expansion" not in one.networks.sentence


def test_what_does_not_fit_is_left_out_and_said(make_search: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def shorten(result: dict[str, Any]) -> None:
        result["space"]["choices"][1]["options"].pop()

    folder = make_search(devices=("cpu",), layers=3, seeds=1, curves=False)
    one, _ = only(edit(folder, shorten))
    assert one.map is not None
    assert [name for name, _, _ in one.map.rows] == ["b1", "b3"]
    assert "Left out: 1 choice whose options" in one.map.sentence


def test_without_gates_or_space(searched: Path) -> None:
    run = read(searched)
    found = targets(run)
    bare = [replace(t, searches=[replace(s, derived=[], probabilities={}) for s in t.searches]) for t in found]
    assert gates(run, bare) == "The run kept neither gates nor derived networks."
    unnamed = replace(run, result={**run.result, "space": None})
    unlike = [replace(t, searches=[replace(s, derived=[]) for s in t.searches]) for t in found]
    assert "cannot be named" in str(gates(unnamed, unlike))
    drawn = gates(unnamed, found)
    assert not isinstance(drawn, str)
    assert drawn[0].map is None
    assert drawn[0].networks is not None
