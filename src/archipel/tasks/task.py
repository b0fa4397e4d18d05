"""The contract between a task and the rest of the library.

A strategy sees scores and costs, a weights manager sees losses and modules; neither looks inside a batch.
`B` batch, `C` channels, `H`, `W` height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

__all__ = ["SPLITS", "Batch", "Loader", "Metric", "Split", "Task", "TaskSpec"]

Split = Literal["train", "arch", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "arch", "val", "test")


class Batch(NamedTuple):
    """What a classification loader yields; other tasks have their own, which only they open."""

    inputs: Tensor
    """`[B, C, H, W]`, float32, normalised."""
    targets: Tensor
    """`[B]`, int64."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """`[B]`, int64: position in the split."""


@dataclass(frozen=True)
class TaskSpec:
    """What may be known of a task without reading its data."""

    name: str
    input_shape: tuple[int, int, int]
    """`(C, H, W)` of one input."""
    classes: tuple[str, ...]
    score: str
    """What `Metric.compute()["score"]` is; larger is better."""
    chance: float
    """The score of uniformly random answers."""
    output: str = "single"
    """What a body must give: `"single"` (one map or vector), a list of strides, or `"graph"`."""


class Loader(Protocol):
    """Batches of one split; iterating again gives the same again."""

    def __len__(self) -> int:
        """How many batches."""

    def __iter__(self) -> Iterator[Any]: ...


class Metric(Protocol):
    """Adds up over batches; one object per evaluation."""

    def update(self, output: Tensor, batch: Any) -> None:
        """Take in the model's `output` for `batch`; does not wait for the device."""

    def compute(self) -> dict[str, float]:
        """Plain floats; holds `"score"`, larger is better."""


class Task(Protocol):
    """Data, head, loss and metric of one problem.

    The splits are disjoint and the same for equal seeds: `train` for weights, `arch` for the architecture's gradient
    or reward, `val` for selection, `test` to be read once, for the report. `val` and `test` never move.

    A task *may* also have these, which callers look for with `getattr(task, name, None)`:

    - `soft_loss(output, teacher)` is the loss to a teacher's output in the place of labels (distillation);
    - `step(model, batch, optims, phase)` replaces forward, backward and step (GAN, distillation, two optimisers);
    - `optim_groups(model)` gives parameter groups with learning-rate multipliers;
    - `slots()` names the places for search spaces: `{"backbone": ..., "neck": ..., "head": ...}`;
    - `transform(model)` is a deploy-time transform that belongs to the task (binarise, quantise);
    - `stages()` iterates over the tasks of a stream.
    """

    spec: TaskSpec
    splits: dict[str, int]

    def loader(
        self, split: str, batch_size: int, *, seed: int | None = None, device: torch.device | str = "cpu"
    ) -> Loader:
        """Sized and re-iterable. `seed` None: every sample in a fixed order, as it is. `seed` given: shuffled and,
        on `train` and `arch`, augmented, from that seed alone."""

    def calibration(self, n: int, batch_size: int, *, device: torch.device | str = "cpu") -> Iterable[Tensor]:
        """`n` unlabelled, unaugmented batches of `train`: to re-estimate batch norm, or quantiser ranges."""

    def attach(self, body: nn.Module) -> nn.Module:
        """`body` with what the task adds that is not under search."""

    def loss(self, output: Tensor, batch: Any, *, label_smoothing: float = ...) -> dict[str, Tensor]:
        """Holds `"total"`; the other entries are logged. Finite and differentiable for an empty batch too.

        A task whose targets are no classes may leave `label_smoothing` out: it is given only where it is asked for.
        """

    def metric(self) -> Metric:
        """A fresh metric."""
