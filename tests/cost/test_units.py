"""Which parts of a child the table has entries for."""

from __future__ import annotations

import random

import pytest
import torch
from planted import TICKER, planted_layers, vanishing

from archipel.architecture import Architecture
from archipel.cost import Device
from archipel.cost.units import BASE, Scheme, columns_of, parts_of, probe, scheme_of
from archipel.space import Space
from archipel.spaces import instanas


def keys_of(space: Space, architecture: Architecture, shape: tuple[int, ...], scheme: Scheme) -> list[str]:
    return [key for _, key in parts_of(space, architecture, shape, scheme)]


def test_columns_follow_the_code(space: Space) -> None:
    columns = columns_of(space)
    rng = random.Random(0)
    for _ in range(20):
        architecture = space.sample(rng)
        on = [column for column, bit in zip(columns, space.encode(architecture).tolist()) if bit]
        assert sorted(keys_of(space, architecture, (1, 3, 4, 4), "columns")) == sorted(on)


def test_a_probe_splits_a_pass_without_loss(space: Space) -> None:
    architecture = space.canonical(
        {"top": "deep", "inner": "q", "bits": ["o0", "o2"], "maybe": [], "from": [0, 2], "cut": "t", "cell": "b"}
    )
    child, x = space.build(architecture), torch.zeros(1, 3, 4, 4)
    probed = probe(child, space, architecture, x, TICKER)
    child(x)
    child(x)
    first, second = probed.runs()
    assert first == pytest.approx(second)
    assert first == pytest.approx(
        {BASE: 1.5, "top=deep": 0.5, "inner=q": 0.761, "bits=o0": 0.2003, "bits=o2": 0.6047, "from=0": 0.15007,
         "from=2": 0.45337, "cut=t": 0.2, "cell=b": 1.94}
    )  # fmt: skip
    assert probed.runs() == []


@pytest.mark.parametrize("shortcut", ["shared", "per_op"])
def test_every_chosen_candidate_of_instanas_is_found(shortcut: str) -> None:
    space = Space(instanas, macro="digits", channels=1, size=8, shortcut=shortcut)
    x, rng = torch.zeros(1, 1, 8, 8), random.Random(0)
    for _ in range(5):
        architecture = space.sample(rng)
        child = space.build(architecture).eval()
        probed = probe(child, space, architecture, x, TICKER)
        with torch.inference_mode():
            child(x)
        (spent,) = probed.runs()
        assert set(spent) - {BASE} == set(keys_of(space, architecture, (1, 1, 8, 8), "columns"))


def test_spaces_with_values_have_an_entry_a_layer(abacus: Device) -> None:
    space = Space(planted_layers)
    assert scheme_of(space, Device("cpu")) == "layers"
    assert scheme_of(space, abacus) == "blocks"
    architecture = space.canonical({"w0": 1, "w1": 4, "w2": 4, "w3": 2})
    keys = keys_of(space, architecture, (1, 3, 4, 4), "layers")
    assert keys == [f"Takes({ms})@1x3x4x4" for ms in (0.7, 1, 4, 4, 2)]
    blocks = keys_of(space, architecture, (1, 3, 4, 4), "blocks")
    assert [blocks.index(key) for key in blocks] == [0, 1, 2, 2, 4]
    for scheme in ("layers", "blocks"):
        places = [place for place, _ in parts_of(space, architecture, (1, 3, 4, 4), scheme)]
        assert len(set(places)) == 5  # equal layers stand in different places


def test_an_option_that_makes_its_place_vanish_costs_nothing() -> None:
    space = Space(vanishing)
    child, x = space.build({"l0": "zero", "l1": "a"}), torch.zeros(1, 3, 4, 4)
    probed = probe(child, space, space.canonical({"l0": "zero", "l1": "a"}), x, TICKER)
    child(x)
    (spent,) = probed.runs()
    assert spent == pytest.approx({BASE: 0.7, "l0=zero": 0.0, "l1=a": 1.3})
