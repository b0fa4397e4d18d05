"""InstaNAS' space against the released program: totals of parameters and multiply-adds, layer semantics."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Sum
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn import BasicBlock, ConvBN, InvertedResidual, Residual
from archipel.space import Space
from archipel.spaces import instanas
from archipel.spaces.macro import MACROS, Macro, Stage

CANDIDATES = ["mb6_k3", "mb3_k3", "mb6_k5", "mb3_k5", "basic_k3"]
HEADS = [0, 1, 3, 6, 10, 13, 16]
STAGE_OF = [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6]

# The paper's program at width 1. Millions of multiply-adds: per candidate summed over the layers; stem and tail;
# the child of candidate 0 alone; everything on.
TOTALS = {
    "cifar10": {
        "options": {"macro": "cifar", "classes": 10, "size": 32},
        "graph": 9_572_970,
        "child": 2_247_530,
        "candidates": [90.9, 45.5, 104.0, 52.0, 130.6],
        "ends": 7.45,
        "alone": 98.4,
        "all_on": 430.4,
    },
    "cifar100": {
        "options": {"macro": "cifar", "classes": 100, "size": 32},
        "graph": 9_688_260,
        "child": 2_362_820,
        "candidates": [90.9, 45.5, 104.0, 52.0, 130.6],
        "ends": 7.57,
        "alone": 98.5,
        "all_on": 430.6,
    },
    "tiny": {
        "options": {"macro": "tiny", "classes": 200, "size": 64},
        "graph": 9_816_360,
        "child": 2_490_920,
        "candidates": [129.3, 64.6, 151.8, 75.9, 151.9],
        "ends": 10.35,
        "alone": 139.6,
        "all_on": 583.7,
    },
    "imagenet": {
        "options": {"macro": "imagenet", "classes": 1000, "size": 224},
        "graph": 10_841_160,
        "child": 3_515_720,
        "candidates": [395.8, 197.9, 464.8, 232.4, 465.1],
        "ends": 32.19,
        "alone": 428.0,
        "all_on": 1788.2,
    },
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class MultiplyAdds:
    """Counts those of convolutions and linear layers while a network runs, in millions."""

    def __init__(self, net: nn.Module) -> None:
        self.total = 0
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(self._add)

    def _add(self, layer: nn.Conv2d | nn.Linear, _: tuple, y: Tensor) -> None:
        self.total += y.numel() * layer.weight[0].numel()

    def of(self, run: Callable[[], Tensor]) -> float:
        self.total = 0
        run()
        return self.total / 1e6


def all_set_to(space: Space, chosen: list[str]) -> Architecture:
    return Architecture({choice.name: chosen for choice in space.choices})


@pytest.fixture(scope="module", params=TOTALS.values(), ids=TOTALS.keys())
def totals(request: pytest.FixtureRequest) -> dict:
    return request.param


@pytest.mark.parametrize("shortcut", ["shared", "per_op"])
class TestTotals:
    def test_parameters_and_multiply_adds(self, totals: dict, shortcut: str) -> None:
        options = totals["options"]
        space = Space(instanas, shortcut=shortcut, **options)
        x = torch.empty(1, 3, options["size"], options["size"], device="meta")
        graph = MetaGraph(space).to("meta").eval()
        assert parameters(graph) == totals["graph"]
        counter = MultiplyAdds(graph)

        def cost(architecture: Architecture) -> float:
            return counter.of(lambda: graph(x, architecture))

        only = {name: all_set_to(space, [name]) for name in CANDIDATES}
        everything = cost(all_set_to(space, CANDIDATES))
        assert everything == pytest.approx(totals["all_on"], abs=0.05)
        assert cost(only["mb6_k3"]) == pytest.approx(totals["alone"], abs=0.05)
        # Σ over candidates of (layers + ends) counts the ends five times, everything on counts them once.
        ends = (sum(cost(a) for a in only.values()) - everything) / 4
        assert ends == pytest.approx(totals["ends"], abs=0.005)
        layers = [cost(only[name]) - ends for name in CANDIDATES]
        assert layers == pytest.approx(totals["candidates"], abs=0.05)

    def test_parameters_of_the_child_of_candidate_0(self, totals: dict, shortcut: str) -> None:
        space = Space(instanas, shortcut=shortcut, **totals["options"])
        assert parameters(space.build(all_set_to(space, ["mb6_k3"]))) == totals["child"]

    def test_size(self, totals: dict, shortcut: str) -> None:
        space = Space(instanas, shortcut=shortcut, **totals["options"])
        assert space.size == 31**7 * 32**10
        assert space.width == 85
        assert repr(space) == "Space(instanas: 17 choices, 85 code bits, 3.1e+25 architectures)"


@pytest.mark.parametrize("shortcut", ["shared", "per_op"])
class TestLayers:
    @pytest.fixture
    def space(self, shortcut: str) -> Space:
        return Space(instanas, shortcut=shortcut, macro="cifar", classes=10)

    def test_the_map(self, space: Space) -> None:
        assert [choice.name for choice in space.choices] == [f"l{i}" for i in range(17)]
        for i, choice in enumerate(space.choices):
            assert choice.kind == "subset"
            assert list(choice.options) == CANDIDATES
            assert (choice.empty == "basic_k3") == (i in HEADS)
            assert choice.allows_empty == (i not in HEADS)

    def test_channels_and_strides(self, space: Space) -> None:
        child = space.build(all_set_to(space, ["basic_k3"]))
        widths, strides = [16, 24, 32, 64, 96, 160, 320], [1, 1, 2, 2, 1, 2, 1]
        blocks = [m for m in child.modules() if isinstance(m, BasicBlock)]
        assert [b[1][0].out_channels for b in blocks] == [widths[s] for s in STAGE_OF]
        assert [b[0][0].stride[0] for b in blocks] == [strides[STAGE_OF[i]] if i in HEADS else 1 for i in range(17)]

    def test_all_off_runs_the_default_at_heads_and_nothing_elsewhere(self, space: Space) -> None:
        off = all_set_to(space, [])
        assert dict(space.canonical(off)) == {f"l{i}": ("basic_k3",) if i in HEADS else () for i in range(17)}
        child = space.build(off)
        assert sum(isinstance(m, BasicBlock) for m in child.modules()) == 7
        assert not any(isinstance(m, InvertedResidual | Residual) for m in child.modules())
        assert sum(type(layer) is nn.Identity for layer in child) == 10

    def test_random_children_have_just_their_candidates(self, space: Space) -> None:
        architecture = space.sample(random.Random(0))
        child = space.build(architecture)
        sums = [m for m in child.modules() if isinstance(m, Sum)]
        assert [list(s) for s in sums] == [list(v) for v in architecture.values() if v]


@pytest.fixture
def two_layers(monkeypatch: pytest.MonkeyPatch) -> str:
    """A head and a layer that may be bypassed."""
    monkeypatch.setitem(MACROS, "two", Macro(1, (Stage(8, 2, 1),), stem=16, tail=16))
    return "two"


def test_counting_by_enumeration(two_layers: str) -> None:
    space = Space(instanas, macro=two_layers, width=0.5)
    sets = [c for n in range(6) for c in itertools.combinations(CANDIDATES, n)]
    by_hand = {Architecture(l0=head, l1=other) for head in sets if head for other in sets}
    assert set(space) == by_hand
    assert space.size == len(by_hand) == 31 * 32


def test_a_mean_layer_divides_by_how_many_are_active(two_layers: str, enliven) -> None:
    space = Space(instanas, macro=two_layers)
    graph = enliven(MetaGraph(space))
    head = graph.net[1]
    assert space.choices[0].mean
    graph.net = head
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    mean = (head.options["mb3_k3"](x) + head.options["basic_k3"](x)) / 2
    torch.testing.assert_close(graph(x, Architecture(l0=["mb3_k3", "basic_k3"], l1=[])), mean)
    mixed = PerInstance([Architecture(l0=["mb3_k3", "basic_k3"], l1=[]), Architecture(l0=["mb3_k3"], l1=[])])
    torch.testing.assert_close(graph(x, mixed), torch.stack([mean[0], head.options["mb3_k3"](x)[1]]))


@pytest.mark.parametrize("shortcut", ["shared", "per_op"])
def test_what_a_layer_computes(two_layers: str, shortcut: str, enliven) -> None:
    graph = enliven(MetaGraph(Space(instanas, macro=two_layers, shortcut=shortcut, combine="sum")))
    _, head, layer, *_ = graph.net
    head_place, place = head, layer.body if shortcut == "shared" else layer
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)

    def run(module: nn.Module, x: Tensor, l0: list[str], l1: list[str]) -> Tensor:
        whole, graph.net = graph.net, module
        try:
            return graph(x, Architecture(l0=l0, l1=l1))
        finally:
            graph.net = whole

    y = run(head, x, ["mb3_k3", "basic_k3"], [])
    torch.testing.assert_close(y, head_place.options["mb3_k3"](x) + head_place.options["basic_k3"](x))
    torch.testing.assert_close(run(head, x, [], []), head_place.options["basic_k3"](x))
    h = y
    assert torch.equal(run(layer, h, [], []), h)

    def inverted(name: str) -> Tensor:  # without its shortcut
        option = place.options[name]
        return option.body(h) if shortcut == "per_op" else option(h)

    chosen = ["mb6_k3", "mb3_k5", "basic_k3"]
    sum_of_all = inverted("mb6_k3") + inverted("mb3_k5") + place.options["basic_k3"](h)
    expected = h * (2 if shortcut == "per_op" else 1) + sum_of_all
    torch.testing.assert_close(run(layer, h, [], chosen), expected)


@pytest.mark.parametrize("shortcut", ["shared", "per_op"])
class TestMixedBatches:
    """Batches in which every sample goes its own way, at a small width of the digits' macro-structure."""

    @pytest.fixture
    def graph(self, shortcut: str, enliven) -> MetaGraph:
        return enliven(MetaGraph(Space(instanas, macro="digits", size=8, width=0.25, shortcut=shortcut)))

    def test_grouped_and_one_by_one_agree(self, graph: MetaGraph) -> None:
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(8, 3, 8, 8, generator=rng, dtype=torch.float64)
        for keep in (0.1, 0.5, 0.9):
            codes = torch.rand(8, graph.space.width, generator=rng) < keep
            alone = torch.cat([graph.extract(graph.space.decode(c))(row[None]) for row, c in zip(x, codes)])
            torch.testing.assert_close(graph(x, PerInstance(codes)), alone, rtol=1e-9, atol=1e-9)
            assert alone.std(0).min() > 1e-4

    def test_an_empty_sample_is_unaffected_by_its_neighbours(self, graph: MetaGraph) -> None:
        rng = torch.Generator().manual_seed(1)
        x = torch.randn(6, 3, 8, 8, generator=rng, dtype=torch.float64)
        off = graph.extract(all_set_to(graph.space, []))(x[2:3])
        for neighbours in (torch.zeros, torch.ones, lambda *shape: torch.rand(*shape, generator=rng)):
            codes = neighbours(6, graph.space.width) > 0.5
            codes[2] = False
            torch.testing.assert_close(graph(x, PerInstance(codes))[2:3], off, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shortcut", ["shared", "per_op"])
def test_column_0_is_a_network_built_by_hand(shortcut: str, enliven) -> None:
    """Stem, 17 inverted residuals of expansion 6 and kernel 3, tail; written without `choose`."""
    graph = enliven(MetaGraph(Space(instanas, macro="cifar", classes=10, shortcut=shortcut)))
    layers: list[nn.Module] = [ConvBN(3, 32, 3)]
    c_in = 32
    for c_out, n, stride in [(16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]:
        for i in range(n):
            block = InvertedResidual(c_in, c_out, kernel=3, expand=6, stride=stride if i == 0 else 1)
            layers.append(Residual(block) if i else block)
            c_in = c_out
    tail = [ConvBN(320, 1280), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10)]
    by_hand = nn.Sequential(*layers, *tail).double().eval()
    child = graph.extract(all_set_to(graph.space, ["mb6_k3"]))
    ours, theirs = list(child.state_dict().values()), by_hand.state_dict()
    assert len(ours) == len(theirs)
    by_hand.load_state_dict(dict(zip(theirs, ours)))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    codes = torch.zeros(2, 17, 5, dtype=torch.bool)
    codes[:, :, 0] = True
    y = graph(x, PerInstance(codes.flatten(1)))
    torch.testing.assert_close(y, by_hand(x), rtol=1e-9, atol=1e-9)
    assert (y[0] - y[1]).abs().max() > 1e-4


class TestOptions:
    def test_width(self) -> None:
        space = Space(instanas, macro="cifar", width=0.5)
        child = space.build(all_set_to(space, ["basic_k3"]))
        assert child[0][0].out_channels == 16
        assert child[-1].in_features == 640
        assert space.size == 31**7 * 32**10

    def test_dropout_stands_before_the_classifier(self) -> None:
        space = Space(instanas, macro="digits", size=8, dropout=0.5)
        *_, before, last = space.build(space.unrank(0))
        assert isinstance(before, nn.Dropout)
        assert isinstance(last, nn.Linear)

    def test_mistakes(self) -> None:
        for options, said in [
            ({"shortcut": "none"}, "shortcut is 'none'; give 'shared' or 'per_op'"),
            ({"combine": "max"}, "combine is 'max'; give 'mean' or 'sum'"),
            ({"macro": "cifra"}, "there is no macro-structure 'cifra'"),
            ({"macro": "cifra"}, "did you mean 'cifar'?"),
            ({"width": 0}, "a layer would have 0 channels; give a width above 0"),
        ]:
            with pytest.raises(SpaceError) as caught:
                Space(instanas, **options)
            assert said in str(caught.value)
