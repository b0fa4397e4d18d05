"""Angle-based shrinking: angles known in closed form, and options that cannot learn are the first to go."""

from __future__ import annotations

import copy
import math
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archipel.choose import Choose
from archipel.errors import OptionError
from archipel.evolve.angle import ByAngle, Learning, Shrinking, angle, scores
from archipel.metagraph import MetaGraph
from archipel.run.checkpoint import Checkpoint
from archipel.space import Space
from archipel.spaces.restricted import Restricted
from archipel.tasks import load

SHAPE = (1, 2, 2)


def linear(rows: list[list[float]]) -> nn.Linear:
    made = nn.Linear(len(rows[0]), len(rows))
    made.weight.data = torch.tensor(rows)
    return made


class TestAngle:
    def test_known(self) -> None:
        one, two = linear([[1.0, 0.0]]), linear([[0.0, 3.0]])
        two.bias.data += 9  # does not count
        assert angle(one, two, SHAPE) == pytest.approx(math.pi / 2)
        assert angle(one, one, SHAPE) == pytest.approx(0.0, abs=1e-7)
        assert angle(linear([[1.0, 0.0]]), linear([[1.0, 1.0]]), SHAPE) == pytest.approx(math.pi / 4)
        assert angle(nn.Identity(), nn.Identity(), SHAPE) == 0.0

    def test_pooling_never_turns(self) -> None:
        """⟨v, w⟩ = 0 + 1/4 of one channel, |v|² = |w|² = 1 + 1/4."""

        def network(rows: list[list[float]]) -> nn.Module:
            return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), linear(rows))

        turned = angle(network([[1.0], [0.0]]), network([[0.0], [1.0]]), SHAPE)
        assert turned == pytest.approx(math.acos(0.25 / 1.25))


class Dead(nn.Linear):
    """Weights without a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * super().forward(x)


class Fixed(nn.Module):
    """Weights that are none: no parameters."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(c_out, c_in, generator=torch.Generator().manual_seed(0)) / c_in**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


def space(choose: Choose, *, classes: int = 10, channels: int = 1, size: int = 8) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), Fixed(channels * size**2, 12)]
    for i in range(2):
        kinds = {"alive": lambda: nn.Linear(12, 12), "dead": lambda: Dead(12, 12), "too": lambda: nn.Linear(12, 12)}
        layers.append(choose.op(f"b{i}", kinds))
    return nn.Sequential(*layers, Fixed(12, classes))


def test_what_turned_most_scores_best() -> None:
    whole = Space(space)
    start = MetaGraph(whole)
    now = copy.deepcopy(start)
    for name, parameter in now.named_parameters():
        if "alive" in name and parameter.dim() > 1:
            parameter.data.neg_()
    found = scores(start, now, whole, 8, random.Random(0), (1, 8, 8))
    for options in found.values():
        assert max(options, key=lambda option: options[option]) == "alive"


def test_what_cannot_learn_goes_first(tmp_path: Path) -> None:
    # Briefly, so that norms stay as they are: what grows outweighs what turns.
    task = load("digits", images=120, test_images=20)
    settings = Shrinking(rounds=1, children=15, learning=Learning(epochs=3, batch=30, lr=0.05))

    def shrunk(**others: object) -> Restricted:
        return ByAngle(task, settings, **others)(Restricted("space", space), task.space)  # type: ignore[arg-type]

    plain = shrunk()
    assert plain.keep == {"b0": ("alive", "too"), "b1": ("alive", "too")}
    (told,) = plain.evidence["angle"]
    assert told["gone"] == {"b0": ["dead"], "b1": ["dead"]}
    kept = [shrunk(checkpoint=lambda name: Checkpoint(tmp_path / f"{name}.safetensors")) for _ in range(2)]
    assert [made.to_json() for made in kept] == [plain.to_json()] * 2


def test_two_options_stay() -> None:
    task = load("digits", images=60, test_images=20)
    settings = Shrinking(rounds=3, children=2, again=1, learning=Learning(epochs=1, batch=30))
    made = ByAngle(task, settings)(Restricted("space", space), task.space)
    assert [len(options) for options in made.keep.values()] == [2, 2]
    assert [round_["gone"]["b0"] for round_ in made.evidence["angle"]][1:] == [[], []]


def test_settings_out_of_range() -> None:
    with pytest.raises(OptionError, match=r"shrinking\.rounds is 0"):
        Shrinking(rounds=0)
