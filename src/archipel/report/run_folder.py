"""A finished run, read from its folder: everything the report shows, and nothing it does not find there."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from archipel.errors import RunError

__all__ = [
    "Instances",
    "Interval",
    "Point",
    "RunFolder",
    "Variant",
    "interval",
    "is_number",
    "numbers",
    "point",
    "read",
]

SCHEMA = 1
INSTANAS = "instanas"
MILLION = 1e6
"""Multiply-adds are shown in millions where they stand on an axis."""
PER_IMAGE = (INSTANAS, "blockdrop", "convnet_aig")
"""The methods with an architecture for every image."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval. With one seed there is none: `low == mean == high`."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def known(self) -> bool:
        """Whether there are seeds enough for an interval."""
        return len(self.values) > 1


@dataclass(frozen=True)
class Point:
    """One row of `points`: a network, or a distribution of networks, with its scores."""

    name: str
    kind: str
    figures: Mapping[str, Interval | None]
    parameters: int | None
    note: str | None
    target: str | None = None
    """Device it was searched for; None where a run knows but one."""
    budget: float | None = None
    """What an image may cost, in `unit`."""
    unit: str = "ms"
    """`ms`, or `M MAdds`; then `madds_m` is the figure it is about."""

    def __getitem__(self, figure: str) -> Interval | None:
        return self.figures.get(figure)


@dataclass(frozen=True)
class Variant:
    """What one variant of the first seed did with each test image; all arrays `[N]`, in file order."""

    name: str
    index: np.ndarray
    label: list[str]
    predicted: list[str]
    correct: np.ndarray
    latency_ms: np.ndarray
    codes: list[str]


@dataclass(frozen=True)
class Instances:
    """The pictures: `index [N]`, `label [N]`, `images [N, H, W, 3]`, `probabilities[variant] [N, D]`."""

    index: np.ndarray
    label: np.ndarray
    images: np.ndarray
    probabilities: dict[str, np.ndarray]


@dataclass(frozen=True)
class RunFolder:
    """A run folder's contents; parts that are not there are None or empty."""

    path: Path
    result: dict[str, Any]
    points: list[Point]
    variants: dict[str, Variant]
    instances: Instances | None
    config: str | None
    missing: list[str] = field(default_factory=list)

    def part(self, name: str) -> dict[str, Any]:
        """An object of result.json, empty when absent or null."""
        value = self.result.get(name)
        return value if isinstance(value, dict) else {}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A list of objects of result.json, empty when absent or null."""
        value = self.result.get(name)
        return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []

    @property
    def method(self) -> str:
        """The recipe that wrote it; InstaNAS, the first, does not say so."""
        return str(self.result.get("method") or INSTANAS)

    @property
    def searched(self) -> bool:
        """Whether it looked for networks of its method: of a run of early exits alone there are none."""
        return not self.points or any(point.kind == self.method for point in self.points)

    @property
    def classes(self) -> list[str]:
        """Class names, in order of their numbers."""
        return [str(name) for name in self.part("task").get("classes") or []]

    @property
    def seeds(self) -> int:
        """How many seeds the points were measured with."""
        return max((len(f.values) for p in self.points for f in p.figures.values() if f), default=0)


def interval(value: Any) -> Interval | None:
    """The schema's `F`, or None where it is null or holds no finite mean."""
    if not isinstance(value, Mapping) or not is_number(value.get("mean")):
        return None
    mean = float(value["mean"])
    low, high = (float(value[end]) if is_number(value.get(end)) else mean for end in ("low", "high"))
    values = tuple(float(v) for v in value.get("values") or () if is_number(v))
    return Interval(mean, low, high, values)


def scaled(value: Interval | None, factor: float) -> Interval | None:
    """In another unit."""
    if value is None:
        return None
    values = tuple(factor * each for each in value.values)
    return Interval(factor * value.mean, factor * value.low, factor * value.high, values)


