"""`archipel show`, `spaces`, `tasks`, `methods`: tables for a person, JSON for a program."""

import pytest


def test_a_space(call):
    text = call("show", "instanas", "--option.macro", "cifar").out
    assert "choices        17" in text
    assert "mb6_k3, mb3_k3, mb6_k5, mb3_k5, basic_k3" in text
    content = call("show", "instanas", "--option.macro", "cifar", "--json").json
    assert len(content["choices"]) == 17
    assert content["code_bits"] == 85
    assert content["options"] == {"macro": "cifar"}


def test_one_network_adds_up(call):
    content = call("show", "mobilenet_v2", "--size", 224, "--option.classes", 1000, "--json").json
    assert content["parameters"] == sum(row["parameters"] for row in content["layers"]) == 3_504_872
    assert content["madds"] == sum(row["madds"] for row in content["layers"])
    assert round(content["madds"] / 1e6, 1) == 300.8
    text = call("show", "mobilenet_v2", "--width", 0.5).out
    assert "parameters" in text
    assert "Conv2d" in text


def test_random_is_repeatable(call):
    one, two, three = (call("show", "instanas", "--size", 8, "--random", seed, "--json").json for seed in (1, 1, 2))
    assert one == two
    assert one["architecture"] != three["architecture"]


def test_a_space_of_ones_own(call, tmp_path):
    (tmp_path / "my.py").write_text(
        "from torch import nn\n"
        "def mine(choose, *, classes=10, width=1.0):\n"
        "    ops = {'a': lambda: nn.Linear(4, classes), 'b': lambda: nn.Linear(4, classes, bias=False)}\n"
        "    return choose.op('only', ops)\n"
    )
    assert "architectures  2" in call("show", "my.py:mine").out
    assert "has no option 'size'" in call("show", "my.py:mine", "--size", 8).line


@pytest.mark.parametrize("command", ["spaces", "tasks"])
def test_lists(call, command):
    rows = call(command, "--json").json
    text = call(command).out
    assert all(row["name"] in text for row in rows)
    named = {row["name"]: row for row in rows}
    assert {"spaces": "instanas", "tasks": "digits"}[command] in named
    if command == "spaces":
        assert named["proxyless"]["architectures"] == str(6**6 * 7**15)
        assert named["proxyless_tree"]["architectures"] == str(7**648)
        assert "4.20e+547" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("instanse", "did you mean 'instanas'?"),
        ("instanas --option.macro cifarr", "cifarr"),
        ("my.py", "'my.py'"),
        ("empty", "empty is no run"),
    ],
)
def test_bad_input(call, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    ended = call("show", *arguments.split())
    assert ended.code == 2
    assert words in ended.line
