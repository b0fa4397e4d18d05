"""Where images leave a network with early exits: shares and accuracies, and pictures that left at each exit."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass

import numpy as np

from archipel.errors import RunError
from archipel.report import theme
from archipel.report.run_folder import RunFolder
from archipel.report.tables import Table
from archipel.report.thumbnails import data_uri
from archipel.report.wording import percent, plain

__all__ = ["Exit", "exits", "exits_table"]

PICTURES = 24
"""Of each exit."""
COLUMNS = ("variant", "index", "label", "predicted", "correct", "latency_ms", "exit")


@dataclass(frozen=True)
class Exit:
    """Pictures that left at one exit: data address, what is said of it, whether its class was right."""

    name: str
    images: list[tuple[str, str, bool]]


def _rows(run: RunFolder) -> dict[str, list[dict[str, str]]]:
    """Point → its test images.

    Raises:
        RunError: the file is damaged.
    """
    file = run.path / "exits.csv"
    found: dict[str, list[dict[str, str]]] = {}
    if not file.is_file():
        return found
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise RunError(f"'{file}' has not the columns {', '.join(COLUMNS)}; run again or restore the file")
        for row in reader:
            if not all((row[key] or "").isdecimal() for key in ("index", "exit")):
                raise RunError(f"'{file}' is damaged (line {reader.line_num}); run again or restore the file")
            found.setdefault(row["variant"], []).append(row)
    return found


def exits_table(run: RunFolder) -> Table | None:
    """Of every point and exit: the share of the test images that leaves there, and how many of them are right."""
    points = _rows(run)
    if not points:
        return None
    last = max(int(row["exit"]) for rows in points.values() for row in rows)
    lines = []
    for name, rows in points.items():
        left = Counter(int(row["exit"]) for row in rows)
        right = Counter(int(row["exit"]) for row in rows if row["correct"] == "1")
        cells = [
            f"{percent(left[k] / len(rows), 0)}, of which {percent(right[k] / left[k], 0)} right" if left[k] else "none"
            for k in range(1, last + 1)
        ]
        mean = sum(float(row["latency_ms"]) for row in rows) / len(rows)
        lines.append([name, *cells, plain(mean)])
    head = ["point", *(f"leave at exit {k}" for k in range(1, last + 1)), "mean, ms"]
    return Table("Test images of the first seed", head, lines, [theme.kind("early_exit")] * len(lines))


def exits(run: RunFolder) -> tuple[str, list[Exit]] | None:
    """The middle point, and pictures that left at each of its exits, in the order of the test set; None without any."""
    points = _rows(run)
    if not points or run.instances is None or not len(run.instances.images):
        return None
    name = list(points)[len(points) // 2]
    kept = {int(index): i for i, index in enumerate(run.instances.index)}
    found: dict[int, list[tuple[str, str, bool]]] = {}
    for row in points[name]:
        number, index = int(row["exit"]), int(row["index"])
        mine = found.setdefault(number, [])
        if index in kept and len(mine) < PICTURES:
            right = row["correct"] == "1"
            said = f"{row['label']}, taken for {row['predicted']}" if not right else row["label"]
            mine.append((data_uri(np.asarray(run.instances.images[kept[index]])), f"test image {index}: {said}", right))
    return name, [Exit(f"exit {number}", found[number]) for number in sorted(found)]
