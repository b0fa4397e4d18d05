"""Files behind what runs an image that comes alone, compared with PyTorch as all are.

Letters: `N` images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archipel.deploy.alone import CascadeAlone, ControlledAlone
from archipel.deploy.export import Feed, compared, needs_extra, said
from archipel.deploy.forms import Controlled, Escalating
from archipel.deploy.manifest import Point
from archipel.deploy.model import Model
from archipel.deploy.routed_cascade import uncut_cascade
from archipel.deploy.uncut import Uncut
from archipel.deploy.uncut_options import uncut_options
from archipel.nn.onnx_model import Known
from archipel.run import atomic

__all__ = ["Alone", "alone_of", "export_alone"]

Alone = CascadeAlone | ControlledAlone

_COMPARED = 32
"""Images that a file is compared on."""


def export_alone(model: Model, path: Path, pixels: Tensor, point: Point, *, known: Known | None = None) -> None:
    """Write what `alone_of` reads: the exits or networks of a cascade, or a controller with its meta-graph.

    Args:
        pixels: images to compare on, uint8 `[N, C, H, W]`.
        known: what was exported before, see `archipel.nn.onnx_model.onnx_parts`.

    Raises:
        OptionError, RunError, StorageError: as of `archipel.deploy.export_forms.export_routed`.
    """
    needs_extra()
    form, shape = model.form, model.manifest.input_shape
    assert isinstance(form, Escalating | Controlled)
    with said():
        if isinstance(form, Escalating):
            graph = uncut_cascade(form.cascade(point), shape, known=known)
        else:
            graph = uncut_options(*form.loaded(point), shape, known=known)
    content = graph.SerializeToString()
    images = model.inputs.normalise(pixels[:_COMPARED])
    alone = alone_of(model, content, point, 1, images)
    points = [point]
    if isinstance(form, Escalating):
        every = {point.thresholds, model.points[0].thresholds, model.points[-1].thresholds}
        points = [replace(point, thresholds=thresholds) for thresholds in sorted(every)]
    feed = {"images": images.contiguous().numpy()}
    for one in points:
        compared(_OneByOne(alone, one), path, [feed], partial(_known, form, one))
    atomic.replace(path, content)


def alone_of(model: Model, content: bytes | Path, point: Point, threads: int, images: Tensor) -> Alone:
    """What answers single images for a cascade, or for one controller of a family.

    Args:
        content: of a file, or where it is.
        point: one of those that the controller answers.
        images: such as will be asked about, `[N, C, H, W]`, normalised.
    """
    graph, form = Uncut.read(content), model.form
    if isinstance(form, Escalating):
        return CascadeAlone(graph, form.cascade(point), threads)
    assert isinstance(form, Controlled)
    points = [one for one in model.points if one.network == point.network and one.name is not None]
    return ControlledAlone(graph, form.space, threads, images.contiguous().numpy(), points or [point])


def _known(form: Escalating | Controlled, point: Point, feed: Feed) -> Mapping[str, Tensor]:
    images = torch.from_numpy(feed["images"])
    if isinstance(form, Escalating):
        output, stage, _ = form.cascade(point).answer(images)
        return {"scores": output, "stage": stage}
    output, codes = form.network(point).answer(images)
    return {"scores": output, "codes": codes}


class _OneByOne:
    """As a session, for batches."""

    def __init__(self, alone: Alone, point: Point) -> None:
        self._alone, self._point = alone, point

    def run(self, _names: Any, feed: Feed) -> list[np.ndarray]:
        rows = [self._alone.answer(image[None], self._point) for image in feed["images"]]
        return [np.concatenate(parts) for parts in zip(*(row for row in rows if row is not None), strict=True)]
