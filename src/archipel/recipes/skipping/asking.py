"""What a recipe that leaves out blocks can be asked, and what it looks at before it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archipel.cost import Device
from archipel.instance.block_gates import require_bits
from archipel.progress import Progress
from archipel.recipes import job
from archipel.recipes.opening import open_device
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["Request", "prepared"]


@dataclass(frozen=True)
class Request(job.Request):
    """What such a run can be asked."""

    space: str = "resnet_flat"
    """A space of subsets (see "archipel spaces"): resnet_flat, mobilenet_v2_drop, instanas, or your own function,
    file.py:function."""
    device: str = "cpu"
    """Cpu, the default, or cuda:0."""
    table: str | None = None
    """A latency table measured before on this device (see "archipel latency build")."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Device.parse(self.device, self.threads).for_training()


def prepared(
    run: Callable[..., dict[str, Any]],
    method: str,
    request: Request,
    settings: Any,
    task: Classification,
    function: SpaceFunction,
    progress: Progress,
    *,
    measured: bool,
) -> job.Prepared:
    """`prepare` of `archipel.recipes.job.Recipe`.

    Args:
        run: of the recipe.
        method: its name, for what is said of a space it cannot use.
    """
    file = Path(request.table) if request.table is not None and not measured else None
    space = open_space(task, function, settings.network)
    require_bits(space, method)
    device, table = open_device(
        request.device, request.threads, file, space=space, batch=settings.latency.batch, progress=progress
    )

    def work(folder: RunFolder, progress: Progress) -> dict[str, Any]:
        return run(
            folder, task, device, function, settings, seed=request.seed, seeds=request.seeds, progress=progress,
            table=table,
        )  # fmt: skip

    return job.Prepared(replace(request, device=device.name, threads=device.threads), work)
