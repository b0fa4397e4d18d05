"""The folder of a run's page: complete, free of addresses, and of the same opinion as Python."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import archipel
from archipel.deploy import web_runtime
from archipel.deploy.demo import COLUMNS, Demo, build_demo
from archipel.deploy.stored import stored_images
from archipel.errors import OptionError, RunError

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for what npm fetches."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in web_runtime.FILES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture(scope="module")
def made(finished: Any, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_runtime, "fetch", lambda: runtime)
        return build_demo(finished.path, tmp_path_factory.mktemp("demo") / "page", models=["early_exit"])


def test_everything_the_page_asks_for_is_there(made: Demo) -> None:
    files = {file.name for file in made.path.iterdir()}
    told = json.loads((made.path / "data.json").read_text())
    asked = {point["file"] for model in told["models"] for point in model["points"]} | {told["images"]["sprite"]}
    for name in files:
        if name.endswith((".js", ".html")):
            text = (made.path / name).read_text()
            asked |= set(re.findall(r'(?:src|href|from) ?=? ?"(?:\./)?([\w.-]+\.\w+)"', text))
    assert asked <= files
    assert set(web_runtime.FILES) <= files
    assert made.bytes == sum(file.stat().st_size for file in made.path.iterdir())
    for name in files - set(web_runtime.FILES):
        if not name.endswith((".onnx", ".png")):
            assert not re.search(r"https?://|src=\"//", (made.path / name).read_text()), f"{name} names an address"


def test_it_says_what_python_says(finished: Any, made: Demo) -> None:
    told = json.loads((made.path / "data.json").read_text())
    model = archipel.load(finished.path)
    pixels, labels, index = stored_images(finished.path, model.inputs, 1000)
    rows = [index.tolist().index(i) for i in told["images"]["index"]]
    assert told["images"]["label"] == labels[rows].tolist()
    (own,) = told["models"]
    assert own["points"]
    for point in own["points"]:
        said = model.predict(pixels[rows], point["name"] or point["ms"])
        if point["name"]:
            assert [own["names"][child] for child in point["children"]] == list(said.children)
            assert point["predicted"] == said.indices.tolist()
            costs = [own["costs"][child] for child in point["children"]]
            assert costs == pytest.approx(said.latency_ms.tolist())
    for code in own["codes"]:
        assert len(code) == sum(len(choice["options"]) for choice in own["choices"])
        assert code.count("1") == own["codes"].index(code) + 1, "one decision at every exit up to the one that answers"


def test_pictures_are_whole(finished: Any, made: Demo) -> None:
    told = json.loads((made.path / "data.json").read_text())
    model = archipel.load(finished.path)
    pixels, _, index = stored_images(finished.path, model.inputs, 1000)
    sheet = np.asarray(Image.open(io.BytesIO((made.path / "images.png").read_bytes())))
    size = told["inputs"]["size"]
    for i, number in enumerate(told["images"]["index"]):
        y, x = divmod(i, COLUMNS)
        shown = sheet[y * size : (y + 1) * size, x * size : (x + 1) * size]
        assert (shown.transpose(2, 0, 1) == pixels[index.tolist().index(number)].numpy()).all()


def test_what_cannot_be_built(finished: Any, made: Demo, runtime: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(web_runtime, "fetch", lambda: runtime)
    with pytest.raises(OptionError, match="is there already; give a new folder by --out"):
        build_demo(finished.path, made.path)
    with pytest.raises(OptionError, match="mobilenet_v2 answers every image alike"):
        build_demo(finished.path, tmp_path / "none", models=["mobilenet_v2"])


def test_without_npm_it_is_one_line(finished: Any, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(web_runtime, "FETCHED", tmp_path / "empty")
    monkeypatch.setattr(web_runtime.shutil, "which", lambda _: None)
    with pytest.raises(RunError, match=r"npm, which fetches it, is not installed; install Node\.js") as caught:
        build_demo(finished.path, tmp_path / "page")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "page").exists()


def test_the_lock_file_names_a_version_and_no_host() -> None:
    lock = (web_runtime.HERE / "package-lock.json").read_text()
    assert "http" not in re.sub(r'"url": "[^"]*"', "", lock)
    wanted = json.loads((web_runtime.HERE / "package.json").read_text())["dependencies"][web_runtime.PACKAGE]
    assert json.loads(lock)["packages"][f"node_modules/{web_runtime.PACKAGE}"]["version"] == wanted
    assert json.loads(lock)["packages"][f"node_modules/{web_runtime.PACKAGE}"]["integrity"]
