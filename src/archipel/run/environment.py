"""Where a run ran: enough to know later why its numbers are what they are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["commit", "cpu_model", "environment"]


def environment() -> dict[str, Any]:
    """Versions, platform, CPU model, threads and the commit of the installed package; all JSON-able."""
    import numpy
    import torch

    here: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "archipel": metadata.version("archipel"),
        "commit": commit(Path(__file__).parent.parent),
    }
    if torch.cuda.is_available():
        here["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return here


def cpu_model() -> str:
    """The processor's marketing name, or the machine type where the system does not tell."""
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            lines = []
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit(package: Path) -> str | None:
    """The git commit of `package` if it is part of a checkout, with " (modified)" when files in it differ.

    A package installed into an environment that merely lies inside some other repository has none.
    """
    if not _git(package, "ls-files", "--", "__init__.py"):
        return None
    head = _git(package, "rev-parse", "HEAD")
    if not head:
        return None
    return f"{head} (modified)" if _git(package, "status", "--porcelain", "--", ".") else head


def _git(folder: Path, *command: str) -> str | None:
    """git's answer; None without git or a repository, which is a normal way to run."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
