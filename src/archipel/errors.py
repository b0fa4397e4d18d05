"""The mistakes a caller can make: each is one line that names the thing, the value and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArchipelError",
    "ArchitectureError",
    "DataError",
    "DeviceError",
    "EvaluationError",
    "OptionError",
    "RunError",
    "SpaceError",
    "TableError",
    "did_you_mean",
]


class ArchipelError(ValueError):
    """Base of every error a caller may mend; the command line prints it as one line and exits with 2."""


class ArchitectureError(ArchipelError):
    """An architecture does not fit its space."""


class SpaceError(ArchipelError):
    """A space function cannot be read as a search space."""


class DataError(ArchipelError):
    """Data is missing, empty or unreadable."""


class DeviceError(ArchipelError):
    """A device cannot run what it is asked to: a library, a compiler or an operation is missing, or it failed."""


class EvaluationError(ArchipelError):
    """An architecture has no figures: it cannot be trained, or a device does not run it."""


class TableError(ArchipelError):
    """A latency table does not fit the device, space or batch size it is asked about."""


class RunError(ArchipelError):
    """A folder is not a run, or cannot go on."""


class OptionError(ArchipelError):
    """An option has a value it cannot take."""


def did_you_mean(word: object, options: Iterable[object]) -> str:
    """`"; did you mean 'x'?"` for the nearest of `options`, or the empty string when none is near."""
    near = difflib.get_close_matches(str(word), [str(option) for option in options], n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