def numbers(value: Any) -> np.ndarray:
    """A JSON list as float64, `null` as NaN; anything else as an empty array."""
    if not isinstance(value, list):
        return np.empty(0)
    return np.array([float(v) if is_number(v) else math.nan for v in value], dtype=np.float64)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a finite number (`true` is none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read(run_dir: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        RunError: the folder is not there, holds no finished run, or one of its files is damaged.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunError(f"run folder '{run_dir}' does not exist; give the folder that a run wrote")
    file = run_dir / "result.json"
    if not file.is_file():
        raise RunError(f"'{run_dir}' is not a finished run: it holds no result.json; let the run end first")
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunError(f"'{file}' cannot be read ({_line(error)}); run again or restore the file") from error
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        found = result.get("schema") if isinstance(result, dict) else type(result).__name__
        raise RunError(f"'{file}' has schema {found!r}, this version reads {SCHEMA}; repeat the run with it")
    missing: list[str] = []
    variants, instances, config = {}, None, None
    found = RunFolder(run_dir, result, [point(row) for row in result.get("points") or []], {}, None, None)
    if found.method in PER_IMAGE:
        variants = _variants(run_dir / "architectures.csv", result, missing) if found.searched else {}
        instances = _instances(run_dir / "instances.safetensors", missing)
    if (run_dir / "config.yaml").is_file():
        config = (run_dir / "config.yaml").read_text(encoding="utf-8", errors="replace")
    else:
        missing.append("config.yaml")
    return replace(found, variants=variants, instances=instances, config=config, missing=missing)


def point(row: Mapping[str, Any]) -> Point:
    figures = {key: interval(value) for key, value in row.items() if isinstance(value, Mapping)}
    parameters, budget, unit = row.get("parameters"), row.get("budget_ms"), "ms"
    if is_number(row.get("budget_madds")):
        budget, unit = row["budget_madds"] / MILLION, "M MAdds"
        figures["madds_m"] = scaled(figures.get("madds"), 1 / MILLION)
    return Point(
        name=str(row.get("name", "")),
        kind=str(row.get("kind", "")),
        figures=figures,
        parameters=int(parameters) if is_number(parameters) else None,
        note=str(row["note"]) if row.get("note") else None,
        target=str(row["target"]) if row.get("target") else None,
        budget=float(budget) if is_number(budget) else None,
        unit=unit,
    )


def _variants(file: Path, result: dict[str, Any], missing: list[str]) -> dict[str, Variant]:
    if not file.is_file():
        missing.append(file.name)
        return {}
    classes = (result.get("task") or {}).get("classes") or []
    table: dict[str, list[dict[str, str]]] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        wanted = {"variant", "index", "label", "predicted", "correct", "latency_ms", "architecture"}
        if lacking := sorted(wanted - set(reader.fieldnames or ())):
            raise RunError(f"'{file}' has no column {', '.join(lacking)}; run again or restore the file")
        for row in reader:
            table.setdefault(row["variant"], []).append(row)
    try:
        found = {
            name: Variant(
                name=name,
                index=np.array([int(row["index"]) for row in rows], dtype=np.int64),
                label=[_class_name(row["label"], classes) for row in rows],
                predicted=[_class_name(row["predicted"], classes) for row in rows],
                correct=np.array([row["correct"].strip().lower() in ("1", "true", "1.0") for row in rows]),
                latency_ms=np.array([float(row["latency_ms"]) for row in rows]),
                codes=[row["architecture"].strip() for row in rows],
            )
            for name, rows in table.items()
        }
        if not all(np.isfinite(variant.latency_ms).all() for variant in found.values()):
            raise ValueError("a latency is not a number")
    except (TypeError, ValueError, AttributeError) as error:
        raise RunError(f"'{file}' is damaged ({_line(error)}); run again or restore the file") from error
    return found


def _class_name(text: str, classes: list[Any]) -> str:
    """A label column holds class numbers; a name is taken as it is."""
    return str(classes[int(text)]) if text.isdecimal() and int(text) < len(classes) else text


def _instances(file: Path, missing: list[str]) -> Instances | None:
    if not file.is_file():
        missing.append(file.name)
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(file)
        images = tensors["images"]
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ValueError(f"images are {images.dtype} {list(images.shape)}, not uint8 [N, H, W, 3]")
        stem = "probabilities/"
        probabilities = {key[len(stem) :]: value for key, value in tensors.items() if key.startswith(stem)}
        found = Instances(tensors["index"], tensors["label"], images, probabilities)
        lengths = {len(part) for part in (found.index, found.label, images, *probabilities.values())}
        if len(lengths) > 1:
            raise ValueError(f"tensors of {sorted(lengths)} rows")
        if not all(np.isfinite(vectors).all() for vectors in probabilities.values()):
            raise ValueError("a probability is not a number")
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise RunError(f"'{file}' is damaged ({_line(error)}); run again or restore the file") from error
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
