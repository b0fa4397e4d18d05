"""How a number becomes text: one way for the whole report."""

from __future__ import annotations

import math
from collections.abc import Iterable

from archipel.report.run_folder import Interval

__all__ = [
    "count",
    "duration",
    "listed",
    "magnitude",
    "milliseconds",
    "percent",
    "plain",
    "plural",
    "ranges",
    "signed_percent",
    "spread",
    "spread_ms",
]


def plain(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits and no exponent."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{min(places, 6)}f}".replace(",", " ").replace("-", "−")


def milliseconds(value: float) -> str:
    """`0.413 ms`: three significant digits, but nothing finer than a microsecond unless there is nothing else."""
    return f"{value:.3f} ms" if 0.01 <= value < 1 else f"{plain(value)} ms"


def percent(share: float, digits: int = 1) -> str:
    """A share of 0–1 as `97.3 %`."""
    return f"{100 * share:.{digits}f} %".replace("-", "−")


def signed_percent(share: float) -> str:
    """`+12 %`, `−3 %` or `±0 %`."""
    rounded = round(100 * share)
    return f"{'+' if rounded > 0 else '−' if rounded < 0 else '±'}{abs(rounded)}\u202f%"


def count(value: float) -> str:
    """`2.25 M`, `80.2 k`, `431`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{plain(value / size)} {letter}"
    return f"{value:.0f}" if float(value).is_integer() else plain(value)


def spread(value: Interval | None, *, scale: float = 1.0, digits: int = 1, unit: str = "", sign: bool = False) -> str:
    """Mean ± half of the 95 % interval; only the mean when there is one seed; a dash when there is no number.

    Args:
        scale: what the number is multiplied with (100 for a share shown in %).
        sign: whether a mean above 0 has one.
    """
    if value is None:
        return "–"
    mean = round(scale * value.mean, digits) or 0.0  # no −0.0
    text = f"{mean:{'+' if sign and mean else ''}.{digits}f}"
    if value.known:
        text += f" ± {scale * (value.high - value.low) / 2:.{digits}f}"
    return (text + unit).replace("-", "−")


def spread_ms(value: Interval | None) -> str:
    """`spread` of milliseconds: three significant digits of the mean, nothing finer than a nanosecond."""
    if value is None or value.mean <= 0:
        return spread(value, digits=3)
    return spread(value, digits=min(max(2 - math.floor(math.log10(value.mean)), 0), 6))


def magnitude(digits: str) -> str:
    """A whole number too long to read as a power of ten: `3.1 · 10²⁵`."""
    if not digits.isdecimal() or len(digits) <= 7:
        return digits
    power = str(len(digits) - 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits[0]}.{digits[1]} · 10{power}"


def duration(seconds: float) -> str:
    """`48 s`, `12 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plural(number: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def listed(words: Iterable[str]) -> str:
    """`A, B and C`."""
    items = list(words)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + (" and " + items[-1] if items else "")


def ranges(ascending: Iterable[int]) -> str:
    """`3, 7–12`."""
    runs: list[list[int]] = []
    for number in ascending:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
