"""Building and checking tables on a device whose time is arithmetic."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
import torch
from planted import TICKER, Abacus, Takes, planted_layers, planted_ms, vanishing
from torch import nn

from archipel.choose import Choose
from archipel.cost import Device, LatencyTable, TableSettings, build, check, measure_controller, measure_missing
from archipel.cost.calibration import fit
from archipel.cost.latency_table import Reference
from archipel.cost.session import settle_norms
from archipel.errors import OptionError, TableError
from archipel.space import Space
from archipel.spaces import instanas

SMALL = TableSettings(cover=2, probed=10, calibrating=12, held_out=10, rounds=2)


def tiny(choose: Choose, *, layers: int = 2) -> nn.Module:
    return nn.Sequential(
        *(
            choose.op(f"l{i}", {n: lambda ms=ms: Takes(ms) for n, ms in [("a", 1.0), ("b", 3.0), ("c", 5.0)]})
            for i in range(layers)
        )
    )


def test_planted_latencies_are_recovered(table: LatencyTable) -> None:
    assert table.fidelity.n == 30
    assert table.fidelity.mape == pytest.approx(0, abs=1e-4)
    assert table.fidelity.tau == pytest.approx(1)
    assert table.base.ms == pytest.approx(1.5)
    assert table.units["bits=o1"].ms == pytest.approx(0.4019)
    assert table.units["cell=a"].ms == pytest.approx(0.62)  # it stands at two places
    assert table.units["bits=o1"].spread == pytest.approx(0, abs=1e-9)
    assert table.calibration.slope == pytest.approx(1, rel=1e-5)


@pytest.fixture(scope="module")
def noisy(space: Space, device: Device) -> LatencyTable:
    """Of a clock that is off by 2 %."""
    rng = random.Random(0)
    TICKER.noise = lambda: rng.gauss(1, 0.02)
    try:
        return build(space, device, input_shape=(3, 4, 4), seed=1, clock=TICKER)
    finally:
        TICKER.noise = lambda: 1.0


def test_networks_are_judged_by_a_line_that_is_not_fitted_to_them(noisy: LatencyTable) -> None:
    table = noisy
    calibrating, judged = table.references[:39], table.references[39:]
    assert len({r.architecture for r in table.references}) == 39 + 30

    def inside(references: tuple[Reference, ...]) -> list[float]:
        return [sum(table.units[key].ms for key in table.keys(r.architecture)) for r in references]

    line = fit(inside(calibrating), [r.ms for r in calibrating], base=table.base.ms)
    pairs = list(zip(map(line.predict, inside(judged)), [r.ms for r in judged]))
    assert pairs == [pytest.approx(pair) for pair in table.fidelity.pairs]
    # Afterwards they join.
    everyone = fit(inside(table.references), [r.ms for r in table.references], base=table.base.ms)
    assert table.calibration == everyone != line
    assert {r.architecture.key for r in table.references} < table.seen
    assert len(table.seen) >= 24 + 39 + 30


def test_check_on_fresh_networks(table: LatencyTable, device: Device) -> None:
    judged = check(table, device, networks=12, rounds=2, clock=TICKER)
    assert judged.n == 12
    assert judged.drawn == "uniform"
    assert judged.mape == pytest.approx(0, abs=1e-4)
    assert judged.speed == pytest.approx(1)


def test_check_tells_a_slow_machine_from_a_wrong_table(table: LatencyTable, device: Device) -> None:
    TICKER.noise = lambda: 1.25
    try:
        judged = check(table, device, networks=12, drawn="spread", rounds=2, clock=TICKER)
    finally:
        TICKER.noise = lambda: 1.0
    # The shortcut's tenth of a millisecond does not slow down with the rest, so neither is exact.
    assert judged.speed == pytest.approx(1.25, abs=0.01)
    assert judged.mape_uncorrected == pytest.approx(20, abs=1)
    assert judged.mape < 1
    assert judged.chance == pytest.approx(0, abs=1e-9)


def test_chance_is_what_rounds_differ_by(noisy: LatencyTable) -> None:
    # The parts of a network add up, so its own noise is a fraction of 2 %; its decile's over 100 rounds much less.
    assert 0.01 < noisy.fidelity.chance < 0.4
    assert "the measurements themselves are off by 0." in noisy.fidelity.sentence()


def test_noise_is_in_the_interval_and_the_fidelity(space: Space, device: Device) -> None:
    rng = random.Random(0)
    TICKER.noise = lambda: rng.gauss(1, 0.02)
    try:
        settings = TableSettings(calibrating=99, held_out=100, rounds=20)
        table = build(space, device, input_shape=(3, 4, 4), settings=settings, seed=1, clock=TICKER)
    finally:
        TICKER.noise = lambda: 1.0
    assert 0 < table.calibration.margin(0.9) < 0.02
    assert 0 < table.fidelity.mape < 2
    assert table.fidelity.tau > 0.95
    # 90 of 100 residuals: the share inside is Beta(90, 10), of which 100 networks are a sample; 3 standard deviations.
    assert table.fidelity.coverage >= 77
    assert any(abs(m / p - 1) > 0.5 * table.calibration.margin(0.9) for p, m in table.fidelity.pairs)


def test_check_on_another_device_is_refused(table: LatencyTable) -> None:
    with pytest.raises(TableError, match="latency build"):
        check(table, Device("cpu", 2))


def test_missing_entries_are_measured_at_the_tables_speed(table: LatencyTable, space: Space, device: Device) -> None:
    units = {key: unit for key, unit in table.units.items() if key not in ("top=plain", "cell=b")}
    holey = dataclasses.replace(table, units=units, _parts={})
    wanted = space.canonical(space.sample(random.Random(0)).replace(top="plain", cell="b"))
    TICKER.noise = lambda: 2.0  # the machine has become slower since
    try:
        mended = measure_missing(holey, device, [wanted], rounds=2, clock=TICKER)
    finally:
        TICKER.noise = lambda: 1.0
    assert mended.units["top=plain"].ms == pytest.approx(2.0, rel=0.01)
    assert mended.predict(wanted) == pytest.approx(planted_ms(wanted), rel=0.01)
    assert measure_missing(mended, device, [wanted], clock=TICKER) is mended


def test_a_space_of_values_has_a_table_of_layers(device: Device) -> None:
    space = Space(planted_layers, layers=7)
    table = build(space, device, input_shape=(3, 4, 4), settings=SMALL, clock=TICKER)
    assert set(table.units) == {f"Takes({ms})@1x3x4x4" for ms in (0.7, 1, 2, 4)}
    assert table.units["Takes(4)@1x3x4x4"].ms == pytest.approx(4)
    architecture = space.sample(random.Random(3))
    assert table.predict(architecture) == pytest.approx(0.7 + sum(architecture.values()), rel=1e-5)
    with pytest.raises(TableError, match="value choices"):
        table.linear()


def test_parts_timed_alone_give_the_same_entries(
    table: LatencyTable, space: Space, abacus: Device, device: Device
) -> None:
    alone = build(space, abacus, input_shape=(3, 4, 4), seed=3, clock=TICKER)
    assert alone.scheme == "columns"
    assert {key: unit.ms for key, unit in alone.units.items()} == pytest.approx(
        {key: table.units[key].ms for key in alone.units}
    )
    assert alone.units.keys() == table.units.keys()
    # A network is one call, so it pays for one; its parts do not.
    assert alone.base.ms == pytest.approx(1.5 + Abacus.CALL)
    assert alone.fidelity.mape == pytest.approx(0, abs=1e-4)
    assert alone.fidelity.tau == pytest.approx(1)
    base, columns = alone.linear()
    assert base + float(columns @ space.encode(architecture := space.sample(random.Random(5))).double()) == (
        pytest.approx(planted_ms(architecture) + Abacus.CALL, rel=1e-4)
    )
    with pytest.raises(TableError, match="archipel latency build"):
        check(alone, device, clock=TICKER)
    judged = check(alone, abacus, networks=10, rounds=2, clock=TICKER)
    assert judged.mape == pytest.approx(0, abs=1e-4)


def test_equal_parts_are_bound_once(abacus: Device) -> None:
    space = Space(vanishing, layers=5)
    table = build(space, abacus, input_shape=(3, 4, 4), settings=SMALL, clock=TICKER)
    # "a" is alike in all five layers, "b" is of its own in each; the shortcut is timed with them.
    assert Abacus.bound.count("Residual") == 1 + 5
    assert Abacus.bound.count("Sequential") == 12 + 10
    assert table.units["l3=zero"].ms == 0
    assert table.units["l3=b"].ms == pytest.approx(2.4)
    assert table.fidelity.mape == pytest.approx(0, abs=1e-4)


def test_a_bypass_is_an_entry_of_nothing_in_place_too(device: Device) -> None:
    table = build(Space(vanishing, layers=5), device, input_shape=(3, 4, 4), settings=SMALL, clock=TICKER)
    assert table.units["l3=zero"].ms == 0
    assert table.units["l3=b"].ms == pytest.approx(2.4)
    assert table.fidelity.mape == pytest.approx(0, abs=1e-4)


def test_values_on_a_device_without_hooks_have_an_entry_a_block(abacus: Device, tmp_path: Path) -> None:
    space = Space(planted_layers, layers=7)
    table = build(space, abacus, input_shape=(3, 4, 4), settings=SMALL, clock=TICKER)
    assert table.scheme == "blocks"
    assert sorted(unit.ms for unit in table.units.values()) == pytest.approx([0.7, 1, 2, 4])
    architecture = space.sample(random.Random(3))
    assert table.predict(architecture) == pytest.approx(0.7 + Abacus.CALL + sum(architecture.values()), rel=1e-5)
    lacking = next(key for key, unit in table.units.items() if unit.ms == pytest.approx(4))
    holey = dataclasses.replace(table, units={k: u for k, u in table.units.items() if k != lacking}, _parts={})
    holey.save(tmp_path / "t.json")
    loaded = LatencyTable.load(tmp_path / "t.json", space=space, device=abacus)
    wanted = space.canonical(dict.fromkeys([choice.name for choice in space.choices], 4))
    assert loaded.missing(wanted) == [lacking]
    Abacus.bound.clear()
    mended = measure_missing(loaded, abacus, [wanted], rounds=2, clock=TICKER)
    assert mended.predict(wanted) == pytest.approx(0.7 + Abacus.CALL + 28, rel=1e-4)
    assert len(Abacus.bound) <= 1 + 4  # a call of nothing, and parts alone: no whole network


def test_a_small_space_keeps_some_architectures_to_judge_on(device: Device) -> None:
    space = Space(tiny)
    table = build(space, device, input_shape=(3, 4, 4), settings=SMALL, clock=TICKER)
    assert table.fidelity.n >= 2
    assert table.fidelity.mape == pytest.approx(0, abs=1e-4)
    assert table.fidelity.nominal < 90  # so few residuals support no more
    judged_too = {a.key for a in space}
    assert table.seen == judged_too
    with pytest.raises(TableError, match="no architecture that its table was not made with"):
        check(table, device, clock=TICKER)


def test_too_small_a_space_is_refused(device: Device) -> None:
    with pytest.raises(TableError, match="too few for a latency table"):
        build(Space(tiny, layers=1), device, input_shape=(3, 4, 4), clock=TICKER)


def test_a_controller_is_an_entry_of_its_own(table: LatencyTable, device: Device) -> None:
    with_controller = measure_controller(table, device, Takes(0.35), rounds=2, clock=TICKER)
    assert with_controller.controller_ms == pytest.approx(0.35)
    architecture = table.references[0].architecture
    assert with_controller.predict(architecture) == table.predict(architecture)


def test_same_seed_same_table(space: Space, device: Device) -> None:
    first, again, other = (
        build(space, device, input_shape=(3, 4, 4), settings=SMALL, seed=seed, clock=TICKER) for seed in (3, 3, 4)
    )
    assert again.seen == first.seen != other.seen
    assert [r.architecture for r in again.references] == [r.architecture for r in first.references]


def test_settings_that_measure_nothing_are_refused() -> None:
    with pytest.raises(OptionError, match="rounds is 0"):
        TableSettings(rounds=0)


def test_settled_norms_keep_signals_at_their_size() -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(60)]
    net, x = nn.Sequential(*layers).eval(), torch.randn(4, 8, 6, 6)
    with torch.no_grad():
        fresh = net(x).std()
        settle_norms(net, x)
        settled = net(x).std()
    assert fresh < 1e-6
    assert 0.1 < settled < 10
    assert not any(part.training for part in net.modules())
    assert net[0][1].momentum == 0.1


def test_the_wall_clock_builds_a_table_of_a_real_space() -> None:
    space = Space(instanas, macro="digits", channels=1, size=8)
    table = build(space, Device("cpu", 1), input_shape=(1, 8, 8), settings=dataclasses.replace(SMALL, rounds=1))
    assert all(unit.ms > 0 for unit in table.units.values())
    assert len(table.units) == space.width
    assert table.predict(space.sample(random.Random(0))) > 0
