"""Freed memory stays with the process, so that the next batch does not have to ask the system for it again."""

from __future__ import annotations

import ctypes
import functools

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
_KEPT = 2**31 - 1
_MAPPED = 2**30


@functools.cache
def keep_freed_memory() -> bool:
    """Have the C library keep up to 2 GiB that was freed, for the rest of the process.

    By default glibc gives large blocks back at once, depending on what was freed before. Then the activations of the
    next batch are faulted in anew, page by page, which can take as long as the network does, and how long a network
    takes depends on what ran before it.

    Returns:
        Whether the C library knows how; glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows has no library without a name
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _MAPPED))
