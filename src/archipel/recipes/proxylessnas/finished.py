"""The trained networks that a run holds, by name: to judge, export and use afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from archipel.architecture import Architecture
from archipel.errors import OptionError, RunError, did_you_mean
from archipel.recipes.proxylessnas.judging import KINDS
from archipel.recipes.proxylessnas.stages import mobilenet_for
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.tasks import Classification

__all__ = ["Finished", "finished"]


@dataclass(frozen=True)
class Finished:
    """One trained network of a run."""

    name: str
    """KIND-TARGET-BUDGET-SEED, budgets counted from 0, the tightest."""
    space: Space
    architecture: Architecture
    network: nn.Module
    """On the CPU, in evaluation mode."""


def finished(folder: RunFolder, task: Classification, space: Space, name: str | None = None) -> Finished:
    """A trained network of a run.

    Args:
        space: the run's.
        name: one of the run's; without it, of the networks found for the middle budget the one that does best on `val`.

    Raises:
        RunError: the run has trained none yet.
        OptionError: it has none of that name, or none is named and there are several devices.
    """
    rows = {stage: folder.stage_done(stage) for stage in folder.stages if stage.startswith(_PREFIXES)}
    known: dict[str, dict[str, Any]] = {stage: row for stage, row in rows.items() if row is not None}
    if not known:
        raise RunError(
            f"{folder.path} has trained no network yet; continue it with "
            f"'archipel {folder.config['recipe']} --resume {folder.path}'"
        )
    name = name or _chosen(folder, known)
    if name not in known:
        raise OptionError(f"{folder.path} has no network '{name}' ({', '.join(known)}){did_you_mean(name, known)}")
    row = known[name]
    own = space if "architecture" in row else mobilenet_for(task, space, row["width"])
    architecture = own.canonical(Architecture.from_json(row.get("architecture", {})))
    network = own.build(architecture)
    folder.checkpoint(f"final-{name}").load({"network": network})
    return Finished(name, own, architecture, network.eval())


_PREFIXES = tuple(f"{kind}-" for kind in KINDS)


def _chosen(folder: RunFolder, known: dict[str, dict[str, Any]]) -> str:
    """Of the networks found for the middle budget the best on `val`; where there is more than one device, which one is
    wanted has to be said."""
    found = {name: row for name, row in known.items() if name.startswith(_PREFIXES[0])} or known
    targets = list(dict.fromkeys(row["target"] for row in found.values()))
    if len(targets) > 1:
        raise OptionError(
            f"{folder.path} has networks for {', '.join(targets)}; name one with --network, such as {min(found)}"
        )
    unit = next(key for key in ("budget_ms", "budget_madds") if all(key in row for row in found.values()))
    budgets = sorted({row[unit] for row in found.values()})
    middle = [name for name, row in found.items() if row[unit] == budgets[len(budgets) // 2]]
    return max(middle, key=lambda name: float(found[name]["val_accuracy"]))
