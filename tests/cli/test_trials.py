"""`archipel search trials`: from its words to a run folder, and what it says of mistakes before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TINY = (
    "--space", "nasbench_macro", "--network.width", 0.25, "--strategy", "random", "--images", 120, "--test-images", 40,
    "--threads", 1, "--training.epochs", 1, "--retraining.epochs", 1, "--quiet",
)  # fmt: skip


def test_from_words_to_the_run_folder(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again: a finished run is told again, not searched again. Its page: tests/recipes/test_trials.py."""
    monkeypatch.setattr("archipel.recipes.job.write_report", lambda folder: folder / "report.html")
    ended = call("search", "trials", *TINY, "--trials", 2, "--stopping", "none", "--out", "run", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert (told["strategy"], told["stopping"], len(told["searches"][0]["trials"])) == ("random", "none", 2)
    assert (tmp_path / "run" / "trials.db").is_file()
    again = call("search", "trials", "--resume", "run", "--json")
    assert json.loads(again.out)["searches"] == told["searches"]
    assert "found by trials best" in call("show", "run").out
    assert call("eval", "run").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stopping", "medain"), 'Did you mean "median"?'),
        (("--trials", 0), "trials is 0; give a number above 0"),
        (("--stopping.rule", "halving", "--objectives", "accuracy", "madds"), "knows one objective, not 2"),
        (("--strategy", "pnas"), "space 'nasbench201' has none; take the space pnas"),
        (("--objectives", "accuracy", "speed"), "there is no objective 'speed'"),
    ],
)
def test_mistakes(call, tmp_path: Path, arguments, words: str) -> None:
    ended = call("search", "trials", "--threads", 1, *arguments)
    assert ended.code == 2
    assert words in ended.line
    assert not list(tmp_path.iterdir()), "no folder is left"
