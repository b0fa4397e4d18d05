"""`archipel train`, `eval` and `show` on one small network."""

import json

import numpy as np
import pytest

import archipel
from archipel.cli.train import resolvable
from archipel.errors import OptionError
from archipel.spaces import NETS, SPACES
from archipel.tasks import load

TINY = ("--width", 0.25, "--images", 200, "--test-images", 60, "--epochs", 2, "--threads", 1)


@pytest.fixture
def trained(call):
    ended = call("train", "mobilenet_v2", *TINY, "--out", "a", "--quiet", "--json")
    assert ended.code == 0, ended.err
    return ended.json


def test_train_then_eval_gives_the_same_number(call, trained):
    for split in ("val", "test"):
        again = call("eval", "a", "--split", split, "--json").json
        assert again["score"] == trained[split]["score"]
        assert again["cross_entropy"] == pytest.approx(trained[split]["cross_entropy"], rel=1e-6)
    assert "60 test images of digits" in call("eval", "a").out
    assert len(trained["history"]) == 2


def test_every_published_network_is_in_a_listed_space():
    for name, net in NETS.items():
        assert SPACES[resolvable(name)] is net.function
    assert resolvable("own.py:mine") == "own.py:mine"


def test_it_answers_from_the_folder_alone(call, trained, tmp_path):
    model, task = archipel.load(trained["run"]), load("digits", images=200, test_images=60)
    (batch,) = task.loader("test", 1000)
    said = model.predict(np.stack([task.image("test", int(i)) for i in batch.index]))
    assert (said.indices == batch.targets.numpy()).mean() == pytest.approx(trained["test"]["score"])
    assert model.kind == "mobilenet_v2"
    assert said[0].latency_ms > 0.0
    assert call("export", "a", "--out", "a.onnx", "--form", "routed").code == 2
    (tmp_path / "a" / "weights.safetensors").unlink()
    with pytest.raises(OptionError, match=r"weights\.safetensors is missing: the weights of mobilenet_v2 were removed"):
        archipel.load(trained["run"]).predict(np.zeros((8, 8), np.uint8))


def test_show_and_report_know_a_training(call, trained):
    text = call("show", "a").out
    assert "stages done    training" in text
    assert f"{100 * trained['test']['score']:.2f} %" in text
    ended = call("report", "a")
    assert ended.code == 2
    assert "needs no report" in ended.line


def test_a_stopped_training_goes_on_to_the_same_end(call, trained, monkeypatch):
    from archipel.recipes import train as recipe

    real = recipe.evaluate
    left = [1]

    def stop(*arguments, **options):
        if not left.pop():
            raise KeyboardInterrupt
        left.append(0)
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "evaluate", stop)
        ended = call("train", "mobilenet_v2", *TINY, "--out", "b", "--quiet")
    assert ended.code == 130
    assert ended.line == "archipel: stopped; continue with 'archipel train --resume b'"
    again = call("train", "--resume", "b", "--quiet", "--json").json
    assert again["history"] == trained["history"]
    assert (again["val"], again["test"]) == (trained["val"], trained["test"])


@pytest.mark.usefixtures("trained")
def test_resuming_refuses_other_settings(call):
    for arguments, words in [
        (("--lr", 3), "--lr 3.0 contradicts a, which has 0.05"),
        (("--width", 1), "--width 1.0 contradicts a, which has 0.25"),
        (("--random", 1), "leave out --random"),
    ]:
        ended = call("train", "--resume", "a", *arguments)
        assert ended.code == 2
        assert words in ended.line


def test_a_child_of_a_space_by_file_or_at_random(call, tmp_path):
    shown = call("show", "instanas", "--random", 3, "--data", "digits", "--json").json
    (tmp_path / "net.json").write_text(json.dumps(shown["architecture"]))
    small = ("--images", 200, "--test-images", 60, "--epochs", 1, "--threads", 1, "--quiet", "--json")
    by_file = call("train", "instanas", "--architecture", "net.json", *small).json
    by_seed = call("train", "instanas", "--random", 3, *small).json
    assert by_file["parameters"] == by_seed["parameters"] == shown["parameters"]
    assert by_file["test"] == by_seed["test"]
    assert by_file["run"].startswith("runs/")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "which network?"),
        ("instanas", "is a space of many networks; choose one"),
        ("instanas --random 1 --architecture x.json", "both choose the network"),
        ("instanas --architecture none.json", "cannot read the architecture none.json"),
        ("instanas --architecture bad.json", "bad.json holds no JSON"),
        ("instanas --architecture list.json", "list.json holds no architecture"),
        ("instanas --architecture other.json", "l0"),
        ("mobilenet_v3", "there is no space 'mobilenet_v3'"),
        ("mobilenet_v2 --option.widht 1", "has no option 'widht'"),
        ("mobilenet_v2 --epochs 1 --lrr 1", "unknown option '--lrr'"),
        ("mobilenet_v2 --data nowhere/x", "folder 'nowhere/x' does not exist"),
        ("mobilenet_v2 --resume nowhere", "nowhere is no run"),
        ("mobilenet_v2 --device phone.py:time", "phone.py:time' only times networks; train on 'cpu'"),
        ("raises.py:net", "raised RuntimeError: no luck"),
        ("returns.py:net", "returned str"),
    ],
)
def test_bad_input(call, tmp_path, arguments, words):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "other.json").write_text('{"l0": ["nothing"]}')
    (tmp_path / "phone.py").write_text("def time(module, inputs, rounds):\n    return [1.0] * rounds\n")
    (tmp_path / "raises.py").write_text("def net(choose, classes=2):\n    raise RuntimeError('no luck')\n")
    (tmp_path / "returns.py").write_text("def net(choose, classes=2):\n    return 'net'\n")
    ended = call("train", *arguments.split(), "--threads", 1)
    assert ended.code == 2
    assert words in ended.line
    assert not (tmp_path / "runs").exists()
