"""Neural architecture search that gives back a distribution of networks and a controller that picks one per input."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archipel.architecture import Architecture
    from archipel.metagraph import MetaGraph, Mixture, PerInstance, Single
    from archipel.space import Space

    __version__: str

__all__ = ["Architecture", "MetaGraph", "Mixture", "PerInstance", "Single", "Space"]

# Loaded when first asked for, so that `import archipel` does not wait for torch or for package metadata.
_HOMES = {
    "Architecture": "archipel.architecture",
    "MetaGraph": "archipel.metagraph",
    "Mixture": "archipel.metagraph",
    "PerInstance": "archipel.metagraph",
    "Single": "archipel.metagraph",
    "Space": "archipel.space",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("archipel")
    if name not in _HOMES:
        raise AttributeError(f"module 'archipel' has no attribute '{name}'")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
