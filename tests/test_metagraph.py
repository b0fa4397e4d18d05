"""What every meta-graph keeps: `MetaGraphContract` (the design's invariants 1 to 3), and the routes' own corners."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from archipel.architecture import Architecture
from archipel.choose import Place
from archipel.errors import ArchitectureError
from archipel.metagraph import MetaGraph, Mixture, PerInstance, Single, Slices, current_numbers
from archipel.nn import ConvBN, batch_norm2d, conv2d
from archipel.space import Space

B = 6
CLOSE = {"rtol": 1e-9, "atol": 1e-9}  # float64; sums in another order


def images(n: int = B) -> Tensor:
    return torch.randn(n, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def some(space: Space, n: int = B, seed: int = 1) -> list[Architecture]:
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(n)]


def corners(space: Space) -> list[Architecture]:
    """The first (where it may be, empty everywhere), the last (everything on) and some between."""
    return [space.unrank(0), space.unrank(space.size - 1), *some(space, 3)]


def each_alone(graph: MetaGraph, x: Tensor, architectures: list[Architecture]) -> Tensor:
    return torch.cat([graph(row[None], a) for row, a in zip(x, architectures)])


def cost(run: Callable[[], Tensor]) -> tuple[int, int]:
    """(FLOPs, bytes saved for the backward pass) of a forward pass."""
    saved: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        # Kept, not only counted: what a branch that leads nowhere has saved is freed, and its address used again.
        saved[tensor.data_ptr(), tensor.shape, tensor.stride()] = tensor.detach()
        return tensor

    with FlopCounterMode(display=False) as flops, saved_tensors_hooks(save, lambda tensor: tensor):
        run()
    return flops.get_total_flops(), sum(tensor.nbytes for tensor in saved.values())


def weights_for(graph: MetaGraph, seed: int = 0) -> tuple[dict[str, Tensor], Architecture]:
    """Random mixture weights for all choices that can have them, with some zeros, and values for the rest."""
    rng = torch.Generator().manual_seed(seed)
    space, weights = graph.space, {}
    for choice in space.choices:
        if choice.kind != "value":
            w = torch.rand(len(choice.options), generator=rng, dtype=torch.float64) + 0.1
            weights[choice.name] = w / w.sum()
    # Values of every option's own, active or not: in a mixture more than one option runs.
    return weights, Architecture({c.name: c.options[-1] for c in space.choices if c.kind == "value"})


def can_be_mixed(space: Space) -> bool:
    return any(choice.kind != "value" for choice in space.choices)


class TestMetaGraphContract:
    def test_architectures_differ_in_their_outputs(self, space: Space, graph: MetaGraph) -> None:
        """Else the comparisons below could not fail."""
        x = images()
        outputs = [graph(x, architecture) for architecture in corners(space)]
        for architecture, y in zip(corners(space), outputs):
            assert y.shape == (B, 4)
            assert torch.isfinite(y).all()
            cut_off = set(architecture.values()) == {"none"}  # NAS-Bench-201 has networks that see nothing
            assert ((y - y[0]).abs().max() > 1e-6) != cut_off, "whether the input makes a difference"
        if space.size > 1:
            assert any((y - outputs[0]).abs().max() > 1e-4 for y in outputs), "the architecture makes no difference"

    def test_a_child_in_the_graph_is_the_child_taken_out(self, space: Space, graph: MetaGraph) -> None:
        x = images()
        for architecture in corners(space):
            child = graph.extract(architecture)
            assert not any(isinstance(m, Place | Slices | MetaGraph) for m in child.modules())
            torch.testing.assert_close(graph(x, architecture), child(x), rtol=0, atol=0)
            torch.testing.assert_close(graph(x, Single(architecture)), child(x), rtol=0, atol=0)

    def test_a_built_child_has_just_the_parameters_of_the_extracted(self, space: Space, graph: MetaGraph) -> None:
        def parts(module: nn.Module) -> list[tuple[str, object]]:
            return [
                *((name, tensor.shape) for name, tensor in module.state_dict().items()),
                *((name, type(part)) for name, part in module.named_modules()),
            ]

        for architecture in corners(space):
            assert parts(space.build(architecture)) == parts(graph.extract(architecture))

    def test_an_extracted_child_owns_its_weights(self, space: Space, graph: MetaGraph) -> None:
        before = copy.deepcopy(graph.state_dict())
        child = graph.extract(space.unrank(space.size - 1))
        with torch.no_grad():
            for tensor in (*child.parameters(), *child.buffers()):
                tensor.add_(1)
        assert all(torch.equal(tensor, before[name]) for name, tensor in graph.state_dict().items())

    def test_extraction_draws_no_random_numbers_and_keeps_the_mode(self, space: Space, graph: MetaGraph) -> None:
        state = torch.get_rng_state()
        assert not graph.extract(space.unrank(0)).training
        assert copy.deepcopy(graph).train().extract(space.unrank(0)).training
        assert torch.equal(torch.get_rng_state(), state)

    def test_per_instance_is_each_sample_alone(self, space: Space, graph: MetaGraph) -> None:
        x, rng = images(), random.Random(0)
        for seed in range(2):
            architectures = some(space, seed=seed)
            alone = torch.cat([graph.extract(a)(row[None]) for row, a in zip(x, architectures)])
            codes = torch.stack([space.encode(a) for a in architectures])
            torch.testing.assert_close(graph(x, PerInstance(architectures)), alone, **CLOSE)
            torch.testing.assert_close(graph(x, PerInstance(codes)), alone, **CLOSE)
            order = rng.sample(range(B), B)
            shuffled = graph(x[order], PerInstance(codes[order]))
            torch.testing.assert_close(shuffled, alone[order], **CLOSE)
            torch.testing.assert_close(graph(x[:1], PerInstance(codes[:1])), alone[:1], **CLOSE)

    def test_per_instance_with_repeats_and_corners(self, space: Space, graph: MetaGraph) -> None:
        x = images()
        first, last, other = space.unrank(0), space.unrank(space.size - 1), some(space, 1)[0]
        for architectures in ([first] * B, [first] * (B - 1) + [last], [first, last, other] * (B // 3)):
            alone = each_alone(graph, x, architectures)
            torch.testing.assert_close(graph(x, PerInstance(architectures)), alone, **CLOSE)

    def test_per_instance_of_neighbours(self, space: Space, graph: MetaGraph) -> None:
        """All agree at all choices but one: options that every row takes stand beside one that few do."""
        rng = random.Random(0)
        for architecture in corners(space)[1:4]:
            near = space.neighbours(architecture, rng)
            if near:
                architectures = [architecture, *rng.choices(near, k=B - 1)]
                alone = each_alone(graph, images(), architectures)
                torch.testing.assert_close(graph(images(), PerInstance(architectures)), alone, **CLOSE)

    @pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
    def test_no_route_changes_its_input(self, space: Space, graph: MetaGraph, quiet) -> None:
        """Identity options and options that all rows take alias the input."""
        x = images()
        before = x.clone()
        with quiet():
            for seed in range(2):
                architectures = some(space, seed=seed)
                y = graph(x, PerInstance(architectures))
                assert torch.equal(x, before)
                torch.testing.assert_close(y, each_alone(graph, x, architectures), **CLOSE)
                graph(x, architectures[0])
                graph(x, Mixture(*weights_for(graph)))
                assert torch.equal(x, before)

    def test_single_leaves_what_is_not_sampled_without_gradient(self, space: Space, graph: MetaGraph) -> None:
        graph = copy.deepcopy(graph).train()
        for architecture in corners(space)[1:4]:
            graph.zero_grad(set_to_none=True)
            graph(images(), architecture).square().sum().backward()
            child = graph.extract(architecture)
            child(images()).square().sum().backward()
            assert all(p.grad is None for p in graph.unused(architecture))
            moved = [p.grad for p in graph.parameters() if p.grad is not None]
            own = [p.grad for p in child.parameters() if p.grad is not None]
            assert len(moved) == len(own) > 0
            # Element by element, because an elastic weight is one parameter for all sizes.
            assert sum(int((g != 0).sum()) for g in moved) == sum(int((g != 0).sum()) for g in own) > 0

    def test_unused_are_the_parameters_a_child_has_not(self, space: Space, graph: MetaGraph) -> None:
        for architecture in corners(space):
            used = {id(p) for p in graph.parameters()} - {id(p) for p in graph.unused(architecture)}
            assert len(used) == len(list(graph.extract(architecture).parameters()))

    def test_statistics_of_what_is_not_sampled_do_not_move(self, space: Space, graph: MetaGraph) -> None:
        def moved(module: nn.Module, architecture: Architecture | None) -> dict[str, Tensor]:
            before = {name: t.clone() for name, t in module.named_buffers()}
            module(images(), architecture) if architecture is not None else module(images())
            return {name: t != before[name] for name, t in module.named_buffers()}

        for architecture in corners(space)[1:4]:
            whole = copy.deepcopy(graph).train()
            child = whole.extract(architecture)
            in_graph, alone = moved(whole, architecture), moved(child, None)
            assert sum(int(m.sum()) for m in in_graph.values()) == sum(int(m.sum()) for m in alone.values()) > 0
            again = whole.extract(architecture).state_dict()
            assert all(torch.equal(t, again[name]) for name, t in child.state_dict().items())

    def test_single_computes_and_holds_what_the_child_does(self, space: Space, graph: MetaGraph) -> None:
        graph = copy.deepcopy(graph).train()
        for architecture in corners(space)[:4]:
            child, x = graph.extract(architecture), images()
            flops, held = cost(lambda: graph(x, architecture))  # noqa: B023
            child_flops, child_held = cost(lambda: child(x))  # noqa: B023
            assert flops == child_flops > 0
            assert held <= child_held

    def test_per_instance_of_one_mind_costs_what_single_does(self, space: Space, graph: MetaGraph) -> None:
        graph = copy.deepcopy(graph).train()
        for architecture in corners(space)[:3]:
            x, codes = images(), space.encode(architecture).repeat(B, 1)
            assert cost(lambda: graph(x, PerInstance(codes))) == cost(lambda: graph(x, architecture))  # noqa: B023

    def test_per_instance_computes_what_its_children_do(self, space: Space, graph: MetaGraph) -> None:
        """No option is computed for a row that did not choose it."""
        x, architectures = images(), some(space)
        flops, _ = cost(lambda: graph(x, PerInstance(architectures)))
        alone = sum(cost(lambda i=i, a=a: graph(x[i : i + 1], a))[0] for i, a in enumerate(architectures))
        assert flops == alone

    def test_gradients_through_per_instance_are_the_sum_over_children(self, space: Space, graph: MetaGraph) -> None:
        graph, x, architectures = copy.deepcopy(graph), images(), some(space)
        pull = torch.randn(B, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

        def gradients(run: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
            graph.zero_grad(set_to_none=True)
            own = x.clone().requires_grad_()
            (run(own) * pull).sum().backward()
            return [own.grad, *(p.grad for p in graph.parameters())]

        together = gradients(lambda own: graph(own, PerInstance(architectures)))
        one_by_one = gradients(lambda own: torch.cat([graph(own[i : i + 1], a) for i, a in enumerate(architectures)]))
        assert sum(g is not None for g in together) > 1
        for ours, theirs in zip(together, one_by_one):
            if ours is None or theirs is None:  # none of the rows that ran it was looked at
                assert not any(g.any() for g in (ours, theirs) if g is not None)
            else:
                torch.testing.assert_close(ours, theirs, **CLOSE)

    def test_a_mixture_of_zeros_and_ones_is_a_single(self, space: Space, graph: MetaGraph) -> None:
        x = images()
        for architecture in corners(space):
            code = space.encode(architecture).double()
            open_ = {c.name: code[space.slices[c.name]] for c in space.choices if c.kind != "value"}
            active = {name: w for name, w in open_.items() if name in architecture}
            numbers = Architecture({c.name: architecture[c.name] for c in space.choices if c.name in architecture})
            torch.testing.assert_close(graph(x, Mixture(active, numbers)), graph(x, architecture), **CLOSE)

    @pytest.mark.of_spaces(where=can_be_mixed)
    def test_gradients_into_mixture_weights(self, graph: MetaGraph) -> None:
        weights, numbers = weights_for(graph)
        sizes = [len(w) for w in weights.values()]

        def run(flat: Tensor) -> Tensor:
            return graph(images(2), Mixture(dict(zip(weights, flat.split(sizes))), numbers)).sum()

        flat = torch.cat(list(weights.values())).requires_grad_()
        fast = len(flat) > 100  # along random directions, not weight by weight
        assert torch.autograd.gradcheck(run, (flat,), atol=1e-5, rtol=1e-3, fast_mode=fast)

    @pytest.mark.of_spaces(where=can_be_mixed)
    def test_options_of_weight_zero_are_not_run(self, space: Space, graph: MetaGraph) -> None:
        graph = copy.deepcopy(graph)
        weights, numbers = weights_for(graph)
        for w in weights.values():
            w[: len(w) // 2] = 0
        ran: dict[str, set[str]] = {}
        for place in (m for m in graph.modules() if isinstance(m, Place)):
            for option, module in place.options.items():
                module.register_forward_pre_hook(
                    lambda *_, c=place.choice.name, o=option: ran.setdefault(c, set()).add(o)
                )
        graph(images(2), Mixture(weights, numbers))
        assert ran
        options = {c.name: c.options for c in space.choices}
        for name, on in ran.items():
            assert on == {str(o) for o, w in zip(options[name], weights[name]) if w != 0}

    def test_two_threads_follow_their_own_routes(self, space: Space, graph: MetaGraph) -> None:
        x, architectures = images(), some(space, 4)
        expected = [graph.extract(a)(x) for a in architectures[:2]]
        mixed = each_alone(graph, x, (architectures * B)[:B])
        start, wrong = threading.Barrier(3), []

        def follow(route, wanted: Tensor) -> None:
            start.wait()
            got = [graph(x, route) for _ in range(4)]
            wrong.extend(route for y in got if not torch.allclose(y, wanted, **CLOSE))

        routes = [*zip(architectures, expected), (PerInstance((architectures * B)[:B]), mixed)]
        threads = [threading.Thread(target=follow, args=pair) for pair in routes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_nothing_is_left_after_a_forward(self, space: Space, graph: MetaGraph) -> None:
        def plain(module: nn.Module) -> dict[str, object]:
            return {f"{n}.{k}": v for n, m in module.named_modules() for k, v in vars(m).items() if k[0] != "_"}

        before = plain(graph)
        graph(images(), PerInstance(some(space)))
        graph(images(), space.unrank(0))
        assert plain(graph) == before
        with pytest.raises(ArchitectureError, match="run without a route; call the meta-graph itself"):
            current_numbers("any")

    def test_nothing_is_left_after_a_forward_that_failed(self, space: Space, graph: MetaGraph) -> None:
        for route in (space.unrank(0), PerInstance(some(space, 2))):
            with pytest.raises(RuntimeError):
                graph(torch.zeros(2, 7, 8, 8, dtype=torch.float64), route)
            with pytest.raises(ArchitectureError, match="without a route"):
                current_numbers("any")

    def test_a_copy_and_a_reloaded_state_are_the_same_graph(self, space: Space, graph: MetaGraph) -> None:
        route = PerInstance(some(space))
        other = MetaGraph(space).double().eval()
        other.load_state_dict(graph.state_dict())
        for twin in (copy.deepcopy(graph), other):
            torch.testing.assert_close(twin(images(), route), graph(images(), route), rtol=0, atol=0)


class Scale(nn.Module):
    """y = factor · x, by a parameter, so that a network is arithmetic."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


