"""What networks are searched for: devices that are measured here, published tables of those that are elsewhere, or few
multiply-adds, wherever that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from archipel.cost import Device, LatencyTable, TableSettings, build, complexity_cost
from archipel.cost.additive import AdditiveCost, latency_cost
from archipel.cost.published import published_cost
from archipel.errors import OptionError, TableError
from archipel.progress import Progress
from archipel.recipes.opening import here, stored
from archipel.space import Space

__all__ = ["COUNTED", "Target", "open_targets", "table_for"]


@dataclass(frozen=True)
class Target:
    """One device at one batch size, or what is counted instead of timed."""

    name: str
    """As it was asked for: `cpu`, `onnxruntime@32`, `tables/fbnet.json:pixel3`."""
    batch: int
    """Images in a pass."""
    device: Device | None = None
    """None: a published table stands for it, and nothing can be measured."""
    given: LatencyTable | None = None
    """Measured before."""
    unit: Literal["ms", "MAdds"] = "ms"
    """Of its costs and budgets, each of one image."""

    @property
    def suffix(self) -> str:
        """The unit in the names of figures: `budget_ms`, `budget_madds`."""
        return self.unit.lower()

    @property
    def label(self) -> str:
        """Short, for tables and files."""
        plain = Path(self.name).name if self.device is None or ".py:" in self.name else self.name
        return plain.removesuffix("@1")

    def cost(self, space: Space, table: LatencyTable | None, input_shape: tuple[int, int, int]) -> AdditiveCost:
        """In `unit`, of one image.

        Args:
            table: of a device that is measured.
        """
        if self.unit == "MAdds":
            return complexity_cost(space, "madds", input_shape)
        if table is None:
            return published_cost(space, self.name, input_shape)
        whole = latency_cost(table)
        return replace(whole, base=whole.base / self.batch, columns=whole.columns / self.batch)


COUNTED = Target("madds", 1, unit="MAdds")
"""Multiply-adds, on no device in particular."""


def open_targets(
    names: Sequence[str], tables: Sequence[str], threads: int | None, space: Space, progress: Progress
) -> list[Target]:
    """The targets that were named, each table that was given at the one it was measured on.

    Args:
        names: `DEVICE` or `DEVICE@BATCH` as `Device.parse` takes them, or a published table, `FILE` or `FILE:DEVICE`.
        tables: files of `archipel latency build`.

    Raises:
        OptionError: a target is named twice, or has no batch size that is a number.
        TableError: a table is of none of them.
    """
    found: list[Target] = []
    for name in names:
        bare, at, batch = name.rpartition("@")
        if not at or "/" in batch or "." in batch:
            bare, batch = name, "1"
        if not batch.isdigit() or int(batch) < 1:
            raise OptionError(f"device '{name}' has the batch size '{batch}'; give a whole number, such as '{bare}@32'")
        if bare.partition(":")[0].endswith((".json", ".json.gz", ".npz")):
            found.append(Target(name, int(batch)))
        else:
            found.append(Target(name, int(batch), here(bare, threads, progress)))
    if twice := {target.label for target in found if [t.label for t in found].count(target.label) > 1}:
        raise OptionError(f"device '{sorted(twice)[0]}' is named twice; name each once")
    for file in tables:
        content = stored(Path(file))
        mine = [i for i, target in enumerate(found) if _is_of(content, target)]
        if not mine:
            measured = f"{content['device']['name']}@{content['batch']}"
            raise TableError(f"latency table '{file}' is of {measured}, none of {', '.join(names)}; leave it out")
        target = found[mine[0]]
        table = LatencyTable.load(file, space=space, device=target.device, batch=target.batch)
        found[mine[0]] = replace(target, given=table)
    return found


def _is_of(content: dict[str, Any], target: Target) -> bool:
    """Whether a stored table was measured on a target."""
    if target.device is None or content["batch"] != target.batch:
        return False
    return dict(content["device"]["fingerprint"]) == target.device.fingerprint()


def table_for(
    target: Target,
    space: Space,
    input_shape: tuple[int, int, int],
    settings: TableSettings,
    *,
    seed: int,
    progress: Progress,
) -> LatencyTable | None:
    """The latency table of a target that is measured here: given, or measured now."""
    if target.device is None or target.given is not None:
        return target.given
    return build(
        space,
        target.device,
        input_shape=input_shape,
        batch=target.batch,
        settings=settings,
        seed=seed,
        progress=progress,
    )
