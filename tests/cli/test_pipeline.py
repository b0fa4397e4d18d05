"""`archipel run --evolve` on the command line."""

from __future__ import annotations

from pathlib import Path

from archipel.recipes import pipeline
from archipel.recipes.pipeline import Asked
from archipel.run.folder import RunFolder


def test_it_is_an_option_of_run(call) -> None:
    text = call("run", "--help").out
    assert "--evolve" in text
    assert "--pretraining.epochs" in text


def test_mistakes(call, tmp_path: Path) -> None:
    assert "leave out --space" in call("run", "--evolve", "--space", "fbnet").line
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


def test_a_file_of_settings_is_that_of_run_and_the_two_before_it(call, tmp_path: Path, monkeypatch) -> None:
    """What is said on the command line weighs more."""
    asked = []

    def start(wanted: Asked, **_: object) -> None:
        asked.append(wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "start", start)
    (tmp_path / "c.yaml").write_text(
        "images: 60\nseeds: 2\nsearch: {epochs: 5, batch: 16}\nevolving: {evolution: {iterations: 3}}\n"
    )
    words = ("run", "--evolve", "--config", "c.yaml", "--seeds", 1, "--search.epochs", 4)
    assert call(*words).code == 130
    (wanted,) = asked
    assert wanted.request == {"images": 60, "seeds": 1}
    assert wanted.settings == {"search": {"epochs": 4, "batch": 16}}
    assert wanted.evolving == {"evolution": {"iterations": 3}}
    (tmp_path / "c.yaml").write_text("evloving: {}\n")
    assert "unknown key 'evloving' in c.yaml; did you mean 'evolving'?" in call(*words).line
    assert "leave out everything else" in call("run", "--evolve", "--resume", "a", "--config", "c.yaml").line
