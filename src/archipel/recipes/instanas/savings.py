"""What networks save at equal accuracy, and gain in equal time, against what another family does there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, product
from statistics import fmean
from typing import Any

from archipel.recipes.result import figure

__all__ = ["MEAN", "SLOWEST", "between", "needed_ms", "reached", "savings", "sentence"]

PER_INSTANCE = ("early_exit", "instanas", "child_cascade", "mobilenet_cascade", "blockdrop", "convnet_aig")
STATIC = ("static_exit", "static_child", "mobilenet_v2")
CLOCKS = ("measured_ms", "batch_ms")
MEAN = "mean"
"""Stands for a point's name where all of a kind's points are one."""
SLOWEST = "slowest"
"""Stands for a point's name where a kind is asked to be what the slowest network of a static family is."""


def needed_ms(networks: Iterable[tuple[float, float]], accuracy: float) -> float | None:
    """Milliseconds in which a family is as accurate: along the straight lines between the networks that none of it
    beats, where a coin tossed for each image would get it; None where even the best is less accurate. Where even the
    fastest is more accurate, that one's: it needs no more, and might need less if it were smaller.

    Args:
        networks: milliseconds an image, and accuracy.
    """
    front = _front(networks)
    if not front or accuracy > front[-1][1]:
        return None
    if accuracy <= front[0][1]:
        return front[0][0]
    low, high = next((a, b) for a, b in pairwise(front) if accuracy <= b[1])
    return low[0] + (accuracy - low[1]) / _slope(low, high)


def reached(networks: Iterable[tuple[float, float]], ms: float) -> float | None:
    """The accuracy of a family in so many milliseconds, along the same lines; None if even its fastest takes more."""
    front = _front(networks)
    if not front or ms < front[0][0]:
        return None
    if ms >= front[-1][0]:
        return front[-1][1]
    low, high = next((a, b) for a, b in pairwise(front) if ms <= b[0])
    return low[1] + (ms - low[0]) * _slope(low, high)


