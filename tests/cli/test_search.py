"""`archipel search proxylessnas` from end to end on a space of one's own, and what is done with its networks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SPACE = """
from torch import nn
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, residual


class Own(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 1)

    def forward(self, x):
        return self.conv(x).tanh()


def little(choose, *, classes=10, channels=1, size=8):
    options = {"mb": lambda: InvertedResidual(8, 8, kernel=3, expand=2), "own": lambda: Own(8), "zero": Zero}
    body = [residual(choose.op(f"b{i}", options)) for i in range(4)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)]
    return nn.Sequential(ConvBN(channels, 8, 3, stride=2), *body, *head)
"""
TINY = (
    "--images", 160, "--test-images", 40, "--seeds", 1, "--threads", 1, "--quiet", "--warming.epochs", 1,
    "--joint.epochs", 1, "--retraining.epochs", 1, "--derivation.candidates", 2, "--derivation.level", 0.6,
    "--latency.rounds", 2, "--latency.calibrating", 5, "--latency.held-out", 3, "--latency.probed", 4,
    "--latency.cover", 1, "--baselines.mobilenet", 0.25, "--jobs.workers", 1,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run for one budget."""
    from archipel.cli.app import app

    path = tmp_path_factory.mktemp("search")
    (path / "mine.py").write_text(SPACE)
    before = Path.cwd()
    os.chdir(path)
    try:
        words = ("search", "proxylessnas", "--space", "mine.py:little", "--budget-ms", 5, *TINY, "--out", "run")
        app([*map(str, words)], result_action="return_value")
    finally:
        os.chdir(before)
    return path / "run"


def test_its_networks_are_judged_again_as_the_run_judged_them(call, folder: Path):
    result = call("show", folder, "--json").json["result"]
    kinds = {p["kind"]: p["accuracy"]["values"][0] for p in result["points"]}
    assert {"proxylessnas", "random_architecture"} <= set(kinds)
    for kind, accuracy in kinds.items():
        judged = call("eval", folder, "--network", f"{kind}-cpu-0-0", "--json").json
        assert judged["network"] == f"{kind}-cpu-0-0"
        assert judged["score"] == pytest.approx(accuracy, abs=1e-6)
    assert call("eval", folder, "--json").json["network"] == "proxylessnas-cpu-0-0"


def test_a_found_network_is_exported_with_its_weights(call, folder: Path, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    ended = call("export", folder, "--out", "found.onnx", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["network"] == "proxylessnas-cpu-0-0"
    assert ended.json["same_answers"] == 1.0
    held = {entry.key.partition(".")[2]: entry.value for entry in onnx.load(tmp_path / "found.onnx").metadata_props}
    assert held["trained"] == "true"
    assert "b0" in held["architecture"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "RUN", "--network", "proxylesnas-cpu-0-0"), "did you mean 'proxylessnas-cpu-0-0'?"),
        (("export", "RUN", "--random", 1, "--out", "n.onnx"), "it takes no option that shapes a network: leave out"),
        (("export", "proxyless", "--network", "a", "--out", "n.onnx"), "'proxyless' is no run; leave it out"),
        (("run", "--resume", "RUN"), "continue it with 'archipel search proxylessnas --resume"),
    ],
)
def test_bad_input(call, folder: Path, arguments, words):
    ended = call(*(folder if word == "RUN" else word for word in arguments))
    assert ended.code == 2
    assert words in ended.line


def test_a_run_that_has_trained_nothing_says_how_to_go_on(call, folder: Path, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "begun")
    for stage in (tmp_path / "begun" / "stages").iterdir():
        if not stage.name.startswith("latency"):
            stage.unlink()
    (tmp_path / "begun" / "result.json").unlink()
    ended = call("eval", "begun")
    assert ended.code == 2
    assert "has trained no network yet; continue it with 'archipel search proxylessnas --resume" in ended.line
    assert "archipel search proxylessnas --resume" in call("show", "begun").out