OPTIONS = {"two": lambda: Scale(2.0), "three": lambda: Scale(3.0), "same": nn.Identity}


class TestMixture:
    X = torch.tensor([[1.0], [10.0]])

    def test_op_by_hand(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.op("a", OPTIONS)))
        weights = torch.tensor([0.5, 0.0, 2.0], requires_grad=True)
        y = graph(self.X, Mixture({"a": weights}))
        assert y.tolist() == [[3.0], [30.0]]
        y.sum().backward()
        assert weights.grad.tolist() == [22.0, 0.0, 11.0]

    def test_subset_by_hand(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.subset("a", OPTIONS)))
        assert graph(self.X, Mixture({"a": torch.tensor([1.0, 1.0, 0.5])})).tolist() == [[5.5], [55.0]]

    def test_inputs_by_hand(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.inputs("a", list(OPTIONS.values()), k=2)))
        tensors = [self.X, self.X + 1, self.X + 2]
        y = graph(tensors, Mixture({"a": torch.tensor([0.5, 0.0, 2.0])}))
        assert y.tolist() == [[0.5 * 2 * 1 + 2 * 3], [0.5 * 2 * 10 + 2 * 12]]

    @pytest.mark.parametrize(("empty", "expected"), [("three", 3.0), (nn.Identity, 1.0), (lambda: Scale(7.0), 7.0)])
    def test_a_subset_of_zeros_runs_what_it_runs_when_empty(self, empty, expected: float) -> None:
        graph = MetaGraph(Space(lambda choose: choose.subset("a", OPTIONS, empty=empty)))
        assert graph(self.X, Mixture({"a": torch.zeros(3)}))[0].item() == expected

    def test_what_is_not_weighed_follows_the_architecture(self) -> None:
        def function(choose):
            return nn.Sequential(choose.op("a", OPTIONS), choose.subset("b", OPTIONS, empty="two"))

        graph = MetaGraph(Space(function))
        route = Mixture({"a": torch.tensor([1.0, 1.0, 0.0])}, Architecture(b=["three", "two"]))
        assert graph(self.X, route)[0].item() == 25.0
        empty = Mixture({"a": torch.tensor([1.0, 1.0, 0.0])}, Architecture(b=[]))
        assert graph(self.X, empty)[0].item() == 10.0

    def test_nested_choices_are_needed_only_where_they_run(self) -> None:
        def function(choose):
            return choose.op("a", {**OPTIONS, "deep": lambda: choose.op("inner", OPTIONS)})

        graph = MetaGraph(Space(function))
        assert graph(self.X, Mixture({"a": torch.tensor([1.0, 0, 0, 0])}))[0].item() == 2.0
        both = {"a": torch.tensor([1.0, 0, 0, 10.0]), "inner": torch.tensor([1.0, 1.0, 0.0])}
        assert graph(self.X, Mixture(both))[0].item() == 52.0
        with pytest.raises(ArchitectureError, match="neither weighs nor sets choice 'inner'"):
            graph(self.X, Mixture({"a": torch.tensor([1.0, 0, 0, 1.0])}))

    @pytest.mark.parametrize(
        ("route", "said"),
        [
            (Mixture({"b": torch.ones(3)}), "names choice 'b', which space 'function' does not have"),
            (Mixture({"first": torch.ones(2)}), "weighs choice 'first' with [2]; give a tensor of shape [3]"),
            (Mixture({"first": [1, 1, 1]}), "weighs choice 'first' with list; give a tensor of shape [3]"),
            (Mixture({"first": torch.zeros(3)}), "weighs every option of 'first' with 0"),
            (Mixture({}), "neither weighs nor sets choice 'first'; put it in its weights or architecture"),
            (Mixture({"first": torch.ones(3)}), "neither weighs nor sets choice 'v'"),
            (Mixture({"first": torch.ones(3), "v": torch.ones(2)}), "weighs value choice 'v'; give a number"),
            (Mixture({"first": torch.ones(3)}, Architecture(v=3)), "choice 'v' has no option 3"),
            (Mixture({"frist": torch.ones(3)}), "did you mean 'first'?"),
        ],
    )
    def test_mistakes(self, route: Mixture, said: str) -> None:
        def function(choose):
            first = choose.op("first", OPTIONS)
            choose.value("v", [1, 2])
            return first

        with pytest.raises(ArchitectureError) as caught:
            MetaGraph(Space(function))(self.X, route)
        assert said in str(caught.value)


