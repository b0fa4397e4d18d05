"""What a process is told once, so that networks run on its CPU as fast as they can."""

from __future__ import annotations

import ctypes
import functools
import os

__all__ = ["tune_process"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
_KEPT = 2**31 - 1
_MAPPED = 2**30

_PRIMITIVES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@functools.cache
def tune_process() -> None:
    """Keep freed memory and compiled convolutions, for the rest of the process; children inherit the latter.

    **Memory.** By default glibc gives large blocks back at once, depending on what was freed before. Then the
    activations of the next batch are faulted in anew, page by page, which can take as long as the network does, and
    how long a network takes depends on what ran before it. Now up to 2 GiB stay. Other C libraries are left alone.

    **Convolutions.** oneDNN compiles a convolution for each shape, and keeps 1,024. Routed batches have groups of
    every size, so that most of theirs were compiled again; now 16,384 are kept. oneDNN reads this when it first runs:
    where torch has computed before, or the variable is set already, nothing changes.
    """
    os.environ.setdefault(_PRIMITIVES, "16384")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows has no library without a name
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_MMAP_THRESHOLD, _MAPPED)
