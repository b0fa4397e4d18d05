"""Neural architecture search that gives back a distribution of networks and a controller that picks one per input."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archipel.api import Point, Result, run
    from archipel.architecture import Architecture
    from archipel.classifier import ArchipelClassifier
    from archipel.deploy import Model, load
    from archipel.metagraph import MetaGraph, Mixture, PerInstance, Single
    from archipel.space import Space

    __version__: str

__all__ = [
    "ArchipelClassifier",
    "Architecture",
    "MetaGraph",
    "Mixture",
    "Model",
    "PerInstance",
    "Point",
    "Result",
    "Single",
    "Space",
    "load",
    "run",
]

# Loaded when first asked for, so that `import archipel` does not wait for torch or for package metadata.
_HOMES = {
    "ArchipelClassifier": "archipel.classifier",
    "Architecture": "archipel.architecture",
    "MetaGraph": "archipel.metagraph",
    "Mixture": "archipel.metagraph",
    "Model": "archipel.deploy",
    "PerInstance": "archipel.metagraph",
    "Point": "archipel.api",
    "Result": "archipel.api",
    "Single": "archipel.metagraph",
    "Space": "archipel.space",
    "load": "archipel.deploy",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("archipel")
    if name not in _HOMES:
        raise AttributeError(f"module 'archipel' has no attribute '{name}'")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


class _RoomAndVerb(ModuleType):
    """`archipel.run` is a room of the package, and called it is `archipel.api.run`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return importlib.import_module("archipel.api").run(*args, **options)


# Importing any module of the room binds its name here, so a function of that name would come and go.
importlib.import_module("archipel.run").__class__ = _RoomAndVerb


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
