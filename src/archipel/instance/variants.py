"""Picking the variants A, B, C … of one search: epochs spread along its validation front."""

from __future__ import annotations

from collections.abc import Sequence

from archipel.errors import OptionError
from archipel.instance.search import SearchRow

__all__ = ["choose_variants"]

NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def choose_variants(
    rows: Sequence[SearchRow], count: int, *, validation_images: int, target_ms: float | None = None
) -> dict[str, int]:
    """Epochs to keep, by name: A the slowest and most accurate, then faster.

    Candidates are the epochs that no other epoch beats in both validation accuracy (by more than one standard error
    of that accuracy) and mean latency. The latency range they span is cut into `count` equal parts, A the slowest, and
    the most accurate candidate of each part is taken; where a part has none, the most accurate of its other epochs
    stands in, so that every seed has the variant. Parts are named, not epochs, so that one name means about the same
    in every seed; the name of a part without any epoch is missing.

    Args:
        rows: of one search, in order of their epochs.
        validation_images: how many images the accuracies are means over.
        target_ms: if given, the most accurate epoch not slower than this is always among them, if there is one;
            it has the first letter after the parts', unless a part has it already.

    Raises:
        OptionError: there are not letters for so many.
    """
    if not 1 <= count < len(NAMES):
        raise OptionError(f"{count} variants are asked for; give 1 to {len(NAMES) - 1}")

    def standard_error(p: float) -> float:
        return (max(p * (1.0 - p), 1e-6) / validation_images) ** 0.5

    def is_beaten(row: SearchRow) -> bool:
        bar = row["val_accuracy"] + standard_error(row["val_accuracy"])
        return any(o["val_accuracy"] > bar and o["map_ms"] <= row["map_ms"] for o in rows)

    front = [row for row in rows if not is_beaten(row)]
    fastest = min(row["map_ms"] for row in front)
    slowest = max(row["map_ms"] for row in front)

    def part_of(row: SearchRow) -> int:
        share = (slowest - row["map_ms"]) / max(slowest - fastest, 1e-12)
        return min(count - 1, int(share * count))

    parts: dict[int, list[SearchRow]] = {}
    for row in front:
        parts.setdefault(part_of(row), []).append(row)
    within_range = [row for row in rows if fastest <= row["map_ms"] <= slowest]
    for i in set(map(part_of, within_range)) - parts.keys():
        parts[i] = [row for row in within_range if part_of(row) == i]

    def best(candidates: list[SearchRow]) -> int:
        return int(max(candidates, key=lambda row: (row["val_accuracy"], -row["map_ms"]))["epoch"])

    chosen = {NAMES[i]: best(parts[i]) for i in sorted(parts)}
    within = [row for row in rows if target_ms is not None and row["map_ms"] <= target_ms]
    if within and best(within) not in chosen.values():
        chosen[NAMES[count]] = best(within)
    return chosen
