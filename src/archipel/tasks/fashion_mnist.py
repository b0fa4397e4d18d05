"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017)."""

from __future__ import annotations

from pathlib import Path

from archipel.tasks.augmentation import Cutout, Flip, Shift
from archipel.tasks.classification import Classification
from archipel.tasks.idx import idx

__all__ = ["fashion_mnist"]

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def fashion_mnist(
    root: str | Path,
    *,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    seed: int = 0,
    cutout: int = 0,
) -> Classification:
    """Articles of clothing, 70,000 grey 28×28 images in IDX files (Xiao, Rasul and Vollgraf, 2017).

    Augmentation: pad-4 crop, flip, and a cutout square of `cutout` pixels where that is not 0.
    """
    return idx(
        "fashion_mnist",
        root,
        classes=CLASSES,
        augmentation=(Shift(4), Flip(), *((Cutout(cutout),) if cutout else ())),
        images=images,
        test_images=test_images,
        size=size,
        seed=seed,
    )
