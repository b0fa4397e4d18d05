"""What networks save at equal accuracy: their latency against what another family needs to be as accurate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from archipel.recipes.result import figure

__all__ = ["between", "needed_ms", "savings", "sentence"]

PER_INSTANCE = ("early_exit", "instanas", "child_cascade", "mobilenet_cascade", "blockdrop", "convnet_aig")
STATIC = ("static_exit", "static_child", "mobilenet_v2")
CLOCKS = ("measured_ms", "batch_ms")


def needed_ms(networks: Iterable[tuple[float, float]], accuracy: float) -> float | None:
    """Milliseconds in which a family is as accurate: along the straight lines between the networks that none of it
    beats, where a coin tossed for each image would get it; None where even the best is less accurate.

    Args:
        networks: milliseconds an image, and accuracy.
    """
    front: list[tuple[float, float]] = []
    for ms, own in sorted(networks, key=lambda network: (network[0], -network[1])):
        if front and own <= front[-1][1]:
            continue
        # Between two networks a mixture may beat the one in the middle.
        while len(front) > 1 and _slope(front[-2], front[-1]) <= _slope(front[-2], (ms, own)):
            front.pop()
        front.append((ms, own))
    if not front or accuracy > front[-1][1]:
        return None
    if accuracy <= front[0][1]:
        return front[0][0]
    low, high = next((a, b) for a, b in pairwise(front) if accuracy <= b[1])
    return low[0] + (accuracy - low[1]) / _slope(low, high)


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0]) if b[0] > a[0] else float("inf")


def savings(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of every instance-aware network against every static family: the share of wall-clock saved at equal test
    accuracy, by seed; one image at a time, and in a batch.

    Args:
        rows: what testing and timing found: `kind`, `name`, `seed`, `accuracy`, and `measured_ms` and `batch_ms` where
            they were timed.

    Returns:
        Rows of `kind`, `name`, `against`, and for each clock a figure over the seeds in which the static family is as
        accurate at all (None: in no seed), and in how many of `seeds` that is.
    """
    found = []
    deciding = {(row["kind"], row["name"]) for row in rows.values() if row["kind"] in PER_INSTANCE}
    for kind, name in sorted(deciding, key=lambda one: (PER_INSTANCE.index(one[0]), one[1])):
        own = [row for row in rows.values() if (row["kind"], row["name"]) == (kind, name)]
        for against in STATIC:
            entry: dict[str, Any] = {"kind": kind, "name": name, "against": against, "seeds": len(own)}
            for clock in CLOCKS:
                saved = _saved(own, [row for row in rows.values() if row["kind"] == against], clock)
                entry[clock], entry[f"{clock}_seeds"] = figure(saved), len(saved)
            if any(row["kind"] == against for row in rows.values()):
                found.append(entry)
    return found


def _saved(own: Sequence[Mapping[str, Any]], static: Sequence[Mapping[str, Any]], clock: str) -> list[float]:
    shares = []
    for row in own:
        peers = [(peer[clock], peer["accuracy"]) for peer in static if peer["seed"] == row["seed"] and peer.get(clock)]
        needed = needed_ms(peers, row["accuracy"])
        if needed is not None and row.get(clock):
            shares.append(1.0 - row[clock] / needed)
    return shares


def between(shares: Sequence[float], unit: str = " points of test accuracy", form: str = "+.1f") -> str:
    """From the least to the largest share, in hundredths."""
    low, high = (f"{100 * share + 0.0:{form}}" for share in (min(shares), max(shares)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def sentence(saved: Sequence[Mapping[str, Any]]) -> str | None:
    """What early exits save, from the point that saves least to the one that saves most; None where no static network
    is as accurate as any of them.

    Args:
        saved: what `savings` found.
    """
    said = []
    for against, words in (("static_exit", "one exit for all"), ("mobilenet_v2", "MobileNetV2")):
        rows = [row for row in saved if (row["kind"], row["against"]) == ("early_exit", against)]
        clocks = [[row[clock]["mean"] for row in rows if row[clock]] for clock in CLOCKS]
        if all(clocks) and max(map(max, clocks)) <= 0.0:
            said.append(f"nothing against {words}")
        elif all(clocks):
            alone, batch = (between(shares, " %", ".0f") for shares in clocks)
            said.append(f"{alone} one image at a time and {batch} in a batch against {words}")
    return f"Early exits save, at equal accuracy, {', and '.join(said)}." if said else None
