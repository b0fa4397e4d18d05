"""The latency table of a space on a device at a batch size: what every part costs, and so every architecture.

All figures are milliseconds of one forward pass of a whole batch. Stem, tail and joins are counted; a controller is
an entry of its own that callers add where one runs. `D` is the number of code columns, `B` the batch size.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost.calibration import Calibration
from archipel.cost.device import Device
from archipel.cost.fidelity import Fidelity
from archipel.cost.layer_sum import LayerSum
from archipel.cost.units import BASE, Scheme, columns_of, parts_of
from archipel.errors import TableError
from archipel.space import Space

__all__ = ["SCHEMA", "LatencyTable", "Reference", "Unit", "identity_of"]

SCHEMA = 1


@dataclass(frozen=True)
class Unit:
    """One entry."""

    ms: float
    """Median over the networks that hold it, each its lower decile over rounds."""
    spread: float
    """Half the interquartile range over those networks, ms: how much the surroundings matter."""
    count: int
    """How many networks it was measured in."""


@dataclass(frozen=True)
class Reference:
    """A calibration network: measured again later, it tells how fast the machine then is."""

    architecture: Architecture
    ms: float


@dataclass(frozen=True)
class LatencyTable:
    """Predicts the latency of any architecture of one space on one device. Made by `archipel.cost.build`."""

    space: Space = field(repr=False, compare=False)
    scheme: Scheme
    device_name: str
    fingerprint: Mapping[str, str | int]
    batch: int
    input_shape: tuple[int, int, int]
    """`[C, H, W]`."""
    base: Unit
    """Everything outside the entries, as measured under the probes' own cost."""
    units: Mapping[str, Unit] = field(repr=False)
    calibration: Calibration = field(repr=False)
    fidelity: Fidelity
    """On architectures that neither built nor calibrated the table."""
    references: tuple[Reference, ...] = field(repr=False)
    seen: frozenset[str] = field(repr=False)
    """Keys of all architectures the table was made and judged with."""
    rounds: int
    seed: int
    date: str
    controller_ms: float | None = None
    """One pass of a batch through the controller; in no prediction of this table."""
    beside: Mapping[str, float] = field(default_factory=dict, repr=False)
    """Whole networks from outside the space, timed in the table's own time: name → milliseconds a batch."""
    _parts: dict[Architecture, list[tuple[str, str]]] = field(default_factory=dict, repr=False, compare=False)

    def predict(self, architecture: Architecture) -> float:
        """Milliseconds of one forward pass of a batch, without a controller.

        Raises:
            TableError: the architecture has a part that was never measured (`measure_missing` measures it).
        """
        return sum(self._milliseconds(architecture).values())

    def predict_codes(self, codes: Tensor) -> Tensor:
        """`predict` of canonical codes `[B, D]`, many at once: `[B]`, float64.

        Raises:
            TableError: as `predict`.
        """
        if self.scheme == "columns":
            base, columns = self.linear()
            return base + codes.cpu().double() @ columns
        return self._sum(codes)

    def covering(self) -> Iterator[Architecture]:
        """Architectures that hold every entry that any architecture has, as far as is known what decides a layer; of a
        space without `value` choices none are needed."""
        if self.scheme == "columns":
            return
        numbers: dict[str, float] = {}

        def numbered(architecture: Architecture) -> dict[str, float]:
            return {
                place: float(numbers.setdefault(key, len(numbers) + 1.0)) for place, key in self.parts(architecture)
            }

        yield from LayerSum(self.space, numbered, seed=self.seed).covering()

    @functools.cached_property
    def _sum(self) -> LayerSum:
        return LayerSum(self.space, self._milliseconds, seed=self.seed)

    def _milliseconds(self, architecture: Architecture) -> dict[str, float]:
        """Of everything that an architecture is the sum of, by where it stands, and of what is always there."""
        missing = self.missing(architecture)
        if missing:
            raise TableError(
                f"the latency table of space '{self.space.name}' has no entry for {_quoted(missing)}; "
                "measure it with archipel.cost.measure_missing or build the table again"
            )
        found = {BASE: self.calibration.intercept}
        for place, key in self.parts(architecture):
            found[place] = found.get(place, 0.0) + self.calibration.slope * self.units[key].ms
        return found

    def interval(self, architecture: Architecture, level: float = 0.9) -> tuple[float, float]:
        """Lowest and highest latency, ms, between which a measurement falls with probability `level`.

        Raises:
            OptionError: the table has too few calibration networks for that level.
            TableError: as `predict`.
        """
        predicted, margin = self.predict(architecture), self.calibration.margin(level)
        return predicted * (1 - margin), predicted * (1 + margin)

    def linear(self) -> tuple[float, Tensor]:
        """`(base, columns)` with `base + code @ columns == predict(decode(code))` for canonical codes.

        Returns:
            Milliseconds, and milliseconds of each code column, `[D]`, float64.

        Raises:
            TableError: the space has `value` choices, whose latency is not a sum over columns, or an entry is
                missing.
        """
        if self.scheme != "columns":
            raise TableError(
                f"the latency of space '{self.space.name}' is no sum over its code, since it has value choices; "
                "ask predict(architecture)"
            )
        if missing := self._columns_missing():
            raise TableError(
                f"the latency table of space '{self.space.name}' has no entry for {_quoted(missing)}; build it again"
            )
        entries = torch.tensor([self.units[key].ms for key in columns_of(self.space)], dtype=torch.float64)
        return self.calibration.intercept, self.calibration.slope * entries

    def _columns_missing(self) -> list[str]:
        return [key for key in columns_of(self.space) if key not in self.units] if self.scheme == "columns" else []

    def keys(self, architecture: Architecture) -> list[str]:
        """The entries that add up to an architecture, with repetitions."""
        return [key for _, key in self.parts(architecture)]

    def parts(self, architecture: Architecture) -> list[tuple[str, str]]:
        """What adds up to an architecture: (where it stands, entry)."""
        if architecture not in self._parts:
            self._parts[architecture] = parts_of(self.space, architecture, (self.batch, *self.input_shape), self.scheme)
        return self._parts[architecture]

    def missing(self, architecture: Architecture) -> list[str]:
        """The entries of an architecture that the table does not have."""
        return [key for key in Counter(self.keys(architecture)) if key not in self.units]

    def with_controller(self, ms: float) -> LatencyTable:
        return replace(self, controller_ms=ms)

    def with_beside(self, networks: Mapping[str, float]) -> LatencyTable:
        return replace(self, beside={**self.beside, **networks})

    # ---- on disk ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as JSON, whole or not at all."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            partial.write_text(json.dumps(self.to_json(), indent=1))
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "space": identity_of(self.space),
            "scheme": self.scheme,
            "device": {"name": self.device_name, "fingerprint": dict(self.fingerprint)},
            "batch": self.batch,
            "input_shape": list(self.input_shape),
            "unit": "milliseconds a batch",
            "date": self.date,
            "rounds": self.rounds,
            "seed": self.seed,
            "base": asdict(self.base),
            "units": {key: asdict(unit) for key, unit in self.units.items()},
            "calibration": asdict(self.calibration),
            "controller_ms": self.controller_ms,
            "beside": dict(self.beside),
            "fidelity": self.fidelity.to_json(),
            "references": [{"architecture": r.architecture.to_json(), "ms": r.ms} for r in self.references],
            "seen": sorted(self.seen),
        }

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        space: Space,
        device: Device | None = None,
        batch: int | None = None,
    ) -> LatencyTable:
        """Read a table and see that it is the one wanted.

        Args:
            space: what it must be a table of.
            device: what it must have been measured on; `None` when nothing is to be measured or compared here.
            batch: the batch size it must have; `None` for whichever it has.

        Raises:
            TableError: no such file, no table, or one of another device, space or batch size; or, of a space without
                `value` choices, an entry is missing.
        """
        try:
            data = json.loads(Path(path).read_text())
        except FileNotFoundError:
            raise TableError(f"there is no latency table '{path}'; 'archipel latency build' makes one") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise TableError(f"latency table '{path}' cannot be read ({error}); build it again") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            schema = data.get("schema") if isinstance(data, dict) else None
            raise TableError(f"'{path}' is no latency table of schema {SCHEMA} (it says {schema}); build it again")
        try:
            theirs = {**data["space"], "options": _plain(space.completed(data["space"]["options"]))}
            _must_be("space", path, theirs, identity_of(space), "give that space")
            if device is not None:
                theirs, ours = data["device"]["fingerprint"], device.fingerprint()
                _must_be("device", path, theirs, ours, "build one here with 'archipel latency build'")
            if batch is not None:
                _must_be("batch size", path, {"": data["batch"]}, {"": batch}, f"build one with batch size {batch}")
            table = cls._from_json(data, space)
        except (KeyError, TypeError, AttributeError) as error:
            raise TableError(f"latency table '{path}' is damaged ({error!r}); build it again") from error
        if missing := table._columns_missing():
            raise TableError(f"latency table '{path}' has no entry for {_quoted(missing)}; build it again")
        return table

    @classmethod
    def _from_json(cls, data: Mapping[str, Any], space: Space) -> LatencyTable:
        channels, height, width = data["input_shape"]
        fitted = data["calibration"]
        return cls(
            space=space,
            scheme=data["scheme"],
            device_name=data["device"]["name"],
            fingerprint=data["device"]["fingerprint"],
            batch=data["batch"],
            input_shape=(channels, height, width),
            base=Unit(**data["base"]),
            units={key: Unit(**unit) for key, unit in data["units"].items()},
            calibration=Calibration(fitted["intercept"], fitted["slope"], tuple(fitted["residuals"])),
            fidelity=Fidelity.from_json(data["fidelity"]),
            references=tuple(Reference(Architecture.from_json(r["architecture"]), r["ms"]) for r in data["references"]),
            seen=frozenset(data["seen"]),
            rounds=data["rounds"],
            seed=data["seed"],
            date=data["date"],
            controller_ms=data["controller_ms"],
            beside=data["beside"],
        )


def identity_of(space: Space) -> dict[str, Any]:
    """What must be equal for two spaces to share a table."""
    return {"name": space.name, "options": _plain(space.completed(space.options)), "digest": space.digest}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(options, default=str, sort_keys=True))
    return plain


def _must_be(
    what: str, path: str | os.PathLike[str], theirs: Mapping[str, Any], ours: Mapping[str, Any], mend: str
) -> None:
    for key in {**ours, **theirs}:
        if theirs.get(key) != ours.get(key):
            aspect = f"{what}'s {key}" if key else what
            raise TableError(
                f"latency table '{path}' is of another {what}: {aspect} is {theirs.get(key)!r} there "
                f"and {ours.get(key)!r} here; {mend}"
            )


def _quoted(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(f"'{key}'" for key in keys[:3]) + more
