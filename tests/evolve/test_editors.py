"""Space editors: what each leaves, one after the other, and files that every command takes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.errors import OptionError, SpaceError
from archipel.evolve.editors import Drop, Likely, Promising, edit
from archipel.nn import elastic
from archipel.space import Space
from archipel.spaces import definition
from archipel.spaces.cell import Cell, reference
from archipel.spaces.evolved import Backbone, CellSpace, Kept
from archipel.spaces.macro import Macro, Stage
from archipel.spaces.restricted import Restricted


def sizes(choose: Choose, *, classes: int = 3) -> nn.Module:
    width = choose.value("width", (4, 5, 6, 7, 8))
    kind = choose.op("kind", {"good": lambda: nn.Linear(4, 4), "bad": nn.Identity, "worse": nn.ReLU})
    return nn.Sequential(kind, elastic.linear(4, width), elastic.linear(width, classes))


GIVEN = Restricted("sizes", sizes)


def options(made: Any) -> dict[str, tuple[Any, ...]]:
    return {choice.name: choice.options for choice in Space(made.function).choices}


def trained() -> Promising:
    """300 networks; the error is least at width 6 and with the good option."""
    rng = random.Random(0)
    space = Space(sizes)
    networks = [space.sample(rng) for _ in range(300)]
    cost = {"good": 0.0, "bad": 0.3, "worse": 0.4}
    errors = [0.1 + 0.05 * abs(n["width"] - 6) + cost[str(n["kind"])] + 0.001 * rng.random() for n in networks]  # type: ignore[operator]
    return Promising(tuple(networks), tuple(errors), resamples=400)


class TestDrop:
    def test_patterns(self) -> None:
        made = Drop(("kind:?o*", "width:4"))(GIVEN, Space)
        assert options(made) == {"width": (5, 6, 7, 8), "kind": ("bad",)}
        assert made.to_json()["keep"] == {"width": [5, 6, 7, 8], "kind": ["bad"]}
        assert made.evidence == {"dropped": ["kind:?o*", "width:4"]}

    @pytest.mark.parametrize(
        ("pattern", "error", "said"),
        [
            ("width", OptionError, "write CHOICE:OPTION"),
            ("wdth:4", SpaceError, "fits no option of space 'sizes'"),
            ("kind:*", SpaceError, "nothing would be left of choice 'kind'"),
        ],
    )
    def test_mistakes(self, pattern: str, error: type[Exception], said: str) -> None:
        with pytest.raises(error, match=said):
            Drop((pattern,))(GIVEN, Space)


class TestPromising:
    def test_leaves_what_the_best_have(self) -> None:
        assert options(trained()(GIVEN, Space)) == {"width": (6,), "kind": ("good",)}

    def test_chance_leaves_everything(self) -> None:
        found = trained()
        rng = random.Random(1)
        blind = Promising(found.networks, tuple(rng.random() for _ in found.errors), share=0.05, resamples=400)
        assert options(blind(GIVEN, Space)) == options(GIVEN)

    def test_networks_of_another_space(self) -> None:
        with pytest.raises(OptionError, match="1 networks have 0 errors"):
            Promising((Architecture(a="b"),), ())
        with pytest.raises(OptionError, match="share is 0"):
            Promising((Architecture(a="b"),), (0.1,), share=0.0)


def test_likely_options_and_those_of_networks_stay() -> None:
    likely = {"kind": {"good": 0.1, "bad": 0.7, "worse": 0.2}, "width": dict.fromkeys((4, 5, 6, 7, 8), 0.2)}
    made = Likely(likely, ({"kind": "good", "width": 8},), keep=1)(GIVEN, Space)
    assert options(made) == {"width": (4, 8), "kind": ("good", "bad")}
    assert options(Likely({})(GIVEN, Space)) == options(GIVEN)
    with pytest.raises(OptionError, match="keep is 0"):
        Likely({}, keep=0)


def test_one_after_the_other() -> None:
    made = edit(GIVEN, [Drop(("width:8",)), Drop(("width:6",)), trained_narrow()], Space)
    assert options(made) == {"width": (5, 7), "kind": ("good",)}
    assert set(made.to_json()["evidence"]) == {"dropped", "promising"}


def trained_narrow() -> Promising:
    found = trained()
    rows = [(n, e) for n, e in zip(found.networks, found.errors) if n["width"] not in (6, 8)]
    return Promising(tuple(n for n, _ in rows), tuple(e for _, e in rows), resamples=400)


def test_an_evolved_space_is_edited_and_travels_inside_its_file(tmp_path: Path) -> None:
    backbone = Backbone.of(Macro(2, (Stage(8, 1, 1), Stage(8, 2, 1)), stem=8, tail=16))
    cells = CellSpace(backbone, ((Kept(reference(), 2), Kept(Cell((3, 0, 1, 0, 0, 1)), 2)),) * 2)
    less = Drop(("b*:zero", "b2:1030*"))(cells, Space)
    less.save(tmp_path / "less.json")
    again = definition(str(tmp_path / "less.json"))
    assert options(again) == options(less) == {"b1": ("103001d1e2", "301001d2e2"), "b2": ("301001d2e2",)}
    assert json.loads((tmp_path / "less.json").read_text())["base"]["what"] == "archipel evolved space"
