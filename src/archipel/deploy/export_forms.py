"""What a run found, as ONNX files: one network, the most frequent ones, all of it with its decisions inside, or what
decides alone.

Letters: `N` images.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from archipel.deploy.deciding import Deciding
from archipel.deploy.export import Exported, Feed, compared, export_onnx, kept, needs_extra, noise, said, session_of
from archipel.deploy.forms import Controlled, Escalating, Gated
from archipel.deploy.manifest import Point
from archipel.deploy.model import Model
from archipel.deploy.new_folder import new_folder
from archipel.deploy.routed_cascade import routed_cascade
from archipel.deploy.routed_options import routed_options
from archipel.errors import OptionError
from archipel.instance.conditioned import ConditionedController
from archipel.instance.network import InstanceNetwork
from archipel.nn.fold import fold_for_inference
from archipel.nn.onnx_model import Known, onnx_parts
from archipel.run.atomic import replace as write

__all__ = [
    "FORMS",
    "Form",
    "export_child",
    "export_controller",
    "export_frequent",
    "export_routed",
    "metadata_of",
]

Form = Literal["child", "frequent", "routed", "controller"]
FORMS: tuple[Form, ...] = ("child", "frequent", "routed", "controller")
COVERED = 0.95
"""Share of the images that the most frequent networks are to answer."""
MOST = 16
"""Of them."""
_ALIGNED = 64
"""Weights in a file of their own begin at multiples of so many bytes."""


def export_child(
    model: Model, path: Path, pixels: Tensor, point: Point, name: str | None = None, *, timed: bool = True
) -> Exported:
    """One network that always answers, see `export_onnx`.

    Args:
        pixels: images to compare on, uint8 `[N, C, H, W]`.
        name: which, as predictions name it; the one that answers most of the images if not given.
        timed: whether file and PyTorch are timed, which takes longer than comparing them.

    Raises:
        OptionError: there is no such network.
    """
    name = name or _frequent(model, pixels, point)[0][0]
    network = model.form.child(name, point).cpu()
    metadata = metadata_of(model, point) | {"network": name}
    shape, images = model.manifest.input_shape, [model.inputs.normalise(pixels)]
    return export_onnx(network, path, input_shape=shape, images=images, metadata=metadata, timed=timed)


def export_routed(
    model: Model, path: Path, pixels: Tensor, point: Point, *, known: Known | None = None, timed: bool = True
) -> Exported:
    """All that answers at a point, with its decisions inside the graph; batches of any size.

    Of exits and cascades input `thresholds` moves it along the frontier, which the file's metadata holds; of a
    conditioned controller input `target_ms` does. See `routed_cascade` and `routed_options`.

    Args:
        pixels: images to compare on, uint8 `[N, C, H, W]`.
        known: what was exported before, see `archipel.nn.onnx_model.onnx_parts`: of several files of one run the first
            costs most of the time that all do.
        timed: whether file and PyTorch are timed, which takes longer than comparing them.

    Raises:
        OptionError: nothing is decided by image, or the file cannot hold how.
    """
    needs_extra()
    shape = model.manifest.input_shape
    images = [*noise(shape), model.inputs.normalise(pixels)]
    if isinstance(model.form, Escalating):
        return _export_cascade(model, path, images, point, known=known, timed=timed)
    if isinstance(model.form, Gated):
        raise OptionError(
            f"{model.kind} decides inside its blocks, which a file of options side by side cannot hold; export --form "
            "frequent or child"
        )
    if not isinstance(model.form, Controlled):
        raise OptionError(f"{model.kind} answers every image alike, so there is nothing to route; export --form child")
    source, controller = model.form.loaded(point)
    with said():
        graph = routed_options(source.cpu(), controller.cpu(), shape, known=known)
    conditioned = isinstance(controller, ConditionedController)
    asked = point.asked_ms or 0.0
    further = [{"target_ms": np.full(len(x), asked, np.float32)} if conditioned else {} for x in images]
    feeds = [_feed(x, **more) for x, more in zip(images, further)]
    network = InstanceNetwork(source, controller)

    def controlled(feed: Feed) -> Mapping[str, Tensor]:
        target = feed.get("target_ms")
        output, codes = network.answer(
            torch.from_numpy(feed["images"]), None if target is None else torch.from_numpy(target)
        )
        return {"scores": output, "codes": codes}

    timing = feeds[-1] if timed else None
    return kept(graph, path, feeds, controlled, metadata=metadata_of(model, point), timing=timing)


def _export_cascade(
    model: Model, path: Path, images: list[Tensor], point: Point, *, known: Known | None, timed: bool
) -> Exported:
    assert isinstance(model.form, Escalating)
    cascade = model.form.cascade(point).cpu()
    with said():
        graph = routed_cascade(cascade, model.manifest.input_shape, known=known)
    every = sorted({point.thresholds, model.points[0].thresholds, model.points[-1].thresholds})
    feeds = [_feed(x, thresholds=np.array(t, np.float32)) for t in every for x in images]
    at_point = _feed(images[-1], thresholds=np.array(point.thresholds, np.float32))

    def escalated(feed: Feed) -> Mapping[str, Tensor]:
        output, stage, _ = cascade.at(feed["thresholds"].tolist()).answer(torch.from_numpy(feed["images"]))
        return {"scores": output, "stage": stage}

    timing = at_point if timed else None
    return kept(graph, path, feeds, escalated, metadata=metadata_of(model, point), timing=timing)


def export_controller(model: Model, path: Path, pixels: Tensor, point: Point) -> Exported:
    """What picks architectures alone: `images` `[B, C, H, W]`, and `target_ms` `[B]` where it is conditioned, to
    `probabilities` and `codes`, `[B, D]` each.

    Raises:
        OptionError: nothing apart decides: exits and cascades look at the network's own answers.
    """
    needs_extra()
    if not isinstance(model.form, Controlled):
        why = "it answers every image alike; export --form child"
        if isinstance(model.form, Gated):
            why = "gates decide inside its blocks; export --form frequent or child"
        elif isinstance(model.form, Escalating):
            why = "what decides are the network's own answers; export --form routed"
        raise OptionError(f"{model.kind} has no controller: {why}")
    _, controller = model.form.loaded(point)
    deciding = Deciding(controller.cpu(), model.form.space).eval()
    shape = model.manifest.input_shape
    images = [*noise(shape), model.inputs.normalise(pixels)]

    def target(x: Tensor) -> dict[str, np.ndarray]:
        return {"target_ms": np.full(len(x), point.asked_ms, np.float32)} if deciding.conditioned else {}

    feeds = [_feed(x, **target(x)) for x in images]
    with said():
        (part,) = onnx_parts([(deciding, tuple(map(torch.from_numpy, feeds[0].values())))], dynamic=True)
    graph = part.named(list(feeds[0]), ["codes", "probabilities"]).model()

    def decided(feed: Feed) -> Mapping[str, Tensor]:
        codes, probabilities = deciding(*map(torch.from_numpy, feed.values()))
        return {"probabilities": probabilities, "codes": codes}

    return kept(graph, path, feeds, decided, metadata=metadata_of(model, point), timing=feeds[-1])


def export_frequent(model: Model, folder: Path, pixels: Tensor, point: Point, most: int = MOST) -> list[Exported]:
    """The networks that answer most images at a point, a file each, their weights together in `weights.bin`: what two
    of them share is there once. `networks.json` says which is which.

    Args:
        folder: is made.
        pixels: images to count and compare on, uint8 `[N, C, H, W]`.
        most: at most so many, fewer where they answer 95 % of the images.

    Raises:
        OptionError: the folder is there already and holds something.
    """
    needs_extra()
    with new_folder(folder):
        counts = _frequent(model, pixels, point)
        taken: list[tuple[str, int]] = []
        while len(taken) < min(most, len(counts)) and sum(n for _, n in taken) < COVERED * len(pixels):
            taken.append(counts[len(taken)])
        children = [fold_for_inference(model.form.child(name, point)).cpu().float() for name, _ in taken]
        shape = model.manifest.input_shape
        with said():
            parts = onnx_parts([(child, (noise(shape)[0],)) for child in children], dynamic=True)
        models = [part.named(["images"], ["scores"]).model() for part in parts]
        write(folder / "weights.bin", _outside(models))
        feeds = [_feed(x) for x in (*noise(shape), model.inputs.normalise(pixels))]
        found = []
        for number, (child, graph) in enumerate(zip(children, models), start=1):
            path = folder / f"network-{number}.onnx"
            write(path, graph.SerializeToString())
            one = compared(session_of(path), path, feeds, _plain(child))
            found.append(replace(one, bytes=path.stat().st_size, nodes=len(graph.graph.node)))
        rows = [{"file": one.path.name, "network": name, "images": n} for one, (name, n) in zip(found, taken)]
        told = metadata_of(model, point) | {"networks": rows, "images": len(pixels)}
        write(folder / "networks.json", json.dumps(told, indent=1).encode())
    return found


def metadata_of(model: Model, point: Point) -> dict[str, Any]:
    """What somebody who has only a file needs: classes, moments, and how its inputs move it along the frontier."""
    frontier = [
        {
            "name": one.name,
            "ms": one.ms,
            "accuracy": one.accuracy,
            "thresholds": one.thresholds,
            "target_ms": one.asked_ms,
        }
        for one in model.points
    ]
    return {
        "model": model.kind,
        "seed": model.seed,
        "classes": list(model.classes),
        "mean": list(model.inputs.mean),  # of pixels from 0 to 255, each channel
        "std": list(model.inputs.std),
        "point": {"name": point.name, "ms": point.ms, "thresholds": point.thresholds, "target_ms": point.asked_ms},
        "frontier": frontier,
        "device": model.manifest.device["name"],
    }


def _feed(images: Tensor, **further: np.ndarray) -> Feed:
    return {"images": images.contiguous().numpy(), **further}


def _plain(network: nn.Module) -> Callable[[Feed], Mapping[str, Tensor]]:
    return lambda feed: {"scores": network(torch.from_numpy(feed["images"]))}


def _frequent(model: Model, pixels: Tensor, point: Point) -> list[tuple[str, int]]:
    """Which networks answer the images, and how many each."""
    return Counter(model.answer(pixels, point).children).most_common()


def _outside(models: list[Any]) -> bytes:
    """Move the weights of all models into one file, equal ones once; gives its content."""
    from onnx import TensorProto, external_data_helper, numpy_helper

    places: dict[bytes, int] = {}
    content = bytearray()
    for model in models:
        for tensor in model.graph.initializer:
            raw = numpy_helper.to_array(tensor).tobytes()
            if raw not in places:
                content.extend(bytes(-len(content) % _ALIGNED))
                places[raw] = len(content)
                content.extend(raw)
            tensor.ClearField("float_data")
            tensor.ClearField("int64_data")
            tensor.raw_data = raw
            external_data_helper.set_external_data(tensor, "weights.bin", places[raw], len(raw))
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
    return bytes(content)
