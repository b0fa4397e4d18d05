"""Measure a latency table, complete it, and check it later."""

from __future__ import annotations

import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from torch import nn

from archipel.architecture import Architecture
from archipel.cost.calibration import fit
from archipel.cost.device import Device
from archipel.cost.drawing import draw, first_with_each
from archipel.cost.fidelity import Fidelity, score
from archipel.cost.latency_table import LatencyTable, Reference, Unit
from archipel.cost.measure import Clock, clock_of, measure
from archipel.cost.session import Measured, Nursery, bound, measure_children
from archipel.cost.spread import spread_sample
from archipel.cost.units import BASE, Scheme, parts_of, scheme_of
from archipel.errors import OptionError, TableError
from archipel.progress import SILENT, Progress
from archipel.space import Space

__all__ = ["TableSettings", "build", "check", "measure_beside", "measure_controller", "measure_missing"]


@dataclass(frozen=True)
class TableSettings:
    """How much is measured. The defaults took 15 CPU seconds for a 6-layer InstaNAS space of 8×8 images and 52 for
    the 17-layer one of 32×32 images at width 0.25, on one core of 2.6 GHz that five other programs shared."""

    cover: int = 4
    """In how many networks at least every option is measured."""
    probed: int = 24
    """Fewest networks measured unit by unit."""
    calibrating: int = 39
    """Networks the line is fitted to when it is judged. The interval is a quantile of their residuals: of 39 it is the
    36th, which holds 90 % of new networks on average, give or take 5 % from table to table."""
    held_out: int = 30
    """Networks the table is judged on; afterwards they join the calibration."""
    rounds: int = 100
    """Timed passes of each network; the figure kept is their lower decile. Two sessions with 40 passes differed by
    1.2 % a network, with 100 by 0.7 %, with 200 by 0.6 %, on a machine whose speed drifted by a third."""
    seconds: float = 90.0
    """Fewer rounds are done, but at least 12, when all rounds would take longer than this."""
    level: float = 0.9
    """Of the prediction intervals that are judged."""

    def __post_init__(self) -> None:
        for name in ("cover", "probed", "calibrating", "held_out", "rounds"):
            if getattr(self, name) < 1:
                raise OptionError(f"table setting {name} is {getattr(self, name)}; give at least 1")


