"""A family's networks in ONNX Runtime, decisions inside, from files that stay in the run folder.

They are the files of `archipel export`, each compared with PyTorch on the run's own test images before it is used. One
is named after what it was made of, so that a run that goes on with other weights gets others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archipel.deploy.executors import Executors, Wanted
from archipel.deploy.export import session_of
from archipel.deploy.export_forms import export_child, export_routed, export_single
from archipel.deploy.forms import Answered, Controlled, Escalating, Static
from archipel.deploy.manifest import Point
from archipel.deploy.model import Model
from archipel.deploy.rebuilding import weights_file
from archipel.deploy.stored import stored_images
from archipel.errors import OptionError, RunError
from archipel.nn.onnx_model import Known
from archipel.run.folder import RunFolder

__all__ = ["OnnxForm", "executors", "onnx_form"]

FOLDER = "onnx"
"""Of a run."""
_SCHEMA = 1
"""Another one where files are written in another way."""
_COMPARED = 128
"""Test images that a file is compared on."""


class OnnxForm:
    """Answers as the form that it was made of.

    Args:
        sessions: ONNX Runtime's, by the position of their network among the family's; of exits and cascades one, 0.
        single: of exits and cascades, what runs an image that comes alone.
    """

    def __init__(self, form: Static | Escalating | Controlled, sessions: Mapping[int, Any], single: Any = None) -> None:
        self.form, self.sessions, self.single = form, sessions, single

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        form, feed = self.form, {"images": inputs.contiguous().numpy()}
        if isinstance(form, Escalating):
            feed["thresholds"] = np.array(point.thresholds, np.float32)
            session = self.single if len(inputs) == 1 else self.sessions[0]
            output, stage = session.run(["scores", "stage"], feed)
            return form.told(torch.from_numpy(output), torch.from_numpy(stage))
        session = self.sessions[point.network]
        if isinstance(form, Static):
            (output,) = session.run(["scores"], feed)
            return form.told(torch.from_numpy(output), point)
        if point.asked_ms is not None:
            feed["target_ms"] = np.full(len(inputs), point.asked_ms, np.float32)
        output, codes = session.run(["scores", "codes"], feed)
        return form.told(torch.from_numpy(output), torch.from_numpy(codes))


def executors(model: Model, folder: RunFolder, wanted: Wanted) -> Executors:
    """What is to run a model's batches.

    Args:
        model: run by PyTorch.
        wanted: of "auto" ONNX Runtime is left out where it cannot be had, and the answer says why.

    Raises:
        OptionError: "onnx" is wanted and a package is missing, the device is another, or the networks' decisions have
            no such form.
        RunError: it is wanted, and the run keeps no test images, or a file gives other answers than PyTorch.
    """
    if wanted == "torch":
        return Executors({"torch": model.form})
    try:
        pixels = stored_images(folder.path, model.inputs, _COMPARED).pixels
        made = onnx_form(model, folder, pixels)
    except (OptionError, RunError) as error:
        if wanted == "onnx":
            raise
        return Executors({"torch": model.form}, why=str(error))
    if wanted == "onnx":
        return Executors({"onnx": made})
    return Executors.fastest({"torch": model.form, "onnx": made}, model.inputs.normalise(pixels), model.at())


def onnx_form(model: Model, folder: RunFolder, pixels: Tensor) -> OnnxForm:
    """All networks of a model's family, on as many threads as torch has now.

    Seconds for the first network, and little for the others; from then on the files are there, in the run folder where
    that may be written.

    Args:
        pixels: images to compare on, uint8 `[N, C, H, W]`.

    Raises:
        OptionError, RunError: see `executors`.
    """
    if model.device.type != "cpu":
        raise OptionError(f"executor onnx runs on the CPU, and {model.kind} was loaded for {model.device}")
    if not isinstance(model.form, Static | Escalating | Controlled):
        raise OptionError(f"{model.kind} decides on its way through the network, which no ONNX file holds; give torch")
    _needed("onnxruntime")
    known: Known = {}
    threads = torch.get_num_threads()
    with _place(folder) as place:

        def session(name: str, point: Point, write: Callable[[Path, Point], object]) -> Any:
            return session_of(_file(model, folder, place, name, point, write), threads)

        def routed(path: Path, point: Point) -> None:
            export_routed(model, path, pixels, point, known=known, timed=False)

        def alone(path: Path, point: Point) -> None:
            export_single(model, path, pixels, point, known=known)

        def child(path: Path, point: Point) -> None:
            export_child(model, path, pixels, point, model.family.networks[point.network].name, timed=False)

        if isinstance(model.form, Escalating):
            point = model.at()
            single = session("single", point, alone)
            return OnnxForm(model.form, {0: session("0", point, routed)}, single)
        points = {point.network: point for point in model.points}
        write = child if isinstance(model.form, Static) else routed
        return OnnxForm(model.form, {n: session(str(n), point, write) for n, point in sorted(points.items())})


def _file(
    model: Model, folder: RunFolder, place: Path, name: str, point: Point, write: Callable[[Path, Point], object]
) -> Path:
    stem = f"{model.kind}-{model.seed}-{name}"
    path = place / f"{stem}-{_source(model, folder, point.network)}.onnx"
    if path.is_file():
        return path
    _needed("onnx", "onnxscript")
    write(path, point)
    for old in place.glob(f"{stem}-*.onnx"):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def _source(model: Model, folder: RunFolder, number: int) -> str:
    """What a file is made of, in short."""
    family = model.family
    networks = family.networks if isinstance(model.form, Escalating) else family.networks[number : number + 1]
    plain = [_SCHEMA, [asdict(one) for one in networks], family.rule, family.controller]
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for one in networks:
        digest.update(weights_file(folder, one).read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _place(folder: RunFolder) -> Iterator[Path]:
    if not os.access(folder.path, os.W_OK):
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    place = folder.path / FOLDER
    place.mkdir(exist_ok=True)
    yield place


def _needed(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"executor onnx needs {missing[0]}, which is not installed; run: pip install 'archipel[export]'"
        )
