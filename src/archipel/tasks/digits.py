"""The 1797 handwritten digits that scikit-learn carries: a data set without a download."""

from __future__ import annotations

import numpy as np
import torch

from archipel.tasks.augmentation import Shift
from archipel.tasks.classification import Classification
from archipel.tasks.pixels import classification_of_pixels

__all__ = ["digits"]


def digits(
    *, images: int | None = None, test_images: int | None = None, size: int | None = None, seed: int = 0
) -> Classification:
    """Handwritten digits, 1797 grey 8×8 images, carried by scikit-learn (Alpaydin and Kaynak, UCI 1998).

    The 17 grey levels are spread over 0 to 255. Augmentation: shifts by one pixel.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = torch.from_numpy((data.images * (255 / 16)).round().astype(np.uint8))[:, None]  # [N, 1, 8, 8]
    labels = torch.from_numpy(data.target.astype(np.int64))
    return classification_of_pixels(
        "digits",
        pixels,
        labels,
        {"train": torch.arange(len(labels))},
        classes=[str(digit) for digit in range(10)],
        augmentation=(Shift(1),),
        images=images,
        test_images=test_images,
        size=size,
        seed=seed,
    )
