"""A finished run as something that answers: images of any kind in; classes, probabilities, what answered and how long
that takes out.

Letters: `N` images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from archipel.deploy.executors import Executors
from archipel.deploy.forms import Loaded
from archipel.deploy.images import Images, Inputs
from archipel.deploy.manifest import Family, Manifest, Point
from archipel.errors import OptionError, did_you_mean

__all__ = ["Model", "Prediction", "Predictions"]

BATCH = 256
"""Images that are run together at most."""


@dataclass(frozen=True)
class Prediction:
    """What is said of one image."""

    label: str
    """Name of the class."""
    index: int
    """Position of the class."""
    probability: float
    child: str
    """Which network answered: an exit, one of a cascade, or the code of an architecture, a 0 or 1 for each option.
    `Model.child` takes it."""
    latency_ms: float
    """Milliseconds that this image takes, as the run's latency table predicts for the run's device."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is said of several images."""

    classes: tuple[str, ...]
    probabilities: np.ndarray
    """`[N, classes]`, float32."""
    children: tuple[str, ...]
    """`N` names; see `Prediction.child`."""
    latency_ms: np.ndarray
    """`[N]`, float64; see `Prediction.latency_ms`."""

    @property
    def indices(self) -> np.ndarray:
        """Positions of the classes, `[N]`, int64."""
        found: np.ndarray = self.probabilities.argmax(1)
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, `N` of them."""
        return tuple(self.classes[index] for index in self.indices)

    def __len__(self) -> int:
        return len(self.children)

    def __getitem__(self, i: int) -> Prediction:
        index = int(self.probabilities[i].argmax())
        probability, ms = float(self.probabilities[i][index]), float(self.latency_ms[i])
        return Prediction(self.classes[index], index, probability, self.children[i], ms)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[i] for i in range(len(self)))


class Model:
    """One family of a run's networks, ready to answer. Made by `archipel.load`.

    Attributes:
        kind: `early_exit`, `instanas`, `mobilenet_v2` …, as in the run's report.
        seed: which of the run's.
        points: the ways in which it can answer, each a trade-off, fast to slow.
        inputs: how pictures become a batch: `model.inputs(images)` is float32 `[N, C, H, W]`.
        form: what answers, in PyTorch, and what it was rebuilt from.
        executors: what runs batches: `form`, or ONNX Runtime.
        manifest: what the run says of all its networks.
    """

    def __init__(
        self, manifest: Manifest, family: Family, form: Loaded, device: torch.device, first: Point | None = None
    ) -> None:
        """Run by PyTorch.

        Args:
            first: what answers where nothing is said of latency; the family's first if not given.
        """
        channels, size, _ = manifest.input_shape
        self.manifest, self.family, self.form, self.device = manifest, family, form, device
        self.kind, self.seed, self.classes = family.kind, family.seed, manifest.classes
        self.inputs = Inputs(channels, size, manifest.mean, manifest.std)
        self.points = tuple(sorted(family.points, key=lambda point: point.ms))
        self.executors = Executors({"torch": form})
        self._first = first or family.points[0]

    def run_by(self, executors: Executors) -> Model:
        """The same, its batches run by others."""
        moved = copy.copy(self)
        moved.executors = executors
        return moved

    def __repr__(self) -> str:
        fast, slow = self.points[0].ms, self.points[-1].ms
        along = f"{fast:.3g} to {slow:.3g} ms an image" if len(self.points) > 1 else f"{fast:.3g} ms an image"
        return f"Model({self.kind}, seed {self.seed}: {len(self.classes)} classes, {along}; {self.manifest.title})"

    def at(self, target_latency: float | str | None = None) -> Point:
        """The point that answers.

        Args:
            target_latency: milliseconds that the mean image may take by the run's latency table: of the points that
                keep to it, the most accurate on validation images (where the run did not look, the slowest); or a
                point's name, such as "C"; None: what the model was loaded for.

        Raises:
            OptionError: there is no such point, or none is as fast.
        """
        if target_latency is None:
            return self._first
        if isinstance(target_latency, str):
            named = {point.name: point for point in self.family.points if point.name is not None}
            if target_latency not in named:
                known = ", ".join(named)
                mend = did_you_mean(target_latency, named)
                raise OptionError(f"{self.kind} has no point '{target_latency}' ({known}){mend}")
            return named[target_latency]
        able = [point for point in self.points if point.ms <= target_latency]
        if not able:
            fastest = self.points[0].ms
            raise OptionError(
                f"target_latency {target_latency:g} ms is below the fastest point of {self.kind}, {fastest:.3g} ms an "
                f"image on {self.manifest.device['name']}; give at least {fastest * 1.001:.3g}"
            )
        if any(point.accuracy is None for point in able):
            return able[-1]
        return max(able, key=lambda point: (point.accuracy, -point.ms))

    def predict(self, images: Images, target_latency: float | str | None = None) -> Predictions:
        """Classes, probabilities, what answered, and predicted latency of each image.

        Args:
            images: one or several: paths, bytes of picture files, PIL images, arrays or tensors (see
                `archipel.deploy.images`), of any size.
            target_latency: as of `at`.

        Raises:
            DataError: an image cannot be read, or is no image.
            OptionError: as of `at`.
        """
        point = self.at(target_latency)
        return self.answer(self.inputs.pixels(images), point)

    def predict_proba(self, images: Images, target_latency: float | str | None = None) -> np.ndarray:
        """Probabilities, `[N, classes]`, float32. As `predict`."""
        return self.predict(images, target_latency).probabilities

    def answer(self, pixels: Tensor, point: Point) -> Predictions:
        """`predict` of what `inputs.pixels` made of the images."""
        parts = [self.executors.answer(self._ready(some), point) for some in pixels.split(BATCH)]
        probabilities = torch.cat([part.output.float().softmax(1) for part in parts]).cpu().numpy()
        children = tuple(name for part in parts for name in part.children)
        return Predictions(self.classes, probabilities, children, torch.cat([part.ms for part in parts]).numpy())

    def _ready(self, pixels: Tensor) -> Tensor:
        return self.inputs.normalise(pixels.to(self.device))

    def module(self, target_latency: float | str | None = None) -> nn.Module:
        """What answers, as one module: normalised `[N, C, H, W]` → logits `[N, classes]`. Arguments as of `at`."""
        return self.form.module(self.at(target_latency))

    @property
    def children(self) -> Sequence[str]:
        """Names of the networks that can answer; none of a controller's, which are too many to list."""
        return self.form.children

    def child(self, name: str, target_latency: float | str | None = None) -> nn.Module:
        """One of the networks alone, a plain module in evaluation mode: normalised `[N, C, H, W]` → `[N, classes]`.

        Args:
            name: one of `children`, or as a prediction names what answered: `model.child(model.predict(x)[0].child)`.
            target_latency: of a controller, the point whose weights are wanted.

        Raises:
            OptionError: there is no such network.
        """
        return self.form.child(name, self.at(target_latency))
