"""`archipel export`: of a run with its weights, of a published network, of a space."""

import json
import re

import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

TINY = ("--images", 120, "--test-images", 40, "--epochs", 2, "--threads", 1, "--quiet")


def test_a_run(call, tmp_path):
    trained = call("train", "mobilenet_v2", "--width", 0.25, *TINY, "--out", "a", "--json").json
    ended = call("export", "a", "--out", "net.onnx", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["network"] == "mobilenet_v2"
    assert ended.json["images"] > 10, "real ones too"
    assert ended.json["same_answers"] == 1.0
    model = onnx.load(tmp_path / "net.onnx")
    held = {entry.key.partition(".")[2]: json.loads(entry.value) for entry in model.metadata_props}
    assert held["trained"] is True
    assert len(held["classes"]) == 10
    # Someone who has only the file, and the images as bytes, gets the accuracy of the run.
    from archipel.tasks import load

    task = load("digits", images=120, test_images=40, seed=0)
    pixels = task.images[task.indices["test"]].float().numpy()
    assert len(held["mean"]) == 1
    inputs = (pixels - held["mean"][0]) / held["std"][0]
    scores = ort.InferenceSession((tmp_path / "net.onnx").read_bytes()).run(None, {"images": inputs.astype("float32")})
    right = (scores[0].argmax(1) == task.labels[task.indices["test"]].numpy()).mean()
    assert right == pytest.approx(trained["test"]["score"], abs=1e-6)


def test_what_an_instance_aware_run_found(call, finished, tmp_path):
    ended = call(
        "export", finished.path, "--form", "child", "--network", "exit 2", "--int8", "--out", "n.onnx", "--json"
    )
    assert ended.code == 0, ended.err
    assert (ended.json["model"], ended.json["form"]) == ("early_exit", "child")
    (made,) = ended.json["files"]
    assert made["same_answers"] == 1.0
    smaller = ended.json["int8"]
    assert smaller["bytes"] < made["bytes"] or made["bytes"] < 100_000  # of a tiny network most is its description
    assert smaller["images"] == 30, "a quarter of the 40 calibrated"
    assert abs(smaller["accuracy"] - smaller["full_accuracy"]) <= 0.2
    kinds = {node.op_type for node in onnx.load(tmp_path / smaller["path"]).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--form routd", "--form is 'routd'; give one of .*; did you mean 'routed'?"),
        ("--target 0.0001", "is below the fastest point of early_exit"),
        ("--target Q", "early_exit has no point 'Q'"),
        ("--form controller", "early_exit has no controller"),
        ("--int8", "--int8 is for --form child"),
        ("--model mobilenet_v2 --form routed", "mobilenet_v2 answers every image alike"),
        ("--random 3", "is a run, exported as it was trained"),
    ],
)
def test_bad_input_of_a_run(call, finished, tmp_path, options, words):
    ended = call("export", finished.path, *options.split(), "--out", "n.onnx")
    assert ended.code == 2
    assert re.search(words.replace("?", "[?]"), ended.line)
    assert not list(tmp_path.glob("*.onnx"))


def test_one_of_a_space_for_a_person(call, tmp_path):
    text = call("export", "proxyless", "--option.macro", "digits", "--size", 8, "--random", 3, "--out", "n.onnx").out
    assert "proxyless: n.onnx" in text
    assert "batch × 3 × 8 × 8" in text
    assert "random; train the network first" in text
    assert "differs from PyTorch" in text
    assert (tmp_path / "n.onnx").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("proxyless --out n.onnx", "is a space of many networks; choose one"),
        ("proxyless_cpuu --out n.onnx", "did you mean 'proxyless_cpu'?"),
        ("mobilenet_v2 --out none/n.onnx", "the folder of none/n.onnx does not exist"),
        ("mobilenet_v2 --out folder", "folder is a folder; name a file with --out"),
        ("folder --out n.onnx", "folder is no run"),
        ("folder --out n.onnx --random 1", "'folder' is a run, exported as it was trained"),
    ],
)
def test_bad_input(call, tmp_path, arguments, words):
    (tmp_path / "folder").mkdir()
    ended = call("export", *arguments.split())
    assert ended.code == 2
    assert words in ended.line
    assert not list(tmp_path.glob("*.onnx"))
