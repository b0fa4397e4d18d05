"""What every stage of one run works with, and the way of doing a stage once, whatever happens."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from torch import Tensor, nn

from archipel.cost import Device, madds, parameters
from archipel.nn.layout import channels_last
from archipel.progress import Progress
from archipel.run.folder import RunFolder
from archipel.sharing.distillation import Distillation
from archipel.sharing.training import Optimisation, seed_of, train
from archipel.space import Space, SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["Study", "macro_of", "open_space"]

Own = TypeVar("Own", bound="Study")


def open_space(task: Classification, function: SpaceFunction, network: Any) -> Space:
    """The space of a task's networks: the function is given those settings of `network`, a dataclass, that it has
    parameters for."""
    known = inspect.signature(function).parameters
    wanted = asdict(network)
    return task.space(function, **{name: value for name, value in wanted.items() if name in known})


def macro_of(space: Space, network: Any) -> str | None:
    """Macro-structure of the networks that stand beside a space's: the space's own; of one that has none, that of the
    settings."""
    found: str | None = space.options.get("macro", network.macro)
    return found


@dataclass
class Study:
    """One run of a recipe."""

    folder: RunFolder
    task: Classification
    device: Device
    """Where weights are trained."""
    space: Space
    settings: Any
    seed: int
    progress: Progress

    def once(self, stage: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a stage: kept from before, or worked out now and kept."""
        done = self.folder.stage_done(stage)
        if done is None:
            begin = time.perf_counter()
            result = work()
            done = self.folder.mark_done(stage, {**result, "stage_seconds": time.perf_counter() - begin})
        return done

    def done(self, stage: str) -> dict[str, Any]:
        """The result of a stage that must be done."""
        done = self.folder.stage_done(stage)
        assert done is not None, stage
        return done

    def reporting_to(self: Own, progress: Progress) -> Own:
        """The same study, its progress shown elsewhere (in a job of its own)."""
        return replace(self, progress=progress)

    def seed_of(self, *parts: object) -> int:
        """A seed for one purpose, different for each and the same in every continuation."""
        return seed_of(self.seed, *parts)

    def on_device(self, module: nn.Module) -> Any:
        """The module on the study's device, in the memory layout convolutions are fastest in."""
        return channels_last(module, self.device.torch_device)

    def calibration(self) -> Iterable[Tensor]:
        """Inputs for batch-norm statistics."""
        return self.task.calibration(2, 256, device=self.device.torch_device)

    def train_plain(
        self,
        network: nn.Module,
        options: Optimisation,
        *,
        title: str,
        stage: str,
        distillation: Distillation | None = None,
    ) -> None:
        """Train a network without choices; goes on from its checkpoint."""
        train(
            network,
            self.task,
            options,
            title=title,
            seed=self.seed_of(stage),
            distillation=distillation,
            device=self.device.torch_device,
            checkpoint=self.folder.checkpoint(stage),
            progress=self.progress,
        )

    def complexity(self, network: nn.Module) -> dict[str, float]:
        return {
            "madds": float(madds(network, self.task.spec.input_shape)),
            "parameters": parameters(network),
        }
