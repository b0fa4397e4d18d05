"""Samples whose networks were trained elsewhere: columns of a CSV file, arrays of a NumPy file."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from archipel.errors import DataError, OptionError, did_you_mean
from archipel.evolve.quality import Sample
from archipel.recipes.space_compare.settings import Cost

__all__ = ["is_table", "read_architectures", "read_table", "write_table"]

_ENDINGS = (".csv", ".npz")
_SCORES = ("accuracy", "error")
_COSTS: dict[Cost, tuple[str, ...]] = {
    "madds": ("madds", "flops"), "parameters": ("parameters", "params"), "latency": ("ms", "latency_ms", "latency")
}  # fmt: skip


def is_table(name: str) -> bool:
    """Whether what a user named is a table rather than a space."""
    return Path(name.partition(":")[0]).suffix.lower() in _ENDINGS


def read_table(name: str, cost: Cost = "madds") -> Sample:
    """A sample from `FILE`, `FILE:SCORES` or `FILE:SCORES:COSTS`, a CSV file's columns or an .npz file's arrays.

    Scores are accuracies, or errors where the column's name says so, as shares or in per cent; an array `[n, runs]` is
    averaged over its runs. Without names the columns are `accuracy` or `error`, and what such a cost is called: `madds`
    or `flops`, `parameters` or `params`, `ms`, `latency_ms` or `latency`.

    Raises:
        DataError: there is no such file, or it is damaged.
        OptionError: it has no such column, or none that are known.
    """
    path, *named = name.split(":")
    columns = _columns(Path(path))
    scores = named[0] if named else _known(path, columns, _SCORES)
    costs = named[1] if len(named) > 1 else next((c for c in _COSTS[cost] if c in columns and not named), None)
    for column in filter(None, (scores, costs, *named[2:])):
        if column not in columns or column in named[2:]:
            raise OptionError(
                f"'{path}' has no column '{column}' ({', '.join(columns)}){did_you_mean(column, columns)}"
            )
    values = _numbers(path, scores, columns[scores])
    values = values / 100 if values.max(initial=0.0) > 1.0 else values
    errors = values if "err" in scores.lower() else 1 - values
    title = Path(path).stem if not named else f"{Path(path).stem}:{scores}"
    return Sample(title, errors, None if costs is None else _numbers(path, costs, columns[costs]))


def _known(path: str, columns: dict[str, np.ndarray], wanted: tuple[str, ...]) -> str:
    found = next((column for column in wanted if column in columns), None)
    if found is None:
        raise OptionError(f"which column of '{path}' are the accuracies? Write {path}:COLUMN ({', '.join(columns)})")
    return found


def _columns(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise DataError(f"there is no table '{path}'; name a CSV or .npz file, or a search space") from None
    except (OSError, ValueError, zipfile.BadZipFile, csv.Error) as error:
        raise DataError(f"table '{path}' cannot be read ({' '.join(str(error).split())})") from error
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _numbers(path: str, column: str, values: np.ndarray) -> np.ndarray:
    try:
        found = values.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"column '{column}' of '{path}' does not hold numbers alone") from None
    return np.asarray(found.mean(1) if found.ndim == 2 else found.reshape(-1))


def write_table(rows: list[dict[str, object]]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the CSV file that `read_table` reads again."""
    columns = ["accuracy", "madds", "parameters", *(["ms"] if "ms" in rows[0] else [])]
    written = [[*(row[c] for c in columns), json.dumps(row["architecture"])] for row in rows]
    return [*columns, "architecture"], written


def read_architectures(path: Path) -> tuple[list[dict[str, Any]], list[float]]:
    """What `write_table` wrote: architectures, and their errors.

    Raises:
        DataError: there is no such file, it is damaged, or it has no architectures.
    """
    columns = _columns(path)
    if "architecture" not in columns or not is_table(str(path)):
        raise DataError(f"'{path}' has no column 'architecture'; give the samples-SPACE.csv of a comparison of spaces")
    try:
        networks = [json.loads(str(text)) for text in columns["architecture"]]
    except ValueError as error:
        raise DataError(f"column 'architecture' of '{path}' is damaged ({error})") from None
    return networks, read_table(str(path)).errors.tolist()
