"""Pictures small enough to live inside the page: PNG as data addresses."""

from __future__ import annotations

import base64
import io

import numpy as np

__all__ = ["SIDE", "data_uri", "is_tiny"]

SIDE = 48
"""Longest side in pixels; larger pictures are scaled down to it."""


def is_tiny(images: np.ndarray) -> bool:
    """Whether pictures `[N, H, W, 3]` are shown enlarged, so that their pixels should stay square."""
    return max(images.shape[1:3]) <= 32


def data_uri(image: np.ndarray) -> str:
    """A picture `uint8 [H, W, 3]` as `data:image/png;base64,…`.

    Grey pictures are stored as grey; colour above 32 pixels a side with a palette of 96, a third of the bytes.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all():
        picture = picture.convert("L")
    elif max(picture.size) > 32:
        picture = picture.quantize(96)
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
