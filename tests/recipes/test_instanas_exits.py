"""Which spaces can be the early exits of a run, and what a setting of theirs cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from archipel.errors import OptionError, SpaceError
from archipel.recipes.instanas.exits import exits_space, new_exits
from archipel.recipes.instanas.settings import Exits, Settings
from archipel.tasks import load

OWN = """
from torch import nn

def head(c, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))

def two_exits(choose, *, classes, channels):
    more = lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), head(8, classes))
    exit = choose.op("exit", {"leave": lambda: head(4, classes), "go": more})
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), exit)

def two_stems(choose, *, classes, channels):
    stems = {f"k{k}": (lambda k=k: nn.Conv2d(channels, 4, k)) for k in (1, 3)}
    return nn.Sequential(choose.op("stem", stems), head(4, classes))
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def settings(space: str) -> Settings:
    return Settings(exits=Exits(space=space))


def test_a_space_of_ones_own(own: Path) -> None:
    task = load("digits", images=60, test_images=20)
    space = exits_space(task, settings(f"{own}:two_exits"), None)
    exits = new_exits(space, task)
    assert [len(trunk) for trunk in exits.trunks] == [2, 4]  # the last head is its last layer


def test_networks_that_part_at_the_first_layer_share_nothing_and_can_still_be_a_cascade(own: Path) -> None:
    task = load("digits", images=60, test_images=20)
    exits = new_exits(exits_space(task, settings(f"{own}:two_stems"), None), task)
    assert len(exits.trunks[0]) == 0


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("mobilenet_v2", "which has 1 architectures"),
        ("proxyless", "give a space of 2 to 16"),
        ("mobilenet_exit", "mobilenet_exits"),
    ],
)
def test_a_space_that_cannot_be_exits_is_one_line(space: str, said: str) -> None:
    with pytest.raises((OptionError, SpaceError), match=said) as error:
        exits_space(load("digits", images=60, test_images=20), settings(space), "light")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"width": -1.0}, "exits.width is -1"), ({"distillation": 2.0}, "exits.distillation is 2"),
     ({"epochs": 0}, "exits.epochs is 0"), ({"points": 26}, "exits.points is 26")],
)  # fmt: skip
def test_what_a_setting_cannot_be(given: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Exits(**given)  # type: ignore[arg-type]
