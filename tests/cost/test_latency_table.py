"""Tables: what they predict, what they refuse, and what is left of them on disk."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
import torch
from planted import planted, planted_layers, planted_ms
from torch import nn

from archipel.architecture import Architecture
from archipel.cost import Device, LatencyTable
from archipel.errors import ArchitectureError, TableError
from archipel.space import Space


def test_predictions_are_the_planted_latencies(table: LatencyTable, space: Space) -> None:
    rng = random.Random(9)
    for _ in range(100):
        architecture = space.sample(rng)
        assert table.predict(architecture) == pytest.approx(planted_ms(architecture), rel=1e-6)


def test_linear_is_predict_for_canonical_codes(table: LatencyTable, space: Space) -> None:
    base, columns = table.linear()
    rng = random.Random(1)
    codes = torch.stack([space.encode(space.sample(rng)) for _ in range(200)])  # [B, D]
    summed = base + codes.double() @ columns  # [B]
    for code, ms in zip(codes, summed.tolist()):
        assert ms == pytest.approx(table.predict(space.decode(code)), rel=1e-12)


def test_an_empty_subset_costs_what_runs_in_its_place(table: LatencyTable, space: Space) -> None:
    base, columns = table.linear()
    loose = {"top": "plain", "bits": [], "maybe": [], "from": [0, 1], "cut": "s", "cell": "a"}
    canonical = space.canonical(loose)
    assert canonical["bits"] == ("o3",)
    assert table.predict(canonical) == table.predict(Architecture(loose))
    completed = space.complete(space.encode(canonical)[None])
    assert base + (completed.double() @ columns).item() == pytest.approx(table.predict(canonical))


def test_interval_holds_the_prediction(table: LatencyTable, space: Space) -> None:
    architecture = space.sample(random.Random(2))
    low, high = table.interval(architecture)
    assert low <= table.predict(architecture) <= high


def test_a_missing_entry_is_raised_never_invented(table: LatencyTable, space: Space) -> None:
    units = {key: unit for key, unit in table.units.items() if key != "cut=s"}
    holey = dataclasses.replace(table, units=units, _parts={})
    with_it = space.canonical(space.sample(random.Random(0)).replace(cut="s"))
    assert holey.missing(with_it) == ["cut=s"]
    with pytest.raises(TableError, match="no entry for 'cut=s'"):
        holey.predict(with_it)
    with pytest.raises(TableError, match="no entry for 'cut=s'"):
        holey.linear()
    holey.predict(space.canonical(with_it.replace(cut="t")))


def test_an_architecture_of_another_space_is_refused(table: LatencyTable) -> None:
    with pytest.raises(ArchitectureError):
        table.predict(Architecture({"elsewhere": "x"}))


def test_json_round_trip(table: LatencyTable, space: Space, device: Device, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.json"
    with_controller = table.with_controller(0.25)
    with_controller.save(path)
    again = LatencyTable.load(path, space=space, device=device, batch=1)
    assert again == with_controller
    assert again.controller_ms == 0.25
    rng = random.Random(0)
    for _ in range(10):
        architecture = space.sample(rng)
        assert again.predict(architecture) == table.predict(architecture)
        assert again.interval(architecture) == table.interval(architecture)
    assert [p.name for p in path.parent.iterdir()] == ["table.json"]


def _one_line(error: pytest.ExceptionInfo[TableError], *parts: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert all(part in text for part in parts), text


def test_tables_of_something_else_are_refused(
    table: LatencyTable, space: Space, device: Device, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    table.save(path)
    with pytest.raises(TableError) as error:
        LatencyTable.load(path, space=space, device=Device("cpu", 2))
    _one_line(error, "another device", "threads is 1 there and 2 here", "latency build")
    with pytest.raises(TableError) as error:
        LatencyTable.load(path, space=space, device=device, batch=64)
    _one_line(error, "batch size is 1 there and 64 here")
    with pytest.raises(TableError) as error:
        LatencyTable.load(path, space=Space(planted, stem=2.0), device=device)
    _one_line(error, "another space", "options")
    with pytest.raises(TableError) as error:
        LatencyTable.load(path, space=Space(planted_layers))
    _one_line(error, "another space", "planted_layers")


def test_an_option_left_at_its_default_is_that_option(
    table: LatencyTable, space: Space, device: Device, tmp_path: Path
) -> None:
    """One command names `width`, another leaves it out: the same space either way round."""
    path = tmp_path / "table.json"
    silent = Space(space.function)
    assert silent.options != space.options
    assert silent.completed(silent.options) == space.options
    table.save(path)
    assert LatencyTable.load(path, space=silent, device=device).units == table.units
    dataclasses.replace(table, space=silent).save(path)
    assert LatencyTable.load(path, space=space, device=device).units == table.units


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"schema": 99}'])
def test_what_is_no_table_is_refused(text: str, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(TableError, match=r"table\.json") as error:
        LatencyTable.load(path, space=space)
    _one_line(error)


def test_a_damaged_or_absent_table_is_refused(table: LatencyTable, space: Space, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no latency table"):
        LatencyTable.load(tmp_path / "absent.json", space=space)
    damaged = {key: value for key, value in table.to_json().items() if key != "calibration"}
    path = tmp_path / "table.json"
    path.write_text(json.dumps(damaged))
    with pytest.raises(TableError, match="damaged"):
        LatencyTable.load(path, space=space)
    first, *others = table.to_json()["units"].items()
    path.write_text(json.dumps(table.to_json() | {"units": dict(others)}))
    with pytest.raises(TableError, match=rf"table\.json' has no entry for '{first[0]}'; build it again"):
        LatencyTable.load(path, space=space)


def test_another_width_is_another_space(table: LatencyTable) -> None:
    assert table.to_json()["space"]["options"] == {"stem": 1.0}
    assert isinstance(table.space.build(table.space.sample(random.Random(0))), nn.Module)
