"""`archipel evolve` from end to end, and its space in the hands of other commands."""

from __future__ import annotations

from pathlib import Path

TINY = (
    "--images", 80, "--test-images", 40, "--threads", 1, "--network.macro", "digits", "--network.width", 0.25,
    "--network.expand", 2, "--handover.expansions", 2, "--evolution.population", 4, "--evolution.active", 3,
    "--evolution.iterations", 2, "--evolution.keep", 2, "--judging.steps", 3, "--judging.batch", 8,
    "--jobs.workers", 1, "--quiet",
)  # fmt: skip


def test_a_space_is_evolved_shown_and_continued(call, tmp_path: Path) -> None:
    ended = call("evolve", *TINY, "--out", "run")
    assert ended.code == 0, ended.err
    assert "103001d1 (reference)" in ended.out
    assert "The space: evolved-0.json; a random one: random-0.json." in ended.out
    assert ended.out.splitlines()[-1] == "Report: run/report.html"
    shown = call("show", "run/evolved-0.json")
    assert shown.code == 0, shown.err
    assert "evolved" in shown.out
    again = call("evolve", "--resume", "run", "--json")
    assert again.json["spaces"][0]["evolved"] == "evolved-0.json"
    assert not list((tmp_path / "run" / "checkpoints").glob("evolution-*"))


def test_mistakes(call, tmp_path: Path) -> None:
    ended = call("evolve", *TINY, "--space", "fbnet")
    assert ended.code == 2
    assert "cells stand in the skeleton of proxyless, not in 'fbnet'; leave out --space" in ended.err
    (tmp_path / "broken.json").write_text("{}")
    ended = call("show", "broken.json")
    assert ended.code == 2
    assert ended.err == "archipel: evolved space 'broken.json': it is no evolved space; 'archipel evolve' makes one\n"
