"""`archipel search blockdrop` and `convnet_aig` from end to end, and what mistakes say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TINY = (
    "--images", 120, "--test-images", 40, "--seeds", 1, "--threads", 1, "--network.blocks", 1, "--network.width", 0.5,
    "--latency.rounds", 1, "--latency.calibrating", 4, "--latency.held-out", 2, "--latency.probed", 2,
    "--latency.cover", 1, "--latency.images", 1, "--latency.final-rounds", 1, "--latency.throughput-batch", 8,
    "--controls.epochs", 1, "--controls.pool", 1, "--controls.shuffles", 1, "--jobs.workers", 1, "--quiet",
)  # fmt: skip
SHORT = {
    "blockdrop": ("--backbone.epochs", 1, "--curriculum.epochs", 1, "--joint.epochs", 1, "--joint.penalties", 5),
    "convnet_aig": ("--gating.epochs", 1, "--gating.targets", 0.5),
}


@pytest.mark.parametrize("method", SHORT)
def test_a_run_ends_with_its_tables_and_a_report(call, tmp_path: Path, method: str, monkeypatch) -> None:
    ended = call("search", method, *TINY, *SHORT[method], "--out", "run")
    assert ended.code == 0, ended.err
    assert "full network" in ended.out
    assert "random policy" in ended.out
    told = ended.out[ended.out.index("What choosing blocks by the image was worth") :]
    assert "blocks kept" in told
    assert "of 3" in told
    assert "shuffled" in told
    assert ("sampled with noise, as released" in told) == (method == "convnet_aig")
    assert ended.out.splitlines()[-1] == "Report: run/report.html"
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    page = (tmp_path / "run" / "report.html").read_text()
    assert result["title"] in page
    assert result["awareness"]["sentence"] in page
    assert f"{result['points'][0]['name']}, seed 0" in page
    assert result["method"] == method
    monkeypatch.setattr("archipel.recipes.job.write_report", lambda folder: folder / "report.html")  # once is enough
    again = call("search", method, "--resume", "run", "--json")
    assert again.json["points"] == result["points"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("blockdrop --space fbnet", "blockdrop switches blocks on and off, and choice 'l0' of space 'fbnet' is an op"),
        (
            "convnet_aig --space mobilenet_v2",
            "convnet_aig leaves blocks out, and space 'mobilenet_v2' has none",
        ),
        (
            "blockdrop --joint.penalties 2 2",
            "joint.penalties is [2.0, 2.0]; give different numbers of 0 or more, at least one",
        ),
        ("blockdrop --backbone.keep-final 0", "backbone.keep_final is 0; give a share above 0, up to 1"),
        ("convnet_aig --gating.targets 1.5", "gating.targets is [1.5]; give shares from 0 to 1"),
        ("convnet_aig --gating.target 0.5", "did you mean '--gating.targets'?"),
        ("blockdrop --network.blocks 0", "a stage would have 0 blocks; give 1 or more"),
    ],
)
def test_mistakes(call, tmp_path: Path, arguments: str, words: str) -> None:
    ended = call("search", *arguments.split(), "--threads", 1, "--quiet")
    assert ended.code == 2
    assert words in ended.line
    assert not (tmp_path / "runs").exists()
