"""`archipel space`: spaces compared from the command line, and smaller ones made."""

from __future__ import annotations

from pathlib import Path

SPACE = """
from torch import nn


def {name}(choose, *, classes=10, channels=1, size=8, gain=1):
    def layer(width):
        inside = gain * width
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, inside), nn.Linear(inside, classes))

    return choose.op("width", {{f"w{{width}}": lambda width=width: layer(width) for width in {widths}}})
"""
TINY = (
    "--images", 100, "--test-images", 20, "--sampling.networks", 2, "--training.epochs", 1, "--jobs.workers", 1,
    "--judging.resamples", 50, "--quiet",
)  # fmt: skip


def test_two_spaces_of_files(call, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SPACE.format(name="narrow", widths=(1, 2)))
    (tmp_path / "b.py").write_text(SPACE.format(name="wide", widths=(16, 24)))
    ended = call("space", "compare", "a.py:narrow", "b.py:wide", *TINY, "--option.gain", 2, "--out", "run")
    assert ended.code == 0, ended.err
    assert "Spaces compared on digits" in ended.out
    assert "narrow – wide" in ended.out
    assert ended.out.splitlines()[-1] == "Report: run/report.html"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What random networks come to" in page
    again = call("space", "compare", "--resume", "run", "--json")
    costs = [sorted(network["madds"] for network in space["networks"]) for space in again.json["spaces"]]
    assert costs == [[74 * 2, 74 * 4], [74 * 32, 74 * 48]]
    tables = call("space", "compare", "run/samples-narrow.csv", "run/samples-wide.csv", "--quiet", "--json")
    assert tables.json["pairs"][0]["distance"] == again.json["pairs"][0]["distance"]
    shown = call("show", "run")
    assert "narrow – wide" in shown.out


def test_mistakes_of_a_comparison(call, tmp_path: Path) -> None:
    assert "Name two or more" in call("space", "compare", "proxyless").line
    assert "there is no space 'proxyles'" in call("space", "compare", "proxyless", "proxyles").line
    (tmp_path / "a.py").write_text(SPACE.format(name="narrow", widths=(1, 2)))
    ended = call("space", "compare", "a.py:narrow", "a.py:narrow", *TINY, "--option.gian", 2)
    assert ended.line == "archipel: none of the spaces has an option 'gian'; leave out --option.gian"
    assert not (tmp_path / "runs").exists()


def test_smaller_spaces(call, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SPACE.format(name="sizes", widths=(1, 2, 16)))
    ended = call("space", "drop", "a.py:sizes", "width:w1", "--out", "less.json")
    assert ended.code == 0, ended.err
    assert "3 → 2" in ended.out
    assert "w2, w16" in call("show", "less.json").out
    compared = call("space", "compare", "a.py:sizes", "less.json", *TINY, "--out", "run")
    assert compared.code == 0, compared.err
    narrowed = call(
        "space", "narrow", "a.py:sizes", "run/samples-sizes.csv", "--least", 0.9, "--out", "n.json", "--json"
    )
    assert narrowed.json["after"] == "1"
    shrunk = call(
        "space", "shrink", "less.json", "--images", 60, "--test-images", 20, "--rounds", 1, "--least", 1, "--children",
        2, "--learning.epochs", 1, "--quiet", "--out", "shrunk",
    )  # fmt: skip
    assert shrunk.code == 0, shrunk.err
    assert "2 → 1" in shrunk.out
    assert call("space", "shrink", "--resume", "shrunk", "--json").json["after"] == "1"
    shown = call("show", "shrunk")
    assert "w16" in shown.out
    assert "2 → 1" in shown.out


def test_mistakes_of_edits(call, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SPACE.format(name="sizes", widths=(1, 2)))
    assert "Name them as CHOICE:OPTION" in call("space", "drop", "a.py:sizes", "--out", "x.json").line
    assert "ends in .json" in call("space", "drop", "a.py:sizes", "width:w1", "--out", "x").line
    (tmp_path / "s.csv").write_text("accuracy\n0.5\n")
    assert "no column 'architecture'" in call("space", "narrow", "a.py:sizes", "s.csv", "--out", "x.json").line
    assert "which space?" in call("space", "shrink").line
    assert not (tmp_path / "x.json").exists()
