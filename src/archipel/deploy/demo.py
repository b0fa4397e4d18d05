"""A run as a page: a folder that any file server shows, in which network and decisions run in the browser."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from archipel.deploy import web_runtime
from archipel.deploy.demo_data import family_data
from archipel.deploy.export import Exported
from archipel.deploy.export_forms import export_routed
from archipel.deploy.forms import Controlled, Escalating
from archipel.deploy.loading import load
from archipel.deploy.model import Model
from archipel.deploy.new_folder import new_folder
from archipel.deploy.stored import stored_images
from archipel.errors import OptionError, RunError
from archipel.nn.onnx_model import Known
from archipel.report import theme
from archipel.run.atomic import replace

__all__ = ["Demo", "build_demo"]

WEB = Path(__file__).parent / "web"
PAGE = ("demo.js", "model.js", "map.js", "picture.js")
DECIDING = ("early_exit", "instanas", "child_cascade", "mobilenet_cascade", "blockdrop")
"""Families that decide by image, in the order in which the page offers them."""
GALLERY = 140
COLUMNS = 20
"""Of the picture that all of the gallery is kept in."""
MAPPED = 400


@dataclass(frozen=True)
class Demo:
    """A folder that was written."""

    path: Path
    models: tuple[str, ...]
    images: int
    files: tuple[Exported, ...]
    """The networks, each compared with PyTorch on the run's test images."""
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path), "files": [one.to_json() for one in self.files]}


def build_demo(run: Path, out: Path, *, models: Sequence[str] = (), seed: int | None = None) -> Demo:
    """Write the page of a run that `archipel run` made.

    Args:
        out: a new folder.
        models: families that it offers; if not given, all of the run's that decide by image.
        seed: which of the run's networks; the first if not given.

    Raises:
        OptionError: the folder is there already, or a family cannot be shown.
        RunError: the folder is no such run, or what the page needs is missing.
        StorageError: the disk is full.
    """
    try:
        runtime = web_runtime.fetch()
    except web_runtime.RuntimeMissing as error:
        raise RunError(f"the demo cannot be built: {error}") from error
    first = load(run)
    known = {family.kind for family in first.manifest.families}
    wanted = list(models) or [kind for kind in DECIDING if kind in known]
    if not wanted:
        raise OptionError(f"{run} kept no network that decides by image, so there is nothing to show")
    loaded = [load(run, kind, seed) for kind in wanted]
    for model in loaded:
        if not isinstance(model.form, Escalating | Controlled):
            why = "answers every image alike" if model.family.form == "static" else "decides inside its blocks"
            raise OptionError(f"{model.kind} {why}; the demo shows what decides by image before or between networks")
    pixels, labels, index = stored_images(run, first.inputs, MAPPED)
    picked = _spread(labels, min(GALLERY, len(labels)))
    with new_folder(out):
        shown: list[dict[str, Any]] = []
        files: list[Exported] = []
        exported: Known = {}
        for model in loaded:
            written = _networks(model, out, pixels, exported)
            files += written.values()
            names = {number: one.path.name for number, one in written.items()}
            shown.append(family_data(model, names, pixels, picked))
        data = {
            "title": first.manifest.title,
            "device": first.manifest.device["name"],
            "classes": list(first.classes),
            "inputs": {
                "channels": first.inputs.channels,
                "size": first.inputs.size,
                "mean": list(first.inputs.mean),
                "std": list(first.inputs.std),
            },
            "images": {
                "sprite": "images.png",
                "columns": COLUMNS,
                "index": [int(index[i]) for i in picked],
                "label": [int(labels[i]) for i in picked],
            },
            "models": shown,
        }
        replace(out / "data.json", json.dumps(data, separators=(",", ":"), allow_nan=False).encode())
        replace(out / "images.png", _sprite(pixels[picked]))
        _page(out, runtime, data)
        size = sum(file.stat().st_size for file in out.iterdir())
        return Demo(out, tuple(wanted), len(picked), tuple(files), size)


def _networks(model: Model, out: Path, pixels: Tensor, known: Known) -> dict[int, Exported]:
    """The graphs of a family's points, by the position of what answers: a cascade and a conditioned controller are
    one for all points."""
    found: dict[int, Exported] = {}
    for point in model.points:
        number = point.network if isinstance(model.form, Controlled) else 0
        if number not in found:
            path = out / f"{model.kind}-{number}.onnx"
            found[number] = export_routed(model, path, pixels, point, known=known, timed=False)
    return found


def _spread(labels: Tensor, count: int) -> list[int]:
    """So many images, the classes taken in turns."""
    rows: dict[int, list[int]] = {}
    for i, label in enumerate(labels.tolist()):
        rows.setdefault(label, []).append(i)
    turns = sorted((turn, label, i) for label, own in rows.items() for turn, i in enumerate(own))
    return sorted(i for _, _, i in turns[:count])


def _sprite(pixels: Tensor) -> bytes:
    """All pictures in one, row by row, as PNG: nothing of them is lost."""
    count, channels, size, _ = pixels.shape
    rows = -(-count // COLUMNS)
    sheet = np.zeros((rows * size, COLUMNS * size, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels.numpy()):
        y, x = divmod(i, COLUMNS)
        colour = np.repeat(picture, 3 // channels, axis=0).transpose(1, 2, 0)
        sheet[y * size : (y + 1) * size, x * size : (x + 1) * size] = colour
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
    return file.getvalue()


def _page(out: Path, runtime: Path, data: dict[str, Any]) -> None:
    """The page itself, in the look of the report."""
    import jinja2

    loader = jinja2.PackageLoader("archipel.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string((WEB / "index.html.j2").read_text(encoding="utf-8")).render(data)
    style = theme.css() + _source(environment, "style.css") + (WEB / "demo.css").read_text(encoding="utf-8")
    content = {
        "index.html": page,
        "style.css": style,
        "theme.js": _source(environment, "theme.js") + (WEB / "start.js").read_text(encoding="utf-8"),
        "architecture.js": _source(environment, "architecture.js"),
        **{name: (WEB / name).read_text(encoding="utf-8") for name in PAGE},
    }
    for name, text in content.items():
        replace(out / name, text.encode())
    for name in web_runtime.FILES:
        shutil.copy(runtime / name, out / name)


def _source(environment: Any, name: str) -> str:
    source: str = environment.loader.get_source(environment, name)[0]
    return source