def _front(networks: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The networks that neither another beats nor a mixture of two, from the fastest."""
    front: list[tuple[float, float]] = []
    for ms, own in sorted(networks, key=lambda network: (network[0], -network[1])):
        if front and own <= front[-1][1]:
            continue
        while len(front) > 1 and _slope(front[-2], front[-1]) <= _slope(front[-2], (ms, own)):
            front.pop()
        front.append((ms, own))
    return front


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0]) if b[0] > a[0] else float("inf")


def savings(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of every instance-aware network against every static family, by seed, one image at a time and in a batch: the
    share of wall-clock saved at equal test accuracy, and the accuracy gained in equal time.

    Where static networks differ much in time and little in accuracy, a tenth of a point moves what is saved by tens of
    hundredths; what is gained stands firm there.

    Args:
        rows: what testing and timing found: `kind`, `name`, `seed`, `accuracy`, and `measured_ms` and `batch_ms` where
            they were timed.

    Returns:
        Rows of `kind`, `name`, `against`, and for each clock a figure over the seeds in which the static family is as
        accurate at all (None: in no seed), and in how many of `seeds` that is; as `…_gained` a figure over those in
        which the static family is as fast at all. A row named `MEAN` has the means over a kind's points, by seed.
    """
    found = []
    deciding = {(row["kind"], row["name"]) for row in rows.values() if row["kind"] in PER_INSTANCE}
    for kind, against in product(PER_INSTANCE, STATIC):
        names = sorted(name for own, name in deciding if own == kind)
        static = [row for row in rows.values() if row["kind"] == against]
        if not names or not static:
            continue
        pooled: dict[str, dict[int, list[float]]] = {}
        for name in names:
            own = [row for row in rows.values() if (row["kind"], row["name"]) == (kind, name)]
            entry: dict[str, Any] = {"kind": kind, "name": name, "against": against, "seeds": len(own)}
            for clock in CLOCKS:
                for key, shares in (
                    (clock, _saved(own, static, clock)),
                    (f"{clock}_gained", _gained(own, static, clock)),
                ):
                    entry[key], entry[f"{key}_seeds"] = figure(list(shares.values())), len(shares)
                    for seed, share in shares.items():
                        pooled.setdefault(key, {}).setdefault(seed, []).append(share)
            found.append(entry)
        if len(names) > 1:
            means = {key: [sum(shares) / len(shares) for _, shares in sorted(by.items())] for key, by in pooled.items()}
            seeds = len({row["seed"] for row in rows.values() if row["kind"] == kind})
            entry = {"kind": kind, "name": MEAN, "against": against, "seeds": seeds}
            for key in (f"{clock}{what}" for clock, what in product(CLOCKS, ("", "_gained"))):
                entry[key], entry[f"{key}_seeds"] = figure(means.get(key, [])), len(means.get(key, []))
            found.append(entry)
        found.append(_replacing(kind, against, rows))
    return found


def _replacing(kind: str, against: str, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    own = [row for row in rows.values() if row["kind"] == kind]
    slowest = _slowest([row for row in rows.values() if row["kind"] == against])
    asked = [row for row in rows.values() if (row["kind"], row["name"]) == (against, slowest)]
    seeds = len({row["seed"] for row in own})
    entry: dict[str, Any] = {
        "kind": kind,
        "name": SLOWEST,
        "against": against,
        "network": slowest,
        "seeds": seeds,
    }
    for clock in CLOCKS:
        saved, gained = [], []
        for row in asked:
            points, ms = _peers(own, row["seed"], clock), row.get(clock)
            least = needed_ms(points, row["accuracy"])
            most = reached(points, ms) if ms else None
            saved += [1.0 - least / ms] if ms and least is not None else []
            gained += [most - row["accuracy"]] if most is not None else []
        for key, shares in ((clock, saved), (f"{clock}_gained", gained)):
            entry[key], entry[f"{key}_seeds"] = figure(shares), len(shares)
    return entry


def _slowest(static: Sequence[Mapping[str, Any]]) -> str:
    """By the mean over seeds, one image at a time: networks that take about as long change places."""
    by: dict[str, list[float]] = {}
    for row in static:
        by.setdefault(row["name"], []).append(row.get(CLOCKS[0]) or 0.0)
    return max(by, key=lambda name: fmean(by[name]))


def _saved(own: Sequence[Mapping[str, Any]], static: Sequence[Mapping[str, Any]], clock: str) -> dict[int, float]:
    shares = {}
    for row in own:
        ms, peers = row.get(clock), _peers(static, row["seed"], clock)
        least = needed_ms(peers, row["accuracy"])
        if ms and least is not None and (ms >= least or row["accuracy"] >= min(accuracy for _, accuracy in peers)):
            shares[row["seed"]] = 1.0 - ms / least
    return shares


def _gained(own: Sequence[Mapping[str, Any]], static: Sequence[Mapping[str, Any]], clock: str) -> dict[int, float]:
    timed = [row for row in own if row.get(clock)]
    theirs = {row["seed"]: reached(_peers(static, row["seed"], clock), row[clock]) for row in timed}
    known = {row["seed"]: (row["accuracy"], theirs[row["seed"]]) for row in timed}
    return {seed: accuracy - other for seed, (accuracy, other) in known.items() if other is not None}


def _peers(static: Sequence[Mapping[str, Any]], seed: int, clock: str) -> list[tuple[float, float]]:
    return [(row[clock], row["accuracy"]) for row in static if row["seed"] == seed and row.get(clock)]


def between(shares: Sequence[float], unit: str = " points of test accuracy", form: str = "+.1f") -> str:
    """From the least to the largest share, in hundredths."""
    low, high = (f"{100 * share + 0.0:{form}}" for share in (min(shares), max(shares)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def sentence(saved: Sequence[Mapping[str, Any]]) -> str | None:
    """What early exits save and gain on average over their points against one exit for all, and what they save where
    they are as accurate as the slowest MobileNetV2, with intervals where there are seeds for one; None where nothing
    of it can be said.

    Args:
        saved: what `savings` found.
    """
    own = {(row["against"], row["name"]): row for row in saved if row["kind"] == "early_exit"}
    over = [row for (against, name), row in own.items() if against == "static_exit" and name != SLOWEST]
    said = []
    if clocks := _figures(over[-1] if over else {}, CLOCKS):  # the mean; where there is one point, it is that point
        pays = max(clock["mean"] for clock in clocks) > 0.0
        much = _both(clocks, " %", ".0f") if pays else "nothing"
        said.append(f"Early exits save, at equal accuracy, {much} against one exit for all.")
    if gained := _figures(over[-1] if over else {}, [f"{clock}_gained" for clock in CLOCKS]):
        said.append(f"In equal time they gain {_both(gained, ' points', '+.1f')} over one exit for all.")
    if slowest := own.get(("mobilenet_v2", SLOWEST)):
        network, clocks = f"MobileNetV2 {slowest['network']}", _figures(slowest, CLOCKS)
        if clocks and min(slowest[f"{clock}_seeds"] for clock in CLOCKS) == slowest["seeds"]:
            said.append(f"Where they are as accurate as {network}, they save {_both(clocks, ' %', '.0f')}.")
        else:
            said.append(f"Not in every search are they as accurate as {network}.")
    return " ".join(said) or None


def _figures(row: Mapping[str, Any], keys: Sequence[str]) -> list[Mapping[str, Any]]:
    """All of some figures, or none."""
    found = [row.get(key) for key in keys]
    return [one for one in found if one] if all(found) else []


def _both(figures: Sequence[Mapping[str, Any]], unit: str, form: str) -> str:
    """One image at a time, and in a batch."""

    def told(f: Mapping[str, Any]) -> str:
        mean, low, high = (f"{100 * f[key] + 0.0:{form}}" for key in ("mean", "low", "high"))
        return f"{mean}{unit}" + (f" (95 % interval {low} to {high})" if len(f["values"]) > 1 else "")

    alone, batch = map(told, figures)
    return f"{alone} one image at a time and {batch} in a batch"
