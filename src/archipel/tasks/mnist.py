"""MNIST (LeCun, Cortes and Burges, 1998)."""

from __future__ import annotations

from pathlib import Path

from archipel.tasks.augmentation import Shift
from archipel.tasks.classification import Classification
from archipel.tasks.idx import idx

__all__ = ["mnist"]

CLASSES = tuple(str(digit) for digit in range(10))


def mnist(
    root: str | Path,
    *,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
) -> Classification:
    """Handwritten digits, 70,000 grey 28×28 images in IDX files (LeCun, Cortes and Burges, 1998).

    Augmentation: shifts by up to two pixels; a mirrored digit is no digit.
    """
    return idx(
        "mnist",
        root,
        classes=CLASSES,
        augmentation=(Shift(2),),
        images=images,
        test_images=test_images,
        size=size,
        seed=seed,
    )
