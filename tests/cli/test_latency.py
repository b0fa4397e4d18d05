"""`archipel latency build|check|show` on a space of one's own that is measured in a moment."""

import pytest

from archipel.cost import Device

SPACE = """
from torch import nn


def small(choose, *, classes=10, channels=1, size=8):
    layers = [nn.Conv2d(channels, 8, 3, padding=1)]
    for i in range(4):
        layers.append(choose.op(f"l{i}", {f"k{k}": lambda k=k: nn.Conv2d(8, 8, k, padding=k // 2) for k in (1, 3, 5)}))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""
QUICK = "--rounds 3 --cover 2 --probed 6 --calibrating 12 --held-out 4 --threads 1 --quiet".split()  # noqa: SIM905


@pytest.fixture
def table(call, tmp_path):
    (tmp_path / "my.py").write_text(SPACE)
    ended = call("latency", "build", "--space", "my.py:small", "--data", "digits", "--out", "t.json", *QUICK, "--json")
    assert ended.code == 0, ended.err
    return ended.json


def test_build_show_check(call, table):
    assert table["table"] == "t.json"
    assert table["fidelity"]["n"] == 4
    text = call("latency", "show", "t.json").out
    assert "space       small" in text
    assert "1×8×8" in text
    assert "4 held-out networks" in text
    assert call("latency", "show", "t.json", "--json").json["space"]["name"] == "small"
    found = call("latency", "check", "t.json", "--space", "my.py:small", "--children", 5, "--quiet", "--json").json
    assert found["n"] == 5
    assert {"mape", "tau", "coverage", "nominal"} <= found.keys()
    ended = call("latency", "check", "t.json", "--space", "my.py:small", "--children", 3, "--quiet")
    assert "held-out networks (uniform)" in ended.out


def test_a_table_is_never_overwritten(call, table, tmp_path):
    before = (tmp_path / table["table"]).read_bytes()
    ended = call("latency", "build", "--space", "my.py:small", "--out", "t.json", *QUICK)
    assert ended.code == 2
    assert "t.json exists" in ended.line
    assert (tmp_path / table["table"]).read_bytes() == before


@pytest.mark.usefixtures("table")
def test_a_table_fits_one_space_and_device(call, tmp_path, monkeypatch):
    assert "name it with --space FILE.py:small" in call("latency", "check", "t.json").line
    (tmp_path / "other.py").write_text(SPACE.replace("(1, 3, 5)", "(1, 3)"))
    ended = call("latency", "check", "t.json", "--space", "other.py:small")
    assert ended.code == 2
    assert "is of another space" in ended.line
    monkeypatch.setattr(Device, "fingerprint", lambda self: {"device": self.name, "model": "abacus"})
    ended = call("latency", "check", "t.json", "--space", "my.py:small")
    assert ended.code == 2
    assert "is of another device" in ended.line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("show none.json", "there is no latency table none.json"),
        ("check none.json", "there is no latency table none.json"),
        ("show text.json", "cannot be read"),
        ("check list.json", "list.json is no latency table"),
        ("check list.json --children 1", "--children is 1"),
        ("build --batch 0", "--batch is 0"),
        ("build --rounds 0", "rounds is 0"),
        ("build --round 3", "did you mean '--rounds'?"),
        ("build --out nowhere/t.json --threads 1", "the folder of nowhere/t.json does not exist"),
        ("build --space nix", "there is no space 'nix'"),
        ("build --device cuda:99", "cuda:99"),
    ],
)
def test_bad_input(call, tmp_path, arguments, words):
    (tmp_path / "text.json").write_text("table")
    (tmp_path / "list.json").write_text("[]")
    ended = call("latency", *arguments.split())
    assert ended.code == 2
    assert words in ended.line