def build(
    space: Space,
    device: Device,
    *,
    input_shape: tuple[int, int, int],
    batch: int = 1,
    settings: TableSettings | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    clock: Clock | None = None,
) -> LatencyTable:
    """Measure the latency table of a space on a device.

    Three sets of random architectures are built and take turns in one session: some part by part (the entries), some
    whole (the calibration), some whole to judge the result. Once it is judged, and the figures are fixed, the last
    join the calibration.

    Args:
        input_shape: `[C, H, W]` of an image.
        batch: images in a pass.
        seed: draws the architectures, their weights, the inputs and the order of measuring.
        clock: another clock than the device's own (an arithmetic one in tests).

    Raises:
        TableError: the space has too few architectures to be worth a table.
    """
    settings = settings or TableSettings()
    rng = random.Random(seed)
    widest = max((len(choice.options) for choice in space.choices), default=1)
    drawn = draw(
        space,
        rng,
        by_part=max(settings.probed, settings.cover * widest),
        calibrating=settings.calibrating,
        held_out=settings.held_out,
    )
    by_part, calibrating, held_out = drawn.by_part, drawn.calibrating, drawn.held_out
    scheme = scheme_of(space, device)
    if scheme == "columns" and not device.backend.hooks:
        by_part = first_with_each(by_part)
    nursery = Nursery(space, device, (batch, *input_shape), seed)
    progress.say(
        f"latency table of '{space.name}' on {device.describe()}, batch {batch}: {len(by_part)} networks by part, "
        f"{len(calibrating)} to calibrate, {len(held_out)} to judge"
    )
    parts, whole, rounds = measure_children(
        nursery,
        by_part,
        [*calibrating, *held_out],
        rounds=settings.rounds,
        seconds=settings.seconds,
        rng=rng,
        clock=clock,
        progress=progress,
        title="Measuring latency",
    )
    samples = _by_key(parts, nursery, scheme)
    base = samples.pop(BASE, [0.0])
    units = {key: _unit(values) for key, values in samples.items()}
    references = tuple(Reference(child.architecture, child.ms) for child in whole[: len(calibrating)])
    table = LatencyTable(
        space=space,
        scheme=scheme,
        device_name=device.name,
        fingerprint=device.fingerprint(),
        batch=batch,
        input_shape=input_shape,
        base=_unit(base),
        units=units,
        calibration=fit([], [], base=_unit(base).ms),
        fidelity=_NOTHING_JUDGED,
        references=references,
        seen=frozenset(a.key for a in (*by_part, *calibrating, *held_out)),
        rounds=rounds,
        seed=seed,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    lacking = [a for a in (*calibrating, *held_out) if table.missing(a)]
    if lacking:
        table = measure_missing(table, device, lacking, seed=seed, progress=progress, clock=clock)
    if not device.backend.hooks:  # what stands outside the parts is what their sum lacks of whole networks
        table = replace(table, base=_unit([max(r.ms - _inside(table, r), 0.0) for r in references]))
    judged = _judge(_calibrated(table, references), whole[len(calibrating) :], settings.level, drawn.how)
    progress.say(judged.sentence())
    # Judged, they may join: twice the networks halve what chance has in the line and in the width of intervals.
    joined = tuple(Reference(child.architecture, child.ms) for child in whole)
    return replace(_calibrated(table, joined), fidelity=judged)


def _calibrated(table: LatencyTable, references: tuple[Reference, ...]) -> LatencyTable:
    line = fit([_inside(table, r) for r in references], [r.ms for r in references], base=table.base.ms)
    return replace(table, calibration=line, references=references)


def _inside(table: LatencyTable, reference: Reference) -> float:
    return sum(table.units[key].ms for key in table.keys(reference.architecture))


def check(
    table: LatencyTable,
    device: Device,
    *,
    networks: int = 30,
    drawn: Literal["uniform", "spread"] = "uniform",
    rounds: int = 100,
    seconds: float = 60.0,
    level: float = 0.9,
    seed: int = 1,
    progress: Progress = SILENT,
    clock: Clock | None = None,
) -> Fidelity:
    """Judge a table on fresh networks, which it was neither made nor judged with before.

    Some of its calibration networks are measured again among them, one to four fresh ones and at least eight, to tell
    how fast the machine is now.

    Args:
        rounds: timed passes of each network.
        seconds: fewer are done, but at least 12, where they would take longer.

    Raises:
        TableError: the table is of another device, or the space has no fresh architecture left.
    """
    if dict(table.fingerprint) != device.fingerprint():
        raise TableError(
            f"the latency table was measured on {dict(table.fingerprint)} and this is {device.fingerprint()}; "
            "build one here with 'archipel latency build'"
        )
    rng = random.Random(seed)
    fresh: dict[Architecture, None] = {}
    for _ in range(100 * networks):
        architecture = table.space.sample(rng) if drawn == "uniform" else spread_sample(table.space, rng)
        if architecture.key not in table.seen and len(fresh) < networks:
            fresh[architecture] = None
    if not fresh:
        raise TableError(
            f"space '{table.space.name}' has no architecture that its table was not made with; "
            "its fidelity is what the build reported"
        )
    table = measure_missing(table, device, fresh, seed=seed, progress=progress, clock=clock)
    references = _speed_references(table, max(8, networks // 4))
    nursery = Nursery(table.space, device, (table.batch, *table.input_shape), seed)
    _, whole, _ = measure_children(
        nursery,
        [],
        [*fresh, *(r.architecture for r in references)],
        rounds=rounds,
        seconds=seconds,
        rng=rng,
        clock=clock,
        progress=progress,
        title="Checking the latency table",
    )
    again = whole[len(fresh) :]
    speed = statistics.median(now.ms / then.ms for now, then in zip(again, references))
    if abs(speed - 1) > 0.1:
        progress.alarm(f"the machine takes {speed:.2f} × the time it took when the table was measured")
    return _judge(table, whole[: len(fresh)], level, drawn, speed)


def measure_missing(
    table: LatencyTable,
    device: Device,
    architectures: Iterable[Architecture],
    *,
    rounds: int = 30,
    seed: int = 0,
    progress: Progress = SILENT,
    clock: Clock | None = None,
) -> LatencyTable:
    """The table with entries for every part of `architectures`: what it lacks is measured in place.

    Reference networks are probed in the same session; where their parts take longer or shorter than the
    table says, the new entries are scaled to the table's time. A table that lacks nothing comes back as it is.
    """
    lacking: list[Architecture] = []
    known = set(table.units)
    for architecture in architectures:
        keys = set(table.keys(architecture))
        if not keys <= known:
            lacking.append(architecture)
            known |= keys
    if not lacking:
        return table
    nursery = Nursery(table.space, device, (table.batch, *table.input_shape), seed)
    # Parts that are timed alone are many to a network, and one or two networks hold enough of them.
    references = _speed_references(table, 8 if device.backend.hooks else 2)
    children = [*lacking, *(r.architecture for r in references if not table.missing(r.architecture))]
    parts, _, _ = measure_children(
        nursery,
        children,
        [],
        rounds=rounds,
        rng=random.Random(seed),
        clock=clock,
        progress=progress,
        title="Measuring missing entries",
    )
    samples = _by_key(parts, nursery, table.scheme)
    samples.pop(BASE, None)
    medians = {key: statistics.median(values) for key, values in samples.items()}
    ratios = [medians[key] / table.units[key].ms for key in medians if table.units.get(key, _unit([0.0])).ms > 0]
    speed = statistics.median(ratios) if ratios else 1.0
    new = {key: _unit([value / speed for value in values]) for key, values in samples.items() if key not in table.units}
    return replace(table, units={**table.units, **new})


def measure_controller(
    table: LatencyTable,
    device: Device,
    controller: nn.Module,
    *,
    rounds: int = 60,
    seed: int = 0,
    clock: Clock | None = None,
) -> LatencyTable:
    """The table with the controller's own entry: one pass of a batch of the table's input shape."""
    found = measure_beside(table, device, {"controller": controller}, rounds=rounds, seed=seed, clock=clock)
    return table.with_controller(found["controller"])


def measure_beside(
    table: LatencyTable,
    device: Device,
    networks: Mapping[str, nn.Module],
    *,
    rounds: int = 60,
    seed: int = 0,
    clock: Clock | None = None,
) -> dict[str, float]:
    """Whole networks from outside the space in the table's own time: milliseconds of one pass of a batch each.

    Timed by turns with reference networks, by which they are scaled to the machine's speed at the table's time.
    """
    references = _speed_references(table)
    nursery = Nursery(table.space, device, (table.batch, *table.input_shape), seed)
    pairs = {f"own {name}": (device.prepare(net), nursery.inputs) for name, net in networks.items()}
    pairs |= {str(i): (nursery.build(r.architecture), nursery.inputs) for i, r in enumerate(references)}
    candidates = bound(pairs, device, SILENT)
    timings = measure(candidates, device, rounds=rounds, rng=random.Random(seed), clock=clock or clock_of(device))
    speed = statistics.median(timings[str(i)].ms / r.ms for i, r in enumerate(references))
    return {name: timings[f"own {name}"].ms / speed for name in networks}


_NAN = float("nan")
_NOTHING_JUDGED = Fidelity(0, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, ())


def _judge(table: LatencyTable, children: Sequence[Measured], level: float, drawn: str, speed: float = 1.0) -> Fidelity:
    level = min(level, table.calibration.highest)  # of a tiny space; the level judged is reported
    return score(
        [table.predict(child.architecture) for child in children],
        [child.ms for child in children],
        margin=table.calibration.margin(level),
        nominal=level,
        drawn=drawn,
        speed=speed,
        chance=statistics.fmean(child.chance for child in children),
    )


def _by_key(parts: Sequence[Measured], nursery: Nursery, scheme: Scheme) -> dict[str, list[float]]:
    """Key → its milliseconds in each network that holds it (of one occurrence, where it occurs several times)."""
    samples: dict[str, list[float]] = defaultdict(list)
    for child in parts:
        entries = parts_of(nursery.space, child.architecture, nursery.input_shape, scheme)
        times = Counter(key for _, key in entries)
        for key, ms in child.units.items():
            samples[key].append(ms / max(times[key], 1))
    return dict(samples)


def _unit(values: Sequence[float]) -> Unit:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Unit(float(middle), float(high - low) / 2, len(values))


def _speed_references(table: LatencyTable, count: int = 8) -> list[Reference]:
    """`count` of the calibration networks, from the fastest to the slowest."""
    ordered = sorted(table.references, key=lambda reference: reference.ms)
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]
