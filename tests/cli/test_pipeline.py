"""`archipel run --evolve` on the command line."""

from __future__ import annotations

from pathlib import Path

from archipel.recipes.pipeline import Asked
from archipel.run.folder import RunFolder


def test_it_is_an_option_of_run(call) -> None:
    text = call("run", "--help").out
    assert "--evolve" in text
    assert "--pretraining.epochs" in text


def test_mistakes(call, tmp_path: Path) -> None:
    assert "leave out --space" in call("run", "--evolve", "--space", "fbnet").line
    assert "--evolve takes no --config" in call("run", "--evolve", "--config", "c.yaml").line
    ended = call("run", "--evolve", "--data", "nowhere", "--out", "run")
    assert ended.code == 2
    assert "nowhere" in ended.err
    assert not (tmp_path / "run").exists()


def test_a_pipeline_is_gone_on_with_as_one(call, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a", Asked({"images": 50}).to_config(), "archipel run --evolve").close()
    RunFolder.create(tmp_path / "b", {"recipe": "run"}, "archipel run").close()
    assert "continue it with 'archipel run --evolve --resume a'" in call("run", "--resume", "a").line
    assert "is no run of 'archipel run --evolve'; leave out --evolve" in call("run", "--evolve", "--resume", "b").line
    assert "leave out everything else" in call("run", "--evolve", "--resume", "a", "--images", 20).line
