"""The test images that a run keeps, as its networks take them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from archipel.deploy.images import Inputs
from archipel.errors import RunError
from archipel.run.folder import RunFolder

__all__ = ["Stored", "stored_images"]

FILE = "instances.safetensors"


class Stored(NamedTuple):
    """Of `N` test images."""

    pixels: Tensor
    """uint8 `[N, C, S, S]`."""
    labels: Tensor
    """`[N]`, int64."""
    positions: Tensor
    """`[N]`, in the test set."""


def stored_images(run: Path, inputs: Inputs, most: int) -> Stored:
    """At most so many, from the first.

    Raises:
        RunError: the run keeps none.
    """
    if (run / "instances" / FILE).is_file():  # a run that first evolved a space: the last of its parts
        run = run / "instances"
    if not (run / FILE).is_file():
        raise RunError(f"{run} keeps no test images ({FILE} is missing), which a file is compared on; repeat the run")
    tensors, _ = RunFolder.open(run, write=False).read_tensors(FILE)
    images, labels, index = (tensors[name][:most] for name in ("images", "label", "index"))
    return Stored(inputs.pixels(np.ascontiguousarray(images.numpy())), labels.to(torch.int64), index)
