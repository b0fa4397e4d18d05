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
from archipel.deploy.export_alone import Alone, alone_of, export_alone
from archipel.deploy.export_forms import export_child, export_routed
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
_SCHEMA = 3
"""Another one where files are written in another way."""
_COMPARED, _KNOWN = 128, 1000
"""Test images that a file is compared on, and that are looked at to know what images are like."""


class OnnxForm:
    """Answers as the form that it was made of.

    Args:
        sessions: ONNX Runtime's, by the position of their network among the family's; of exits and cascades one, 0.
        alone: of networks that decide, what runs an image that comes alone.
    """

    def __init__(
        self,
        form: Static | Escalating | Controlled,
        sessions: Mapping[int, Any],
        alone: Mapping[int, Alone],
    ) -> None:
        self.form, self.sessions, self.alone = form, sessions, alone

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        form, images = self.form, inputs.contiguous().numpy()
        if isinstance(form, Static):
            (output,) = self.sessions[point.network].run(["scores"], {"images": images})
            return form.told(torch.from_numpy(output), point)
        output, decided = map(torch.from_numpy, self.decided(images, point))
        return form.told(output, decided)

    def decided(self, images: np.ndarray, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Answers `[B, classes]`, and the stages `[B]` or architectures `[B, D]` that gave them, of networks that
        decide."""
        number = 0 if isinstance(self.form, Escalating) else point.network
        said = self.alone[number].answer(images, point) if len(images) == 1 else None
        if said is not None:
            return said
        feed, by = {"images": images}, "codes"
        if isinstance(self.form, Escalating):
            feed["thresholds"], by = np.array(point.thresholds, np.float32), "stage"
        elif point.asked_ms is not None:
            feed["target_ms"] = np.full(len(images), point.asked_ms, np.float32)
        output, decided = self.sessions[number].run(["scores", by], feed)
        return output, decided


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
        pixels = stored_images(folder.path, model.inputs, _KNOWN).pixels
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
        pixels: such as the model will be asked about, uint8 `[N, C, H, W]`; the first are compared on.

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
    few, images = pixels[:_COMPARED], model.inputs.normalise(pixels)
    with _place(folder) as place:

        def file(name: str, point: Point, write: Callable[[Path, Point], object]) -> Path:
            return _file(model, folder, place, name, point, write)

        def routed(path: Path, point: Point) -> None:
            export_routed(model, path, few, point, known=known, timed=False)

        def alone(path: Path, point: Point) -> None:
            export_alone(model, path, few, point, known=known)

        def child(path: Path, point: Point) -> None:
            export_child(model, path, few, point, model.family.networks[point.network].name, timed=False)

        is_static = isinstance(model.form, Static)
        points = {point.network: point for point in model.points}
        if isinstance(model.form, Escalating):
            points = {0: model.at()}
        sessions, singles = {}, {}
        for number, point in sorted(points.items()):
            path = file(str(number), point, child if is_static else routed)
            sessions[number] = session_of(path, threads)
            if not is_static:
                path = file(f"alone-{number}", point, alone)
                singles[number] = alone_of(model, path, point, threads, images)
        return OnnxForm(model.form, sessions, singles)


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
