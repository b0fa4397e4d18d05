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
    of that accuracy) and mean latency. The latency range they span is cut into `count` equal parts, and the most
    accurate candidate of each part is taken: fewer than `count` where parts are empty.

    Args:
        rows: of one search, in order of their epochs.
        validation_images: how many images the accuracies are means over.
        target_ms: if given, the most accurate epoch not slower than this is always among them, if there is one.

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
    parts: dict[int, list[SearchRow]] = {}
    for row in front:
        share = (slowest - row["map_ms"]) / max(slowest - fastest, 1e-12)
        parts.setdefault(min(count - 1, int(share * count)), []).append(row)
    chosen = {int(max(part, key=lambda r: (r["val_accuracy"], -r["map_ms"]))["epoch"]) for part in parts.values()}
    if target_ms is not None:
        within = [row for row in rows if row["map_ms"] <= target_ms]
        if within:
            chosen.add(int(max(within, key=lambda r: (r["val_accuracy"], -r["map_ms"]))["epoch"]))
    slowest_first = sorted(chosen, key=lambda epoch: -rows[epoch]["map_ms"])
    return dict(zip(NAMES, slowest_first))
