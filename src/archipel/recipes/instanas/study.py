"""What every stage of one InstaNAS run works with."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from archipel.cost import Device, LatencyTable, madds, parameters
from archipel.instance.code_cost import CodeCost
from archipel.instance.controller import make_controller
from archipel.metagraph import MetaGraph
from archipel.progress import Progress
from archipel.recipes.instanas.settings import Network, Settings
from archipel.run.folder import RunFolder
from archipel.sharing.training import Optimisation, seed_of, train
from archipel.space import Space, SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["Study", "open_space"]


def open_space(task: Classification, function: SpaceFunction, network: Network) -> Space:
    """The space of a task's networks: the function is given the settings of `network` that it has parameters for."""
    known = inspect.signature(function).parameters
    wanted = asdict(network)
    return task.space(function, **{name: value for name, value in wanted.items() if name in known})


@dataclass
class Study:
    """One run: what it works on, and the ways of doing a step once, whatever happens."""

    folder: RunFolder
    task: Classification
    device: Device
    space: Space
    settings: Settings
    seed: int
    progress: Progress
    given_table: LatencyTable | None = None

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

    def reporting_to(self, progress: Progress) -> Study:
        """The same study, its progress shown elsewhere (in a job of its own)."""
        return replace(self, progress=progress)

    @property
    def has_union(self) -> bool:
        """Only where every choice is a subset is there an architecture that holds what several ones hold."""
        return all(choice.kind == "subset" for choice in self.space.choices)

    @property
    def has_random_policy(self) -> bool:
        """Only the options of subsets can be kept with a probability that meets a given latency."""
        return any(choice.kind == "subset" for choice in self.space.choices)

    def seed_of(self, *parts: object) -> int:
        """A seed for one purpose, different for each and the same in every continuation."""
        return seed_of(self.seed, *parts)

    def on_device(self, module: nn.Module) -> Any:
        """The module on the study's device, in the memory layout convolutions are fastest in."""
        return module.to(self.device.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def new_graph(self) -> MetaGraph:
        torch.manual_seed(self.seed_of("weights"))
        return self.on_device(MetaGraph(self.space))

    def new_controller(self, seed: int) -> nn.Module:
        channels, size, _ = self.task.spec.input_shape
        kind = self.settings.search.controller
        made = make_controller(
            kind, self.space.width, channels=channels, size=size, seed=self.seed_of("controller", seed)
        )
        return self.on_device(made)

    def calibration(self) -> Iterable[Tensor]:
        """Inputs for batch-norm statistics."""
        return self.task.calibration(2, 256, device=self.device.torch_device)

    def cost(self, table: LatencyTable, *, controlled: bool) -> CodeCost:
        """Milliseconds an image of codes at the table's batch size, with the controller's or without."""
        overhead = (table.controller_ms or 0.0) if controlled else 0.0
        return CodeCost(self.space, table, overhead=overhead)

    def train_plain(self, network: nn.Module, options: Optimisation, *, title: str, stage: str) -> None:
        """Train a network without choices; goes on from its checkpoint."""
        train(
            network,
            self.task,
            options,
            title=title,
            seed=self.seed_of(stage),
            device=self.device.torch_device,
            checkpoint=self.folder.checkpoint(stage),
            progress=self.progress,
        )

    def complexity(self, network: nn.Module) -> dict[str, float]:
        return {
            "madds": float(madds(network, self.task.spec.input_shape)),
            "parameters": parameters(network),
        }
