"""What a finished run found as files: every form, compared with what the run itself says of its test images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archipel
from archipel.deploy.export_forms import export_controller, export_frequent, export_routed
from archipel.deploy.stored import stored_images
from archipel.errors import OptionError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def ran(path: Path, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


@pytest.fixture(scope="module")
def exits(finished: Any) -> archipel.Model:
    return archipel.load(finished.path)


def test_the_test_images_of_a_run(finished: Any, exits: archipel.Model) -> None:
    pixels, labels, index = stored_images(finished.path, exits.inputs, 30)
    assert pixels.shape == (30, 1, 8, 8)
    assert len(labels) == len(index) == 30


def test_early_exits_at_every_threshold(finished: Any, exits: archipel.Model, tmp_path: Path) -> None:
    pixels, _, _ = stored_images(finished.path, exits.inputs, 40)
    made = export_routed(exits, tmp_path / "all.onnx", pixels, exits.at())
    assert (made.same_answers, made.same_decisions) == (1.0, 1.0)
    assert made.images > 40
    assert made.ms is not None
    held = {entry.key: json.loads(entry.value) for entry in onnx.load(made.path).metadata_props}
    names = list(exits.children)
    for point in held["archipel.frontier"]:
        said = exits.predict(pixels, point["name"] or point["ms"])
        images = exits.inputs.normalise(pixels).numpy()
        found = ran(made.path, images=images, thresholds=np.array(point["thresholds"], np.float32))
        if point["name"]:
            assert [names[k] for k in found["stage"]] == list(said.children)
            assert found["scores"].argmax(1).tolist() == said.indices.tolist()


def test_the_most_frequent_share_their_weights(finished: Any, exits: archipel.Model, tmp_path: Path) -> None:
    pixels, _, _ = stored_images(finished.path, exits.inputs, 40)
    point = max(exits.points, key=lambda point: max(point.shares) < 1.0)
    made = export_frequent(exits, tmp_path / "all", pixels, point)
    told = json.loads((tmp_path / "all" / "networks.json").read_text())
    assert sum(row["images"] for row in told["networks"]) >= 0.95 * len(pixels)
    assert [row["file"] for row in told["networks"]] == [one.path.name for one in made]
    apart = 0
    for one, row in zip(made, told["networks"]):
        model = onnx.load(one.path)  # with its weights
        apart += sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
        found = ran(one.path, images=exits.inputs.normalise(pixels).numpy())
        said = exits.child(row["network"])(exits.inputs.normalise(pixels))
        np.testing.assert_allclose(found["scores"], said.detach().numpy(), rtol=1e-3, atol=1e-4)
    if len(made) > 1:
        assert (tmp_path / "all" / "weights.bin").stat().st_size < apart
    with pytest.raises(OptionError, match="is there already; give a new folder"):
        export_frequent(exits, tmp_path / "all", pixels, point)


def test_a_controller_alone(finished: Any, exits: archipel.Model, tmp_path: Path) -> None:
    model = archipel.load(finished.path, "instanas")
    pixels, _, _ = stored_images(finished.path, model.inputs, 40)
    made = export_controller(model, tmp_path / "controller.onnx", pixels, model.at())
    found = ran(made.path, images=model.inputs.normalise(pixels).numpy())
    bits = ["".join(map(str, row.astype(int))) for row in found["codes"]]
    assert bits == list(model.predict(pixels).children)
    with pytest.raises(OptionError, match="early_exit has no controller: what decides are the network's own answers"):
        export_controller(exits, tmp_path / "none.onnx", pixels, exits.at())


def test_what_answers_every_image_alike_is_not_routed(finished: Any, tmp_path: Path) -> None:
    model = archipel.load(finished.path, "mobilenet_v2")
    pixels, _, _ = stored_images(finished.path, model.inputs, 4)
    with pytest.raises(OptionError, match=r"mobilenet_v2 answers every image alike.*--form child"):
        export_routed(model, tmp_path / "none.onnx", pixels, model.at())
