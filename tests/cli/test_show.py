"""`archipel show`, `spaces`, `tasks`, `methods`: tables for a person, JSON for a program."""

import pytest

from archipel.spaces import SPACES


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


def test_lists(call, monkeypatch):
    tasks = [row["name"] for row in call("tasks", "--json").json]
    assert "digits" in tasks
    text = call("tasks").out
    assert all(name in text for name in tasks)
    spaces = {row["name"]: row for row in call("spaces", "--json").json}
    assert spaces.keys() == SPACES.keys()
    assert spaces["proxyless"]["architectures"] == str(6**6 * 7**15)
    assert spaces["proxyless_tree"]["architectures"] == str(7**648)
    monkeypatch.setattr("archipel.spaces.SPACES", {name: SPACES[name] for name in ("instanas", "proxyless_tree")})
    text = call("spaces").out
    assert "instanas" in text
    assert "4.20e+547" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("instanse", "did you mean 'instanas'?"),
        ("instanas --option.macro cifarr", "cifarr"),
        ("instanas --size 0", "--size is 0; give at least 1"),
        ("my.py", "'my.py'"),
        ("empty", "empty is no run"),
    ],
)
def test_bad_input(call, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    ended = call("show", *arguments.split())
    assert ended.code == 2
    assert words in ended.line
