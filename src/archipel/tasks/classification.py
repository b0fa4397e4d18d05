"""Image classification: uint8 images in four splits, batches normalised and augmented in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from archipel.errors import DataError, OptionError, did_you_mean
from archipel.space import Space
from archipel.tasks.augmentation import Augmentation
from archipel.tasks.decoding import EncodedImages, Skipped
from archipel.tasks.head import PooledLinear, space_for
from archipel.tasks.task import SPLITS, Batch, TaskSpec

__all__ = ["Accuracy", "Classification", "Loader", "channel_moments"]


class Classification:
    """Images with one label each; the score is the accuracy.

    Args:
        name: what reports call it.
        images: uint8 `[N, C, H, W]`, or `EncodedImages`, which decode batch by batch.
        labels: `[N]`, int64, positions in `classes`.
        splits: for each of train, arch, val and test the positions in `images` (as `splits.deal` gives them).
        augmentation: applied in this order to train and arch batches whose loader has a seed.
        moments: mean and standard deviation of the train split's pixels, `[C]` each, 0 to 255; None: computed.
        skipped: files that were left out because they could not be read.
    """

    def __init__(
        self,
        name: str,
        images: Tensor | EncodedImages,
        labels: Tensor,
        splits: Mapping[str, Tensor],
        *,
        classes: Sequence[str],
        augmentation: Sequence[Augmentation] = (),
        moments: tuple[Tensor, Tensor] | None = None,
        skipped: Sequence[Skipped] = (),
    ) -> None:
        _, channels, height, width = images.shape
        self.spec = TaskSpec(name, (channels, height, width), tuple(classes), score="accuracy", chance=1 / len(classes))
        self.images = images
        self.labels = labels
        self.indices: dict[str, Tensor] = {split: splits[split] for split in SPLITS}
        """Of each split's samples the position in `images`."""
        self.splits: dict[str, int] = {split: len(index) for split, index in self.indices.items()}
        self.reads: dict[str, int] = dict.fromkeys(SPLITS, 0)
        """How often each split's loaders were iterated."""
        self.augmentation = tuple(augmentation)
        self.mean, self.std = moments or channel_moments(images, self.indices["train"])
        self.skipped = list(skipped)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.spec.input_shape))
        splits = ", ".join(f"{split} {n:,}" for split, n in self.splits.items())
        return f"Classification({self.spec.name}: {len(self.spec.classes)} classes, {shape}; {splits})"

    def loader(
        self, split: str, batch_size: int, *, seed: int | None = None, device: str | torch.device = "cpu"
    ) -> Loader:
        """Batches of `split`; sized, and each iteration gives the same batches again.

        `seed` None: every sample in a fixed order, as it is. `seed` given: shuffled and, on train and arch,
        augmented, from that seed alone (so give every epoch its own); a last batch of one sample, which batch norm
        cannot train on, is dropped.
        """
        if split not in SPLITS:
            raise OptionError(
                f"split '{split}' does not exist (splits: {', '.join(SPLITS)}){did_you_mean(split, SPLITS)}"
            )
        if batch_size < 1:
            raise OptionError(f"batch_size={batch_size} holds no image; give 1 or more")
        return Loader(self, split, batch_size, seed, torch.device(device))

    def calibration(self, n: int, batch_size: int, *, device: str | torch.device = "cpu") -> Iterator[Tensor]:
        """`n` batches `[batch_size, C, H, W]` of train, unaugmented and in a fixed order, from the start again when
        they run out. Does not count as a read."""
        index = self.indices["train"]
        for step in range(n):
            positions = torch.arange(step * batch_size, (step + 1) * batch_size) % len(index)
            yield self.normalise(self.images[index[positions]].to(device))

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 `[B, C, H, W]` to float32 of train's mean 0 and standard deviation 1 in each channel."""
        mean, scale = self.mean.to(images.device), (1 / self.std).to(images.device)
        return images.to(torch.float32).sub_(mean[:, None, None]).mul_(scale[:, None, None])

    def attach(self, body: nn.Module) -> nn.Module:
        """`body` itself when it gives `[B, classes]`; one with `out_channels` gets pooling and a linear layer."""
        return PooledLinear(body, len(self.spec.classes)) if hasattr(body, "out_channels") else body

    def loss(self, output: Tensor, batch: Batch, *, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """`"total"`: cross-entropy to smoothed labels, what to minimise; `"cross_entropy"`: unsmoothed, to log.

        Both are 0 for an empty batch.
        """
        n = max(len(batch.targets), 1)
        total = functional.cross_entropy(output, batch.targets, reduction="sum", label_smoothing=label_smoothing)
        plain = total.detach()
        if label_smoothing:
            plain = functional.cross_entropy(output.detach(), batch.targets, reduction="sum")
        return {"total": total / n, "cross_entropy": plain / n}

    def soft_loss(self, output: Tensor, teacher: Tensor) -> Tensor:
        """Mean cross-entropy of `output` `[B, classes]` to the teacher's probabilities: -Σ_c softmax(t)_c log
        softmax(y)_c; no gradient flows into `teacher`. 0 for an empty batch."""
        total = functional.cross_entropy(output, teacher.detach().softmax(1), reduction="sum")
        return total / max(len(output), 1)

    def metric(self) -> Accuracy:
        """A fresh `Accuracy`."""
        return Accuracy()

    def space(self, fn: Callable[..., nn.Module], **options: Any) -> Space:
        """`Space(fn)` with this task's `classes`, `channels` and `size` wherever `fn` has such a parameter and
        `options` do not say otherwise.

        A function without a parameter `classes` gives a body with `out_channels`, which gets pooling and a linear
        layer; `SpaceError` if it has none.
        """
        return space_for(self.spec, fn, **options)

    def image(self, split: str, i: int) -> np.ndarray:
        """Sample `i` of `split` to look at: uint8 `[H, W, 3]`."""
        pixels = self.images[self.indices[split][i : i + 1]][0]
        return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


class Loader:
    """The batches of one split; made by `Classification.loader`."""

    def __init__(
        self, task: Classification, split: str, batch_size: int, seed: int | None, device: torch.device
    ) -> None:
        self.task = task
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.device = device

    def __len__(self) -> int:
        whole, rest = divmod(self.task.splits[self.split], self.batch_size)
        drops_rest = self.seed is not None and rest == 1 and self.batch_size > 1
        return whole + (rest > 0 and not drops_rest)

    def __iter__(self) -> Iterator[Batch]:
        self.task.reads[self.split] += 1
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        task = self.task
        n = task.splits[self.split]
        generator = torch.Generator()
        order = torch.arange(n)
        augmentation: tuple[Augmentation, ...] = ()
        if self.seed is not None:
            generator.manual_seed(self.seed)
            order = torch.randperm(n, generator=generator)
            augmentation = task.augmentation if self.split in ("train", "arch") else ()
        fill = task.mean.round().to(torch.uint8)
        for index, images in self._fetch(order.split(self.batch_size)[: len(self)]):
            images = images.to(self.device)
            for augment in augmentation:
                images = augment(images, fill, generator)
            targets = task.labels[task.indices[self.split][index]]
            yield Batch(task.normalise(images), targets.to(self.device), index.to(self.device))

    def _fetch(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """`(index, uint8 images)` of each batch; encoded ones are decoded while the caller works on the last."""
        source, positions = self.task.images, self.task.indices[self.split]
        if isinstance(source, Tensor):
            for index in batches:
                yield index, source[positions[index]]
            return
        with ThreadPoolExecutor(1) as ahead:
            futures = [ahead.submit(source.__getitem__, positions[index]) for index in batches[:1]]
            for i, index in enumerate(batches):
                images = futures.pop().result()
                if i + 1 < len(batches):
                    futures.append(ahead.submit(source.__getitem__, positions[batches[i + 1]]))
                yield index, images


class Accuracy:
    """Share of samples whose largest output is their label, and the mean cross-entropy in nats."""

    def __init__(self) -> None:
        # Tensors are kept and added up at the end, so that no batch waits for the device.
        self._correct: list[Tensor] = []
        self._cross_entropy: list[Tensor] = []
        self._n = 0

    def update(self, output: Tensor, batch: Batch) -> None:
        """Take in `output` `[B, classes]`."""
        output = output.detach()
        self._correct.append((output.argmax(1) == batch.targets).sum())
        self._cross_entropy.append(functional.cross_entropy(output, batch.targets, reduction="sum"))
        self._n += len(batch.targets)

    def compute(self) -> dict[str, float]:
        """`{"score": accuracy, "cross_entropy": ...}`. Raises `DataError` when no sample was seen."""
        if not self._n:
            raise DataError("the metric has seen no sample; call update with a batch first")
        correct = int(torch.stack(self._correct).sum())
        cross_entropy = float(torch.stack(self._cross_entropy).cpu().double().sum())
        return {"score": correct / self._n, "cross_entropy": cross_entropy / self._n}


def channel_moments(images: Tensor | EncodedImages, index: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the pixels in each channel, float32 `[C]`, 0 to 255.

    Summed in integers, hence exact for any number of images. A channel of one value has standard deviation 1.
    """
    total = torch.zeros(images.shape[1], dtype=torch.int64)
    squares = total.clone()
    for chunk in index.split(512):
        pixels = images[chunk].to(torch.int32)
        total += pixels.sum((0, 2, 3))
        squares += pixels.square_().sum((0, 2, 3))
    return moments_of_sums(total, squares, len(index) * images.shape[2] * images.shape[3])


def moments_of_sums(total: Tensor, squares: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of `n` values from their sum and the sum of their squares."""
    mean = total.double() / n
    std = (squares.double() / n - mean.square()).clamp(min=0).sqrt()
    return mean.float(), torch.where(std > 1e-6, std, torch.ones_like(std)).float()
