"""Spaces with fewer options: the same networks as the whole space has, kept as a file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archipel.choose import Choose
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph
from archipel.nn import elastic
from archipel.space import Space
from archipel.spaces import proxyless, resolve
from archipel.spaces.restricted import Restricted, check_kept


def everything(choose: Choose, *, classes: int = 3) -> nn.Module:
    """A choice of every kind, one of them conditional."""

    def inner() -> nn.Module:
        return choose.op("inner", {"x": lambda: nn.Linear(4, 4), "y": nn.ReLU})

    width = choose.value("width", (4, 6, 8))
    first = choose.op("first", {"wide": lambda: nn.Linear(4, 4), "deep": inner, "plain": nn.Identity})
    some = choose.subset("some", {name: lambda: nn.Linear(4, 4) for name in "abc"}, empty="a")
    return nn.Sequential(first, some, elastic.linear(4, width), elastic.linear(width, classes))


KEEP: dict[str, tuple[Any, ...]] = {"width": (4, 8), "first": ("deep", "plain"), "some": ("a", "c"), "inner": ("y",)}


def test_what_is_left_is_a_space_of_the_same_networks() -> None:
    whole, less = Space(everything), Space(Restricted("everything", everything, KEEP).function, classes=3)
    assert less.name == "everything"
    assert less.size == 2 * (1 + 1) * 3 < whole.size == 3 * 4 * 7
    graph = MetaGraph(whole)
    x = torch.randn(2, 4)
    for architecture in less:
        assert whole.canonical(architecture) == architecture
        child = less.build(architecture)
        child.load_state_dict(graph.extract(architecture).state_dict())
        torch.testing.assert_close(child(x), graph(x, architecture))


def test_the_file_is_a_space(tmp_path: Path) -> None:
    given = Restricted("proxyless", proxyless).keeping({}, by="hand")
    choice = Space(proxyless, macro="digits").choices[0]
    less = given.keeping({choice.name: choice.options[:2]})
    less.save(tmp_path / "less.json")
    space = Space(resolve(str(tmp_path / "less.json")), macro="digits")
    assert space.choices[0].options == choice.options[:2]
    assert space.digest != Space(proxyless, macro="digits").digest
    again = less.keeping({choice.name: choice.options[:1]})
    nested = {**again.to_json(), "base": json.loads((tmp_path / "less.json").read_text())}
    (tmp_path / "again.json").write_text(json.dumps(nested))
    twice = Space(resolve(str(tmp_path / "again.json")), macro="digits")
    assert twice.choices[0].options == choice.options[:1]
    twice.build(twice.sample(random.Random(0)))


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ({"frist": ("wide",)}, "no choice 'frist'; did you mean 'first'"),
        ({"first": ("wid",)}, "no option 'wid'"),
        ({"first": ()}, "nothing would be left of choice 'first'"),
        ({"some": ("b",)}, "runs 'a' when it is empty"),
    ],
)
def test_what_cannot_be_left(keep: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        check_kept(Space(everything), keep)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 9}, "has the format 9"),
        ({"keep": {"b1": []}}, "keeps \\[\\]"),
        ({"keep": 3}, "lacks its base"),
        ({"base": "proxyles"}, "no space 'proxyles'"),
        ({"what": "x"}, "it is no evolved space"),
    ],
)
def test_damaged_files(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    content = {**Restricted("proxyless", proxyless).to_json(), **change}
    (tmp_path / "less.json").write_text(json.dumps(content))
    with pytest.raises(SpaceError, match=said):
        resolve(str(tmp_path / "less.json"))
