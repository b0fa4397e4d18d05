"""What every gated route keeps, over all spaces with `op` choices; and what a choice with gates has to bear."""

from __future__ import annotations

import copy
import gc
import random
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.choose import Place
from archipel.errors import ArchitectureError
from archipel.gating import kept_buffers
from archipel.metagraph import Gated, MetaGraph, Mixture, Route, current_numbers
from archipel.nn import ConvBN, InvertedResidual, Zero, residual
from archipel.space import Space

B = 6
CLOSE = {"rtol": 1e-9, "atol": 1e-12}  # float64; sums in another order
BOTH = pytest.mark.parametrize("recompute", [True, False], ids=["full_v2", "full"])


def images(n: int = B, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gates_of(space: Space, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {
        c.name: torch.zeros(len(c.options), dtype=dtype, requires_grad=True) for c in space.choices if c.kind == "op"
    }


def any_value(choice: Choice, rng: random.Random) -> Any:
    if choice.takes_several:
        return tuple(sorted(rng.sample(choice.options, choice.k)))
    return rng.choice(choice.options)


def assignments(space: Space) -> list[Architecture]:
    """Values for every choice, active or not; of the small spaces enough to reach every choice."""
    rng, n = random.Random(0), 6 if space.size < 1000 else 1
    return [Architecture({**{c.name: any_value(c, rng) for c in space.choices}, **space.sample(rng)}) for _ in range(n)]


def pull() -> Tensor:
    return torch.randn(B, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loss_of(y: Tensor) -> Tensor:
    return (y * pull()).sum() + y.square().sum()


def learnt(graph: MetaGraph, assignment: Architecture, **how: Any) -> dict[str, Tensor]:
    """u of every choice that is active."""
    gates = gates_of(graph.space)
    loss_of(graph(images(), Gated(assignment, gates, **how))).backward()
    return {name: gate.grad for name, gate in gates.items() if gate.grad is not None}


def buffers(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def option_weights(graph: MetaGraph) -> list[nn.Parameter]:
    places = [m for m in graph.modules() if isinstance(m, Place) and m.choice.kind == "op"]
    return [p for place in places for p in place.options.parameters()]


@pytest.fixture
def trained(graph: MetaGraph) -> MetaGraph:
    """A copy in training mode."""
    return copy.deepcopy(graph).train()


@pytest.mark.of_spaces(where=gates_of)
class TestGatedContract:
    @BOTH
    def test_it_gives_what_single_gives(self, space: Space, trained: MetaGraph, recompute: bool) -> None:
        plain = copy.deepcopy(trained)
        for assignment in assignments(space):
            given = trained(images(), Gated(assignment, gates_of(space), recompute=recompute))
            wanted = plain(images(), space.canonical(assignment))
            assert torch.equal(given, wanted)
            loss_of(given).backward()
            assert all(map(torch.equal, trained.buffers(), plain.buffers()))

    @BOTH
    def test_the_input_gets_the_gradient_that_single_gives(
        self, space: Space, trained: MetaGraph, recompute: bool
    ) -> None:
        for assignment in assignments(space):
            found = []
            for route in (Gated(assignment, gates_of(space), recompute=recompute), space.canonical(assignment)):
                x = images().requires_grad_()
                loss_of(trained(x, route)).backward()
                found.append(x.grad)
            torch.testing.assert_close(*found, **CLOSE)

    @BOTH
    def test_u_is_the_gradient_of_a_mixture_at_the_corner(
        self, space: Space, trained: MetaGraph, recompute: bool
    ) -> None:
        """A weight of 1e-300 lets an option run and adds nothing to a float64."""
        told = 0
        for assignment in assignments(space):
            u = learnt(trained, assignment, recompute=recompute)
            weights = {}
            for choice in space.choices:
                if choice.kind == "op" and choice.name in space.canonical(assignment):
                    corner = [1.0 if option == assignment[choice.name] else 1e-300 for option in choice.options]
                    weights[choice.name] = torch.tensor(corner, dtype=torch.float64, requires_grad=True)
            loss_of(trained(images(), Mixture(weights, assignment))).backward()
            assert u.keys() == {name for name, w in weights.items() if w.grad is not None}
            for name, gradient in u.items():
                torch.testing.assert_close(gradient, weights[name].grad, **CLOSE)
                told += int((gradient.abs() > 1e-6).sum() > 1)
        assert told

    def test_looking_in_the_backward_pass_learns_the_same_to_the_last_bit(
        self, space: Space, trained: MetaGraph
    ) -> None:
        for assignment in assignments(space):
            again, kept = (learnt(trained, assignment, recompute=recompute) for recompute in (True, False))
            assert again.keys() == kept.keys()
            assert all(torch.equal(again[name], kept[name]) for name in again)

    def test_recomputation_leaves_no_option_a_gradient(self, space: Space, trained: MetaGraph) -> None:
        for assignment in assignments(space):
            learnt(trained, assignment)
            assert all(weight.grad is None for weight in option_weights(trained))
            assert any(weight.grad is not None for weight in trained.parameters())

    @BOTH
    def test_only_what_is_observed_runs(self, space: Space, trained: MetaGraph, recompute: bool) -> None:
        ran: set[tuple[str, str]] = set()
        for place in (m for m in trained.modules() if isinstance(m, Place)):
            for option, module in place.options.items():
                module.register_forward_pre_hook(lambda *_, c=place.choice.name, o=option: ran.add((c, o)))
        for assignment in assignments(space):
            whole = learnt(trained, assignment, recompute=recompute)
            observed = {c.name: c.options[1:2] for c in space.choices if c.kind == "op"}
            ran.clear()
            part = learnt(trained, assignment, observed=observed, recompute=recompute)
            top = {c.name for c in space.choices if c.kind == "op" and c.parent is None}
            for name, u in part.items():
                assert torch.equal(u[1:2], whole[name][1:2])
                assert not u[0]
                assert not u[2:].any()
            for name in top & part.keys():
                assert {o for c, o in ran if c == name} == {assignment[name], *observed[name]}

    @BOTH
    def test_nothing_is_left_afterwards(self, space: Space, trained: MetaGraph, recompute: bool) -> None:
        def plain(module: nn.Module) -> dict[str, object]:
            return {f"{n}.{k}": v for n, m in module.named_modules() for k, v in vars(m).items() if k[0] != "_"}

        before, owned = plain(trained), [(n, id(b)) for n, b in trained.named_buffers()]
        learnt(trained, assignments(space)[0], recompute=recompute)
        assert plain(trained) == before
        assert [(n, id(b)) for n, b in trained.named_buffers()] == owned
        with pytest.raises(ArchitectureError, match="run without a route"):
            current_numbers("any")


def three(
    choose: Any,
    *,
    first: Callable[[], nn.Module] = nn.Identity,
    around: Callable[[nn.Module], nn.Module] = residual,
    after: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Module:
    """Three blocks in a row."""
    options = {
        "k1": lambda: nn.Sequential(first(), ConvBN(4, 4)),
        "k3": lambda: ConvBN(4, 4, 3),
        "skip": nn.Identity,
        "zero": Zero,
    }
    layers = [nn.Sequential(around(choose.op(f"c{i}", options)), after(4)) for i in range(3)]
    return nn.Sequential(ConvBN(3, 4), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def grown(function: Callable[..., nn.Module], **options: Any) -> MetaGraph:
    torch.manual_seed(0)
    return MetaGraph(Space(function, **options)).double().train()


def all_set_to(graph: MetaGraph, option: str) -> Architecture:
    return Architecture({choice.name: option for choice in graph.space.choices})


class TestU:
    @BOTH
    def test_by_finite_differences_in_the_gate(self, recompute: bool) -> None:
        """Check 2 of the method: step 1e-6, no kinks near."""

        def smooth(choose: Any) -> nn.Module:
            options = {"a": lambda: nn.Linear(3, 3), "b": lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh()), "z": Zero}
            return nn.Sequential(choose.op("one", options), nn.Tanh(), choose.op("two", options))

        graph, x = grown(smooth), torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
        for option in ("a", "b"):
            gates = gates_of(graph.space)
            graph(x, Gated(all_set_to(graph, option), gates, recompute=recompute)).sin().sum().backward()
            corner = {n: torch.tensor([float(o == option) for o in "abz"], dtype=torch.float64) for n in gates}
            for name, gate in gates.items():
                for i in range(3):
                    sides = []
                    for step in (1e-6, -1e-6):
                        moved = {n: w.clone() for n, w in corner.items()}
                        moved[name][i] += step
                        sides.append(graph(x, Mixture(moved)).sin().sum().item())
                    assert abs((sides[0] - sides[1]) / 2e-6 - float(gate.grad[i])) < 1e-8

    @BOTH
    def test_it_adds_up_over_places_of_one_choice(self, recompute: bool) -> None:
        class Scale(nn.Module):
            def __init__(self, factor: float) -> None:
                super().__init__()
                self.factor = factor

            def forward(self, x: Tensor) -> Tensor:
                return self.factor * x

        def twice(choose: Any) -> nn.Module:
            return nn.Sequential(
                *(choose.op("c", {"2": lambda: Scale(2.0), "3": lambda: Scale(3.0)}) for _ in range(2))
            )

        graph, gates = MetaGraph(Space(twice)), {"c": torch.zeros(2, requires_grad=True)}
        graph(torch.ones(1), Gated(Architecture(c="2"), gates, recompute=recompute)).sum().backward()
        assert gates["c"].grad.tolist() == [2 * 2 + 2 * 2, 2 * 3 + 2 * 3]

    @BOTH
    def test_zero_is_never_run(self, recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        graph = grown(three)
        u = learnt_three(graph, "k3", recompute)
        active = learnt_three(graph, "zero", recompute)
        monkeypatch.setattr(Zero, "forward", None)
        again = learnt_three(graph, "k3", recompute)
        for name in u:
            assert torch.equal(u[name], again[name])
            assert u[name][3] == active[name][3] == 0.0
            assert all(u[name][:3] != 0.0)
            assert all(active[name][:3] != 0.0)  # what runs instead would have made a difference

    @BOTH
    def test_channels_last(self, recompute: bool) -> None:
        graph, found = grown(three), []
        for layout in (torch.contiguous_format, torch.channels_last):
            gates = gates_of(graph.space)
            body = graph.net[:2]
            seen: list[Tensor] = []
            handle = body[1].register_forward_hook(lambda m, i, o: seen.append(o))  # noqa: ARG005, B023
            x = images().contiguous(memory_format=layout).requires_grad_()
            graph(x, Gated(all_set_to(graph, "k3"), gates, recompute=recompute)).square().sum().backward()
            handle.remove()
            assert seen[0].is_contiguous(memory_format=layout)
            assert x.grad.is_contiguous(memory_format=layout)
            found.append([x.grad, *(g.grad for g in gates.values())])
        torch.testing.assert_close(*found, **CLOSE)

    @BOTH
    def test_autocast(self, recompute: bool) -> None:
        """Options run in bfloat16 in the backward pass too; u is summed in float32."""
        graph = grown(three).float()
        seen: list[torch.dtype] = []
        for place in (m for m in graph.modules() if isinstance(m, Place)):
            place.options["k1"].register_forward_hook(lambda m, i, o: seen.append(o.dtype))  # noqa: ARG005
        x, found = images().float(), []
        for enabled in (True, False):
            gates = gates_of(graph.space, torch.float32)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                y = graph(x, Gated(all_set_to(graph, "k3"), gates, recompute=recompute))
            y.float().square().sum().backward()
            found.append([gate.grad for gate in gates.values()])
        assert seen == [torch.bfloat16] * 3 + [torch.float32] * 3
        for low, high in zip(*found):
            torch.testing.assert_close(low, high, rtol=0.1, atol=0.1 * float(high.abs().max()))

    def test_large_sums_in_half_precision(self) -> None:
        """⟨o, G⟩ over a batch of maps leaves float16 long before float32."""
        graph = MetaGraph(Space(lambda choose: choose.op("c", {"a": nn.Identity, "b": lambda: nn.Dropout(0.0)}))).half()
        gates = {"c": torch.zeros(2, requires_grad=True)}
        x = torch.full((64, 4, 32, 32), 4.0, dtype=torch.float16, requires_grad=True)
        graph(x, Gated(Architecture(c="a"), gates)).backward(torch.full_like(x, 2.0))
        assert gates["c"].grad.tolist() == [8.0 * x.numel()] * 2


def learnt_three(
    graph: MetaGraph, option: str, recompute: bool, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    gates = gates_of(graph.space, dtype)
    y = graph(images().to(dtype), Gated(all_set_to(graph, option), gates, recompute=recompute))
    (y * torch.arange(4, dtype=dtype)).sum().backward()
    return {name: gate.grad for name, gate in gates.items()}


class TestChance:
    def drawn(self, recompute: bool) -> tuple[Tensor, list[Tensor], Tensor]:
        def noisy(choose: Any) -> nn.Module:
            options = {
                "drop": lambda: nn.Sequential(nn.Dropout(0.5), ConvBN(3, 3)),
                "other": lambda: nn.Sequential(ConvBN(3, 3), nn.Dropout(0.3)),
            }
            return nn.Sequential(*(choose.op(f"c{i}", options) for i in range(3)))

        graph, gates = (
            grown(noisy),
            {f"c{i}": torch.zeros(2, dtype=torch.float64, requires_grad=True) for i in range(3)},
        )
        torch.manual_seed(3)
        y = graph(images(), Gated(all_set_to(graph, "drop"), gates, recompute=recompute))
        y.square().sum().backward()
        after = torch.get_rng_state()
        torch.manual_seed(3)
        assert torch.equal(y, graph(images(), all_set_to(graph, "drop")))
        assert torch.equal(after, torch.get_rng_state())
        return y, [gate.grad for gate in gates.values()], after

    def test_dropout_draws_what_the_child_would_and_the_same_in_both_ways(self) -> None:
        (_, again, _), (_, kept, _) = self.drawn(True), self.drawn(False)
        assert all(torch.equal(*pair) for pair in zip(again, kept))


class TestStatistics:
    @BOTH
    def test_only_the_path_moves_them(self, recompute: bool) -> None:
        graph, plain = grown(three), grown(three)
        before = buffers(graph)
        learnt_three(graph, "k3", recompute)
        plain(images(), all_set_to(plain, "k3"))
        after = buffers(graph)
        assert all(torch.equal(b, buffers(plain)[name]) for name, b in after.items())
        assert all(torch.equal(b, before[name]) for name, b in after.items() if ".options.k1." in name)
        assert any(not torch.equal(b, before[name]) for name, b in after.items() if ".options.k3." in name)

    def test_kept_buffers(self) -> None:
        norm = nn.BatchNorm2d(3)
        mean, before = norm.running_mean, buffers(norm)
        with suppress(ZeroDivisionError), kept_buffers(norm):
            norm(torch.randn(2, 3, 4, 4))
            norm.running_var = torch.full((3,), 7.0)
            assert not torch.equal(norm.running_mean, before["running_mean"])
            raise ZeroDivisionError
        assert norm.running_mean is mean
        assert all(torch.equal(b, before[name]) for name, b in norm.named_buffers())

    def test_a_graph_that_saw_them_can_still_go_back(self) -> None:
        """Batch norm keeps its statistics for the backward pass: they must not change under it."""
        norm = nn.BatchNorm2d(3)
        with kept_buffers(norm):
            y = norm(torch.randn(2, 3, 4, 4))
        with kept_buffers(norm):
            norm(torch.randn(2, 3, 4, 4))
        y.sum().backward()
        assert norm.weight.grad is not None


class Doubles(nn.Module):
    """y = 2x, by way of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2.0)


class TestInPlace:
    @BOTH
    @pytest.mark.parametrize("option", ["k1", "k3"])
    def test_a_first_layer_that_is_said_to_be(self, recompute: bool, option: str) -> None:
        plain = learnt_three(grown(three, first=nn.ReLU), option, recompute)
        own = learnt_three(grown(three, first=lambda: nn.ReLU(inplace=True)), option, recompute)
        assert all(torch.equal(own[name], plain[name]) for name in plain)

    @BOTH
    @pytest.mark.parametrize("option", ["k1", "k3"])
    def test_one_that_is_not(self, recompute: bool, option: str) -> None:
        with pytest.raises(ArchitectureError) as caught:
            learnt_three(grown(three, first=Doubles), option, recompute)
        assert "option 'k1' of choice 'c" in str(caught.value)
        assert "changes its input in place" in str(caught.value)
        assert "give that layer inplace=False" in str(caught.value)

    @BOTH
    def test_a_layer_behind_the_choice(self, recompute: bool) -> None:
        def behind(channels: int) -> nn.Module:  # noqa: ARG001
            return nn.ReLU(inplace=True)

        graph = grown(three, around=lambda choice: choice, after=behind)
        with pytest.raises(ArchitectureError, match="the layer that follows choice 'c2' changes its input in place"):
            learnt_three(graph, "k3", recompute)


class TestRoute:
    @BOTH
    def test_without_gradients_it_is_a_single(self, recompute: bool) -> None:
        graph, ran = grown(three), []
        for place in (m for m in graph.modules() if isinstance(m, Place)):
            for option, module in place.options.items():
                module.register_forward_pre_hook(lambda *_, o=option: ran.append(o))
        gates = gates_of(graph.space)
        with torch.no_grad():
            graph(images(), Gated(all_set_to(graph, "k3"), gates, recompute=recompute))
        fixed = {name: gate.detach() for name, gate in gates.items()}
        graph(images(), Gated(all_set_to(graph, "k3"), fixed, recompute=recompute)).sum().backward()
        assert ran == ["k3"] * 6

    @BOTH
    def test_choices_without_gates_follow_the_architecture(self, recompute: bool) -> None:
        graph = grown(three)
        whole = learnt_three(graph, "k3", recompute)
        gates = {"c1": torch.zeros(4, dtype=torch.float64, requires_grad=True)}
        y = graph(images(), Gated(all_set_to(graph, "k3"), gates, recompute=recompute))
        (y * torch.arange(4, dtype=torch.float64)).sum().backward()
        assert torch.equal(gates["c1"].grad, whole["c1"])

    def test_frozen_weights_change_nothing(self) -> None:
        graph = grown(three)
        whole = learnt_three(graph, "k1", True)
        graph.requires_grad_(False)
        frozen = learnt_three(graph, "k1", True)
        assert all(torch.equal(frozen[name], whole[name]) for name in whole)

    def test_a_bypass_without_gates_is_its_input(self) -> None:
        graph, x = (
            MetaGraph(Space(lambda choose: residual(choose.op("c", {"k1": lambda: ConvBN(3, 3), "z": Zero})))),
            images(),
        )
        assert graph(x, Gated(Architecture(c="z"), {})) is x

    def test_the_way_back_may_be_another_threads(self) -> None:
        """As on a GPU: there is no route under way there, and gradients are on."""
        graph = grown(three)
        here = learnt_three(graph, "k3", True)
        gates = gates_of(graph.space)
        y = graph(images(), Gated(all_set_to(graph, "k3"), gates))
        thread = threading.Thread(target=(y * torch.arange(4, dtype=torch.float64)).sum().backward)
        thread.start()
        thread.join()
        assert all(torch.equal(gate.grad, here[name]) for name, gate in gates.items())

    @BOTH
    @pytest.mark.parametrize("goes_back", [True, False])
    def test_nothing_is_kept_longer_than_the_output(self, recompute: bool, goes_back: bool) -> None:
        """No circle of references: what is kept for the backward pass is freed at once, not at the next collection."""

        class Box:
            def __init__(self, tensor: Tensor) -> None:
                self.tensor = tensor.detach()  # with its history it would be a circle itself
                kept.append(weakref.ref(self))

        graph, kept = grown(three), []
        gc.collect()
        gc.disable()
        try:
            with saved_tensors_hooks(Box, lambda box: box.tensor):
                y = graph(images(), Gated(all_set_to(graph, "k3"), gates_of(graph.space), recompute=recompute))
            assert sum(ref() is not None for ref in kept) > 10
            if goes_back:
                y.sum().backward()
            del y
            assert not any(ref() for ref in kept)
        finally:
            gc.enable()

    def test_a_second_way_back(self) -> None:
        graph, gates = grown(three), {"c0": torch.zeros(4, dtype=torch.float64, requires_grad=True)}
        y = graph(images(), Gated(all_set_to(graph, "k3"), gates)).sum()
        y.backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="followed back once"):
            y.backward()

    @pytest.mark.parametrize(
        ("route", "said"),
        [
            (Gated(Architecture(), {}), "choice 'kind' of space 'mixed' is not set"),
            (Gated(Architecture(kind="a"), {"kund": torch.ones(3)}), "gates for choice 'kund', which space 'mixed'"),
            (Gated(Architecture(kind="a"), {"kund": torch.ones(3)}), "did you mean 'kind'?"),
            (Gated(Architecture(kind="a"), {"both": torch.ones(2)}), "gates for subset choice 'both'; only op choices"),
            (
                Gated(Architecture(kind="a"), {"kind": torch.ones(2)}),
                "choice 'kind' are [2]; give a tensor of shape [3]",
            ),
            (Gated(Architecture(kind="a"), {"kind": [1, 1, 1]}), "choice 'kind' are list; give a tensor of shape [3]"),
            (Gated(Architecture(kind="a"), {}, {"kind": ("a",)}), "'kind' are observed, and it has no gates"),
            (Gated(Architecture(kind="a"), {"kind": torch.ones(3)}, {"kind": ("d",)}), "'kind' has no option 'd'"),
            (
                Gated(Architecture(kind="a"), {"kind": torch.ones(3)}),
                "option 'deep' of choice 'kind' is observed and holds choice 'inner', not set; set it in",
            ),
            (
                Gated(Architecture(kind="a", inner="x"), {"kind": torch.ones(3)}),
                "option 'deep' of choice 'kind' is observed and holds choice 'both', not set; set it in",
            ),
            (Gated(Architecture(kind="a", inner="z"), {}), "choice 'inner' has no option 'z'"),
        ],
    )
    def test_mistakes(self, route: Gated, said: str) -> None:
        def mixed(choose: Any) -> nn.Module:
            def deepest() -> nn.Module:
                return choose.subset("both", {"u": nn.ReLU, "v": nn.Tanh})

            def deep() -> nn.Module:
                return choose.op("inner", {"x": deepest, "y": nn.Identity})

            return choose.op("kind", {"a": nn.Identity, "b": nn.ReLU, "deep": deep})

        with pytest.raises(ArchitectureError) as caught:
            MetaGraph(Space(mixed))(torch.ones(1, 1), route)
        assert said in str(caught.value)

    def test_a_choice_between_lists(self) -> None:
        class Total(nn.Module):
            def forward(self, tensors: list[Tensor]) -> Tensor:
                return sum(tensors)

        graph = MetaGraph(Space(lambda choose: choose.op("c", {"a": Total, "b": Total})))
        with pytest.raises(ArchitectureError, match="choice 'c' has gates and is given list; give it one tensor"):
            graph([torch.ones(1)], Gated(Architecture(c="a"), {"c": torch.zeros(2, requires_grad=True)}))


def mobile(choose: Any) -> nn.Module:
    """The paper's 21 blocks for 64-pixel images: six inverted residuals each, and nothing where the shape is kept."""
    layers, c = [ConvBN(3, 32, 3, stride=2, act=nn.ReLU6), InvertedResidual(32, 16, expand=1, act=nn.ReLU6)], 16
    for c_out, n, first in ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)):
        for i in range(n):
            stride = first if i == 0 else 1

            def body(kernel: int, expand: int, c: int = c, c_out: int = c_out, stride: int = stride) -> Any:
                return lambda: InvertedResidual(c, c_out, kernel=kernel, expand=expand, stride=stride, act=nn.ReLU6)

            options = {f"k{k}e{e}": body(k, e) for k in (3, 5, 7) for e in (3, 6)}
            name = f"b{len(layers) - 1}"
            keeps = stride == 1 and c == c_out
            layers.append(residual(choose.op(name, {**options, "zero": Zero})) if keeps else choose.op(name, options))
            c = c_out
    return nn.Sequential(*layers, ConvBN(c, 1280, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def held(graph: MetaGraph, x: Tensor, route: Route | Architecture) -> int:
    """Bytes kept for the backward pass, each storage once, weights (kept by reference in any case) not."""
    own = {weight.untyped_storage().data_ptr() for weight in graph.parameters()}
    kept: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(hold, lambda tensor: tensor):
        y = graph(x, route)
    total = sum(size for place, size in kept.items() if place not in own)
    del y  # until here, so that no storage could take the place of another
    return total


def test_memory_is_that_of_one_path() -> None:
    """Check 7 of the method, over 21 choices: full_v2 ≤ 1.1 of one path, two ≤ 1.5, all options weighed ≥ 4."""
    graph, rng, x = MetaGraph(Space(mobile)).train(), random.Random(0), torch.randn(2, 3, 64, 64)
    options = {c.name: [o for o in c.options if o != "zero"] for c in graph.space.choices}
    assert len(options) == 21
    pairs = {name: tuple(rng.sample(names, 2)) for name, names in options.items()}
    architecture = Architecture({name: first for name, (first, _) in pairs.items()})
    weights = {c.name: torch.full((len(c.options),), 0.1, requires_grad=True) for c in graph.space.choices}
    one = held(graph, x, architecture)
    assert held(graph, x, Gated(architecture, gates_of(graph.space, torch.float32))) <= 1.1 * one
    assert (
        held(graph, x, Gated(architecture, gates_of(graph.space, torch.float32), pairs, recompute=False)) <= 1.5 * one
    )
    assert held(graph, x, Mixture(weights)) >= 4 * one
