"""NAS-RL's layer strings: counted, against the paper's concatenations, and skips and strides that samples differ in."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archipel.architecture import Architecture
from archipel.cost.complexity import madds, parameters
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph, PerInstance
from archipel.space import Space
from archipel.spaces import nas_rl
from archipel.spaces.restricted import Restricted

B = 6
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def images(n: int = B, side: int = 8) -> Tensor:
    return torch.randn(n, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def concatenated(maps: list[Tensor]) -> Tensor:
    """On channels, smaller maps with zeros on the right and below."""
    side = max(y.shape[-1] for y in maps)
    return torch.cat([F.pad(y, (0, side - y.shape[-1], 0, side - y.shape[-1])) for y in maps], 1)


def as_the_paper_says(child: nn.Module, architecture: Architecture, x: Tensor) -> Tensor:
    """Concatenate, convolve, normalise, rectify; concatenate what is unread, average, classify."""
    made: list[Tensor] = []
    read: set[str] = set()
    for i, layer in enumerate(child.layers):
        names = architecture.get(f"l{i}.inputs", ())
        read |= set(names)
        convs = [layer.inputs[name].conv for name in names] or [layer.inputs.conv]
        given = concatenated([made[int(name[1:])] for name in names] or [x])
        sides = (architecture[f"l{i}.height"], architecture[f"l{i}.width"])
        weight = torch.cat([conv.weight for conv in convs], 1)
        assert weight.shape == (len(weight), given.shape[1], *sides)
        padding = (sides[0] // 2, sides[1] // 2)
        y = F.conv2d(given, weight, stride=architecture.get(f"l{i}.stride", 1), padding=padding)
        made.append(F.relu(layer.norm(y)))
    left = [i for i in range(len(made)) if f"l{i}" not in read]
    weight = torch.cat([child.heads[f"l{i}"].weight for i in left], 1)
    assert len(child.heads) == len(left)
    return F.linear(concatenated([made[i] for i in left]).mean((2, 3)), weight, child.bias)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "strided"])
def graph(request: pytest.FixtureRequest, enliven) -> MetaGraph:
    return enliven(MetaGraph(Space(nas_rl, layers=4, width=0.1, strides=request.param, classes=4)))


def of_one_size(space: Space, n: int, seed: int = 0) -> list[Architecture]:
    """Architectures that differ in their skips alone."""
    rng = random.Random(seed)
    first = space.sample(rng)
    skips = [c.name for c in space.choices if c.kind == "subset"]
    return [space.canonical({**first, **{s: space.sample(rng)[s] for s in skips}}) for _ in range(n)]


def test_size() -> None:
    """Four heights, widths and numbers of filters for each layer, and any of the layers before it."""
    skips = math.prod(2**i for i in range(5))
    assert Space(nas_rl, layers=5).size == 64**5 * skips
    assert Space(nas_rl, layers=5, strides=True).size == 192**5 * skips


def test_the_network_that_the_paper_describes(graph: MetaGraph) -> None:
    x, rng = images(), random.Random(0)
    for _ in range(12):
        architecture = graph.space.sample(rng)
        child = graph.extract(architecture)
        torch.testing.assert_close(child(x), as_the_paper_says(child, architecture, x), **CLOSE)
        torch.testing.assert_close(graph(x, architecture), child(x), rtol=0, atol=0)


def test_parameters_and_multiply_adds_of_a_concatenation() -> None:
    values: dict[str, Any] = {f"l{i}.{side}": 3 for i in range(3) for side in ("height", "width")}
    values |= {
        "l0.filters": 24,
        "l1.filters": 36,
        "l1.inputs": (),
        "l2.filters": 48,
        "l2.inputs": ("l0", "l1"),
        "l2.height": 7,
    }
    child = Space(nas_rl, layers=3).build(values)
    weights = 9 * 3 * 24 + 9 * 3 * 36 + 21 * (24 + 36) * 48
    assert parameters(child) == weights + 2 * (24 + 36 + 48) + 48 * 10 + 10
    assert madds(child, (3, 32, 32)) == 32 * 32 * weights + 48 * 10


@pytest.mark.parametrize("masked", [False, True])
def test_samples_that_differ_in_their_skips(graph: MetaGraph, masked: bool) -> None:
    x = images()
    for seed in range(6):
        architectures = of_one_size(graph.space, B, seed)
        alone = torch.cat([graph.extract(a)(row[None]) for row, a in zip(x, architectures)])
        torch.testing.assert_close(graph(x, PerInstance(architectures, masked=masked)), alone, **CLOSE)


def test_a_batch_of_strided_networks_runs_what_they_would_alone(graph: MetaGraph) -> None:
    x = images()
    for seed in range(3):
        architectures = of_one_size(graph.space, B, seed)
        with FlopCounterMode(display=False) as together:
            graph(x, PerInstance(architectures))
        with FlopCounterMode(display=False) as alone:
            for row, a in zip(x, architectures):
                graph(row[None], a)
        assert together.get_total_flops() == alone.get_total_flops()


def test_an_exported_network_takes_any_batch(graph: MetaGraph) -> None:
    child = graph.extract(graph.space.sample(random.Random(1)))
    dynamic = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(child, (images(),), dynamic_shapes=dynamic).module()
    for n in (1, B):
        torch.testing.assert_close(exported(images(n)), child(images(n)), **CLOSE)


def test_fewer_skips() -> None:
    """A restricted space still knows what is unread."""
    keep = {"l2.inputs": ("l1",), "l1.filters": (24, 36)}
    space = Space(Restricted("nas_rl", nas_rl, keep).function, layers=3, classes=4)
    graph = MetaGraph(space).double().eval()
    for architecture in (space.unrank(0), space.unrank(space.size - 1)):
        torch.testing.assert_close(graph(images(), architecture), graph.extract(architecture)(images()))


def test_mistakes() -> None:
    with pytest.raises(SpaceError, match="layers is 0; give 1 or more"):
        Space(nas_rl, layers=0)
    with pytest.raises(
        SpaceError, match=r"with width 0.01 layers would have \[0, 0, 0, 1\] filters; give a larger width"
    ):
        Space(nas_rl, width=0.01)