class TestPerInstance:
    def test_an_empty_sample_is_unaffected_by_its_neighbours(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.subset("a", OPTIONS, empty=nn.Identity)))
        x = torch.ones(4, 1)
        codes = torch.tensor([[0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.bool)
        assert graph(x, PerInstance(codes))[:, 0].tolist() == [1.0, 5.0, 1.0, 2.0]

    def test_options_that_all_rows_take_beside_some_that_few_do(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.subset("a", OPTIONS)))
        x = torch.ones(3, 1)
        codes = torch.tensor([[0, 0, 1], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
        assert graph(x, PerInstance(codes))[:, 0].tolist() == [1.0, 3.0, 6.0]
        assert x.tolist() == [[1.0]] * 3

    def test_rows_share_a_batch_whatever_inputs_they_take(self) -> None:
        """Each edge runs once however many combinations of inputs there are; maps may differ in shape."""
        calls = []

        class Pooled(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                calls.append(len(x))
                return x.mean((2, 3))

        graph = MetaGraph(Space(lambda choose: choose.inputs("in", [Pooled] * 4, k=2)))
        tensors = [torch.full((6, 1, n, n), float(10**n)) for n in range(4)]
        tensors[0] = torch.ones(6, 1, 5, 5)
        routes = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
        y = graph(tensors, PerInstance([Architecture({"in": pair}) for pair in routes]))
        assert y[:, 0].tolist() == [sum(10.0**i for i in pair) for pair in routes]
        assert calls == [3, 3, 3, 3]

    def test_where_all_rows_agree_nothing_is_gathered(self) -> None:
        def function(choose):
            return nn.Sequential(choose.op("agreed", OPTIONS), choose.op("open", OPTIONS))

        graph, seen = MetaGraph(Space(function)), []
        graph.net[0].options["two"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        x = torch.ones(2, 1)
        routes = [Architecture(agreed="two", open=o) for o in ("two", "three")]
        assert graph(x, PerInstance(routes))[:, 0].tolist() == [4.0, 6.0]
        assert seen == [x]
        assert seen[0] is x

    def test_channels_last(self, enliven) -> None:
        """Same results and gradients as in the other layout, and the layout is kept."""

        def function(choose):
            layers = {"k1": lambda: ConvBN(4, 4), "k3": lambda: ConvBN(4, 4, 3), "skip": nn.Identity}
            return nn.Sequential(*(choose.subset(f"l{i}", layers, empty=nn.Identity) for i in range(3)))

        graph = enliven(MetaGraph(Space(function)))
        codes = torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) < 0.5
        codes[:, 2] = True  # an identity that all take, beside options that few do
        x = torch.randn(6, 4, 5, 5, dtype=torch.float64)
        results = []
        for layout in (torch.contiguous_format, torch.channels_last):
            graph.zero_grad()
            own = x.clone(memory_format=layout).requires_grad_()
            y = graph(own, PerInstance(codes))
            assert y.is_contiguous(memory_format=layout)
            assert torch.equal(own, x)
            y.square().sum().backward()
            results.append([y, own.grad, *(p.grad for p in graph.parameters())])
        torch.testing.assert_close(*results, **CLOSE)

    def test_autocast(self) -> None:
        """An identity keeps float32 where a convolution gives bfloat16."""

        def function(choose):
            return choose.subset("a", {"conv": lambda: nn.Conv2d(2, 2, 1), "same": nn.Identity}, empty=nn.Identity)

        graph = MetaGraph(Space(function))
        codes = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=torch.bool)
        x = torch.randn(4, 2, 3, 3)
        with torch.autocast("cpu", torch.bfloat16):
            y = graph(x, PerInstance(codes))
            alone = torch.cat([graph(x[i : i + 1], graph.space.decode(codes[i])) for i in range(4)])
        torch.testing.assert_close(y, alone, rtol=1e-2, atol=1e-2)

    def test_training_sees_only_the_rows_that_chose(self) -> None:
        graph = MetaGraph(
            Space(lambda choose: choose.op("a", {"x": lambda: nn.BatchNorm2d(1), "y": lambda: nn.BatchNorm2d(1)}))
        )
        x = torch.tensor([1.0, 3.0, 100.0, 300.0]).reshape(4, 1, 1, 1)
        graph(x, PerInstance([Architecture(a=o) for o in ("x", "x", "y", "y")]))
        means = [norm.running_mean.item() for norm in graph.modules() if isinstance(norm, nn.BatchNorm2d)]
        assert means == pytest.approx([0.1 * 2, 0.1 * 200])

    def test_a_lone_row_of_1x1_maps_in_training(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.op("a", {"x": lambda: ConvBN(2, 2), "y": nn.Identity})))
        route = PerInstance([Architecture(a=o) for o in ("x", "y", "y")])
        graph(torch.randn(3, 2, 2, 2), route)
        with pytest.raises(ArchitectureError) as caught:
            graph(torch.randn(3, 2, 1, 1), route)
        assert "only one sample of the batch takes option 'x' of choice 'a', where maps are 1×1" in str(caught.value)
        graph.eval()(torch.randn(3, 2, 1, 1), route)

    def test_mistakes(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.op("a", OPTIONS)))
        one = torch.tensor([[1, 0, 0]])
        for x, codes, said in [
            (torch.ones(2, 1), one, "1 architectures are given for 2 samples; give one each"),
            (torch.ones(0, 1), one[:0], "0 architectures are given for 0 samples; give one each, and one at least"),
            (torch.ones(0, 1), [], "0 architectures are given for 0 samples"),
            (torch.ones(1, 1), torch.tensor([[1, 1, 0]]), "row 0 sets 2 options of op choice 'a'; set 1"),
            (torch.ones(1, 1), torch.tensor([[0.2, 0.5, 0.3]]), "0 or 1; round or sample probabilities first"),
            (torch.ones(1, 1), [Architecture(a="four")], "choice 'a' has no option 'four'"),
        ]:
            with pytest.raises(ArchitectureError) as caught:
                graph(x, PerInstance(codes))
            assert said in str(caught.value)


class TestMetaGraph:
    def test_a_place_without_a_route(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.op("a", OPTIONS)))
        with pytest.raises(ArchitectureError, match="choice 'a' is run without a route; call the meta-graph itself"):
            graph.net(torch.ones(1, 1))

    def test_unused_knows_elastic_weights(self) -> None:
        def function(choose):
            width = choose.value("w", [2, 4])
            layer = {"conv": lambda: nn.Sequential(conv2d(1, width), batch_norm2d(width)), "skip": nn.Identity}
            return choose.op("a", layer)

        graph = MetaGraph(Space(function))
        assert not list(graph.unused(Architecture(w=2, a="conv")))
        assert len(list(graph.unused(Architecture(w=2, a="skip")))) == 3

    def test_weights_train_into_the_extracted_child(self, enliven) -> None:
        space = Space(lambda choose: nn.Sequential(nn.Linear(3, 4), choose.op("a", OPTIONS)))
        graph = enliven(MetaGraph(space))
        architecture, x = Architecture(a="two"), torch.randn(5, 3, dtype=torch.float64)
        before = graph.extract(architecture)(x)
        optimizer = torch.optim.SGD(graph.parameters(), 0.1)
        graph(x, architecture).square().sum().backward()
        optimizer.step()
        after = graph.extract(architecture)(x)
        assert not torch.allclose(before, after)
        torch.testing.assert_close(after, graph(x, architecture))
