"""Architecture steps against formulas, enumerated gradients and planted architectures (the method's checks 3 to 14)."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.metagraph import Gated, MetaGraph, PerInstance, Single
from archipel.nn import ConvBN, InvertedResidual, Zero, residual
from archipel.sharing import ArchitectureStep, Binarisation, Gates, Sampled, binarisation
from archipel.sharing.binarisation import adam
from archipel.sharing.training import Optimisation, sgd
from archipel.space import Space


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Batch(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Score:
    """1 − loss, of the last batch."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.score = math.nan

    def update(self, output: Tensor, batch: Batch) -> None:
        self.score = 1.0 - float(self.task.loss(output, batch)["total"])

    def compute(self) -> dict[str, float]:
        return {"score": self.score}


@dataclass(frozen=True)
class Task:
    """A loss, and a score that falls as it rises."""

    total: Callable[[Tensor, Tensor], Tensor]

    def loss(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"total": self.total(output, batch.targets)}

    def metric(self) -> Score:
        return Score(self)


@dataclass(frozen=True)
class Table:
    """A cost of every option, by choice."""

    space: Space
    costs: Mapping[str, tuple[float, ...]]

    def expected(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        terms = [(p * torch.tensor(self.costs[name], dtype=p.dtype)).sum() for name, p in probabilities.items()]
        return torch.stack(terms).sum()

    def of(self, architecture: Architecture) -> float:
        options = {choice.name: choice.options for choice in self.space.choices}
        return sum(self.costs[name][options[name].index(value)] for name, value in architecture.items())


def table(space: Space) -> Table:
    return Table(space, {c.name: tuple(float(i * i + 1) for i in range(len(c.options))) for c in space.choices})


def added(loss: Tensor, expected: Tensor) -> Tensor:
    return loss + 0.3 * expected


# ---- a small convolutional network ------------------------------------------------------------------------------


def blocks(choose: Any) -> nn.Module:
    """Three blocks of up to three options; what stands in an option; one that is fixed."""

    def body(kernel: int) -> Callable[[], nn.Module]:
        return lambda: InvertedResidual(4, 4, kernel=kernel, expand=2)

    def either() -> nn.Module:
        return choose.op("either", {"k1": lambda: ConvBN(4, 4), "k5": lambda: ConvBN(4, 4, 5)})

    return nn.Sequential(
        ConvBN(3, 4),
        residual(choose.op("b0", {"k3": body(3), "k5": body(5), "zero": Zero})),
        choose.op("b1", {"k3": body(3), "k5": body(5)}),
        choose.op("fixed", {"k3": body(3)}),
        residual(choose.op("b2", {"k3": body(3), "either": either, "zero": Zero})),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


CLASSES = Task(nn.functional.cross_entropy)


def pictures(seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    rng = generator(seed)
    return Batch(torch.randn(8, 3, 8, 8, dtype=dtype, generator=rng), torch.randint(3, (8,), generator=rng))


def network(std: float = 1.0) -> tuple[MetaGraph, Gates]:
    torch.manual_seed(0)
    graph = MetaGraph(Space(blocks)).double()
    return graph, Gates(graph.space, std=std, generator=generator(1))


def step_of(
    graph: MetaGraph, gates: Gates, lr: float = 0.1, *, cost: bool = False, **settings: Any
) -> ArchitectureStep:
    chosen = Binarisation(**settings)
    by_gradient = chosen.mode != "reinforce"
    return ArchitectureStep(
        graph,
        gates,
        adam(gates, lr),
        chosen,
        cost=table(graph.space) if cost else None,
        combine=added if cost and by_gradient else None,
    )


def gradients(gates: Gates) -> dict[str, Tensor | None]:
    return {name: None if alpha.grad is None else alpha.grad.clone() for name, alpha in gates.logits.items()}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


MODES = ("full_v2", "full", "two", "reinforce")
BY_GRADIENT = pytest.mark.parametrize("mode", MODES[:3])
EVERY_MODE = pytest.mark.parametrize("mode", MODES)


class Recorder:
    """Stands in for `Gated`: notes the routes that a step follows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes: list[Gated] = []
        monkeypatch.setattr(binarisation, "Gated", self)

    def __call__(self, *given: Any, **named: Any) -> Gated:
        self.routes.append(Gated(*given, **named))
        return self.routes[-1]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)


class TestGradient:
    """Check 3: α's gradient is p_i (u_i − Σ p u), which autograd makes of Σ p_j stopgrad(u_j); plus the cost's own."""

    @pytest.mark.parametrize("cost", [False, True], ids=["loss", "loss and cost"])
    @BY_GRADIENT
    def test_it_is_what_autograd_makes_of_u(self, mode: str, cost: bool, recorded: Recorder) -> None:
        graph, gates = network()
        step = step_of(graph, gates, lr=0.0, mode=mode, zero_update="full", cost=cost)
        for seed in range(8):
            step(pictures(seed), CLASSES, generator(seed))
            given, route = gradients(gates), recorded.routes.pop()
            own = {name: torch.zeros_like(leaf, requires_grad=True) for name, leaf in route.gates.items()}
            twin = copy.deepcopy(graph).train()
            loss = CLASSES.loss(
                twin(pictures(seed).inputs, Gated(route.architecture, own, route.observed)), pictures(seed)
            )
            loss["total"].backward()
            gates.zero_grad()
            p = gates.probabilities()
            if mode == "two":
                for name, leaf in route.gates.items():
                    pair = [gates.space.choices[i].options for i, c in enumerate(gates.space.choices) if c.name == name]
                    mask = torch.tensor([o in route.observed[name] for o in pair[0]])
                    p[name] = gates.logits[name].masked_fill(~mask, -math.inf).softmax(0)
                    assert int(mask.sum()) == 2
                    assert not leaf.detach()[~mask].any()
            total = sum((p[name] * leaf.grad).sum() for name, leaf in own.items())
            if cost:
                total = total + 0.3 * sum((p[n] * torch.tensor(table(graph.space).costs[n])).sum() for n in own)
            total.backward()
            for name, gradient in given.items():
                if gradient is None:
                    assert name not in own
                else:
                    torch.testing.assert_close(gradient, gates.logits[name].grad, rtol=0, atol=1e-12)
                    assert abs(float(gradient.sum())) < 1e-12

    def test_the_formula_by_hand(self, recorded: Recorder) -> None:
        graph, gates = network()
        step_of(graph, gates, lr=0.0)(pictures(), CLASSES, generator(3))
        (route,) = recorded.routes
        own = {name: torch.zeros_like(leaf, requires_grad=True) for name, leaf in route.gates.items()}
        y = copy.deepcopy(graph).train()(pictures().inputs, Gated(route.architecture, own))
        CLASSES.loss(y, pictures())["total"].backward()
        p, u = gates.probabilities()["b1"].tolist(), own["b1"].grad.tolist()
        mean = p[0] * u[0] + p[1] * u[1]
        expected = [p[i] * (u[i] - mean) for i in range(2)]
        assert gates.logits["b1"].grad.tolist() == pytest.approx(expected, abs=1e-12)
        assert abs(expected[0]) > 1e-6

    def test_full_and_full_v2_take_the_same_step(self) -> None:
        results = []
        for mode in ("full", "full_v2"):
            graph, gates = network()
            step, rng = step_of(graph, gates, mode=mode, cost=True), generator()
            results.append([[step(pictures(i), CLASSES, rng) for i in range(6)][1:], state(gates)])
        assert results[0][0] == results[1][0]
        assert all(torch.equal(alpha, results[1][1][name]) for name, alpha in results[0][1].items())

    def test_inactive_choices_do_not_learn(self) -> None:
        graph, gates = network()
        step, seen = step_of(graph, gates, cost=True), set()
        for seed in range(20):
            with torch.no_grad():
                gates.logits["b2"].copy_(torch.tensor([0.0, 0.0, -50.0]))
            before = gates.logits["either"].clone()
            step(pictures(), CLASSES, generator(seed))
            is_still = gates.logits["either"].grad is None
            assert torch.equal(gates.logits["either"], before) == is_still
            seen.add(is_still)
        assert seen == {False, True}

    def test_a_sample_of_the_others_is_right_on_average(self) -> None:
        """The mean over all subsets, given the path, is what looking at all of them gives."""

        def wide(choose: Any) -> nn.Module:
            return choose.op("c", {**{f"o{i}": lambda i=i: Times(1.0 + i) for i in range(4)}, "zero": Zero})

        graph, found = MetaGraph(Space(wide)), {}
        gates = Gates(graph.space, std=1.0, generator=generator())
        for others in (None, 2):
            step = step_of(graph, gates, lr=0.0, others=others)
            found[others] = []
            for seed in range(400 if others else 20):
                step(Batch(torch.ones(1, 1), torch.zeros(1)), TOTAL, generator(seed))
                if gates.logits["c"].grad is not None:
                    found[others].append(gates.logits["c"].grad.clone())
        exact = found[None][0]
        assert all(
            torch.allclose(gradient, exact, rtol=0, atol=1e-12) for gradient in found[None]
        )  # the loss is linear
        drawn = torch.stack(found[2])
        error = drawn.std(0) / len(drawn) ** 0.5
        assert bool((error > 0).all())
        assert bool(((drawn.mean(0) - exact).abs() < 4 * error).all())


# ---- networks that are arithmetic -------------------------------------------------------------------------------


class Times(nn.Module):
    """y = factor · x."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


FACTORS = ((0.5, -1.0, 2.0), (1.5, 0.3, -0.7))
TOTAL = Task(lambda output, targets: output.sum())  # noqa: ARG005
ONE = Batch(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1))


def products(choose: Any) -> nn.Module:
    """Two choices of three factors: linear in the gates of each choice."""
    return nn.Sequential(
        *(
            choose.op(f"c{e}", {f"o{i}": lambda f=f: Times(f) for i, f in enumerate(row)})
            for e, row in enumerate(FACTORS)
        )
    )


def exact_gradient(gates: Gates, value: Callable[[Architecture], float]) -> Tensor:
    """d/dα of the expected value over all architectures."""
    gates.zero_grad()
    total = sum(gates.log_prob(architecture).exp() * value(architecture) for architecture in gates.space)
    return torch.cat(torch.autograd.grad(total, list(gates.alphas)))


def product_of(architecture: Architecture) -> float:
    return math.prod(FACTORS[int(name[1])][int(str(option)[1])] for name, option in architecture.items())


def draws(step: ArchitectureStep, n: int, task: Task = TOTAL) -> Tensor:
    """α's gradients in n steps that do not move it."""
    rng, found = generator(11), []
    for _ in range(n):
        step(ONE, task, rng)
        found.append(torch.cat([alpha.grad for alpha in step.gates.alphas]))
    return torch.stack(found)


def agree(drawn: Tensor, expected: Tensor) -> bool:
    error = drawn.std(0) / len(drawn) ** 0.5
    assert bool((error > 0).all())
    return bool(((drawn.mean(0) - expected).abs() < 4 * error).all())


class TestExpectation:
    """Checks 4 and 12: over draws, against sums over all architectures."""

    def planted(self) -> tuple[MetaGraph, Gates]:
        graph = MetaGraph(Space(products))
        return graph, Gates(graph.space, std=1.0, generator=generator(4))

    @pytest.mark.parametrize("mode", ["full", "full_v2"])
    def test_full_is_exact_where_the_loss_is_linear_in_each_choice(self, mode: str) -> None:
        graph, gates = self.planted()
        expected = exact_gradient(gates, product_of)
        drawn = draws(step_of(graph, gates, lr=0.0, mode=mode), 300)
        assert agree(drawn, expected)
        assert not agree(drawn, 1.5 * expected)

    def test_two_is_the_pair_weighted_sum(self) -> None:
        """Σ_j w_ij p_i p_j (l_i − l_j) … with w_ij = (1/(1−p_i) + 1/(1−p_j)) / (p_i + p_j)² in place of 1."""
        graph, gates = self.planted()
        p = [q.detach() for q in gates.probabilities().values()]
        mean = [float((q * torch.tensor(row)).sum()) for q, row in zip(p, FACTORS)]
        expected = []
        for e, (q, row) in enumerate(zip(p, FACTORS)):
            for i, j in itertools.product(range(3), repeat=2):
                if j == 0:
                    expected.append(0.0)
                if i != j:
                    weight = q[i] * q[j] * (1 / (1 - q[i]) + 1 / (1 - q[j])) / (q[i] + q[j]) ** 2
                    # In a pair of the other choice one runs by q, not by p: its factor's mean is over pairs too.
                    expected[-1] += float(weight * q[i] * q[j] * (row[i] - row[j])) * self.mean_of_pairs(
                        p[1 - e], 1 - e
                    )
        assert mean != pytest.approx([self.mean_of_pairs(q, e) for e, q in enumerate(p)], rel=1e-3)
        drawn = draws(step_of(graph, gates, lr=0.0, mode="two"), 600)
        assert agree(drawn, torch.tensor(expected, dtype=torch.float64))

    @staticmethod
    def mean_of_pairs(p: Tensor, edge: int) -> float:
        """The mean factor that runs: a pair without replacement, then one of the two by q."""
        total = 0.0
        for i, j in itertools.combinations(range(3), 2):
            pair = float(p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])))
            total += pair * float(p[i] * FACTORS[edge][i] + p[j] * FACTORS[edge][j]) / float(p[i] + p[j])
        return total

    def test_the_pair_weight_at_uniform_p(self) -> None:
        """N / (2 (N − 1)) = 0.5833 for seven options: in one linear choice, whatever is drawn."""

        def seven(choose: Any) -> nn.Module:
            return choose.op("c", {f"o{i}": lambda i=i: Times(float(i * i)) for i in range(7)})

        graph = MetaGraph(Space(seven))
        gates = Gates(graph.space, std=0.0)
        exact = draws(step_of(graph, gates, lr=0.0), 1)[0]
        drawn = draws(step_of(graph, gates, lr=0.0, mode="two"), 600)
        assert agree(drawn, exact * 7 / 12)

    def test_reinforce_with_leave_one_out(self) -> None:
        """Check 12: E[(R − b) ∇ log p] is the gradient of the expected reward, here −loss + 1."""
        graph, gates = self.planted()
        step = step_of(graph, gates, lr=0.0, mode="reinforce", baseline="leave_one_out", samples=4)
        drawn = draws(step, 400)
        assert agree(drawn, exact_gradient(gates, product_of))

    def test_reinforce_with_a_target(self) -> None:
        """R = score · (T / cost)^0.1."""
        graph, gates = self.planted()
        cost = table(graph.space)
        step = step_of(
            graph, gates, lr=0.0, cost=True, mode="reinforce", baseline="leave_one_out", samples=4, target=3.0
        )
        reward = exact_gradient(gates, lambda a: -(1.0 - product_of(a)) * (3.0 / cost.of(a)) ** 0.1)
        assert agree(draws(step, 400), reward)

    def test_the_official_baseline_takes_in_the_present_rewards_first(self) -> None:
        graph, gates = self.planted()
        step = step_of(graph, gates, lr=0.0, mode="reinforce", samples=3)
        rng, twin, baseline = generator(5), generator(5), None
        for _ in range(4):
            figures = step(ONE, TOTAL, rng)
            sampled = [gates.sample(twin) for _ in range(3)]
            rewards = [1.0 - product_of(a) for a in sampled]
            mean = sum(rewards) / 3
            baseline = mean if baseline is None else baseline + 0.99 * (mean - baseline)
            given = torch.cat([alpha.grad for alpha in gates.alphas])
            score = sum((r - baseline) * gates.log_prob(a) for r, a in zip(rewards, sampled))
            expected = -torch.cat(torch.autograd.grad(score, list(gates.alphas))) / 3
            torch.testing.assert_close(given, expected, rtol=0, atol=1e-12)
            assert figures["reward"] == pytest.approx(mean)
            assert float(step.state_dict()["baseline"]) == pytest.approx(baseline)


class TestWhatMoves:
    def test_two_leaves_the_probabilities_of_the_others(self, recorded: Recorder) -> None:
        """Check 5: below 1e-12, and one of the two rises while the other falls."""
        graph, gates = network()
        step, rng = step_of(graph, gates, mode="two", cost=True, zero_update="full"), generator()
        moved = 0
        for i in range(30):
            before = {name: p.detach().clone() for name, p in gates.probabilities().items()}
            step(pictures(i), CLASSES, rng)
            observed = recorded.routes[-1].observed
            for choice in gates.space.choices:
                change = gates.probabilities()[choice.name].detach() - before[choice.name]
                pair = [choice.options.index(o) for o in observed.get(choice.name, ())]
                still = [j for j in range(len(choice.options)) if j not in pair]
                assert float(change[still].abs().sum()) < 1e-12
                if pair:
                    assert float(change[pair].prod()) < 0.0
                    assert float(change[pair].sum().abs()) < 1e-12
                    moved += len(still)
        assert moved > 10

    @EVERY_MODE
    def test_an_architecture_step_leaves_weights_and_buffers(self, mode: str) -> None:
        """Check 6, to the last bit, and with nothing left over for the next weight step."""
        graph, gates = network()
        trained = [p.requires_grad_(i != 0) for i, p in enumerate(graph.parameters())]
        before, alphas = state(graph), state(gates)
        target = {"target": 2.0} if mode == "reinforce" else {}
        step, rng = step_of(graph, gates, mode=mode, cost=True, **target), generator()
        for i in range(4):
            step(pictures(i), CLASSES, rng)
        assert all(torch.equal(tensor, before[name]) for name, tensor in graph.state_dict().items())
        assert all(p.grad is None and p.requires_grad == (i != 0) for i, p in enumerate(trained))
        assert not torch.equal(gates.logits["b1"], alphas["alphas.1"])

    def test_a_weight_step_moves_the_sampled_path_alone(self) -> None:
        """Check 6: unsampled weights, their momentum and statistics to the last bit; gates too."""
        graph, gates = network()
        optimiser, policy, rng = sgd(graph, Optimisation(epochs=1)), Sampled(gates), generator()
        graph.train()
        alphas = state(gates)
        for i in range(6):
            before, momentum = state(graph), copy.deepcopy(optimiser.state_dict()["state"])
            route = policy.route(pictures(i), 0.0, rng)
            assert isinstance(route, Single)
            optimiser.zero_grad(set_to_none=True)
            CLASSES.loss(graph(pictures(i).inputs, route), pictures(i))["total"].backward()
            optimiser.step()
            unused = {id(p) for p in graph.unused(route.architecture)}
            names = {name for name, p in graph.named_parameters() if id(p) in unused}
            owners = {name.rpartition(".")[0] for name in names}
            assert names
            for name, tensor in graph.state_dict().items():
                is_still = torch.equal(tensor, before[name])
                assert is_still == (name.rpartition(".")[0] in owners), name
            numbered = [p for group in optimiser.param_groups for p in group["params"]]
            for number, kept in optimiser.state_dict()["state"].items():
                if id(numbered[number]) in unused:
                    known = momentum.get(number, {}).get("momentum_buffer")
                    assert kept["momentum_buffer"] is known is None or torch.equal(kept["momentum_buffer"], known)
        assert all(torch.equal(alpha, alphas[name]) for name, alpha in gates.state_dict().items())

    def test_every_image_may_have_a_path_of_its_own(self) -> None:
        _, gates = network()
        route = Sampled(gates, "image").route(pictures(), 0.0, generator())
        assert isinstance(route, PerInstance)
        assert torch.equal(route.architectures, gates.codes(generator(), 8))
        assert len(route.architectures.unique(dim=0)) > 1

    @pytest.mark.parametrize("mode", ["full_v2", "full", "two"])
    @pytest.mark.parametrize("zero_update", ["skip", "full"])
    def test_what_a_sampled_zero_teaches(self, mode: str, zero_update: str) -> None:
        graph, gates = network(std=1e-3)
        with torch.no_grad():
            gates.logits["b0"][2] = 20.0
        step, before = step_of(graph, gates, mode=mode, zero_update=zero_update, cost=True), state(gates)
        step(pictures(), CLASSES, generator())
        moved = {name for name, alpha in gates.logits.items() if alpha.grad is not None}
        assert ("b0" in moved) == (zero_update == "full")
        assert "b1" in moved
        if zero_update == "skip":  # not even by the cost
            assert torch.equal(gates.logits["b0"], before["alphas.0"])

    def test_where_all_is_skipped_nothing_moves(self) -> None:
        graph = MetaGraph(Space(lambda choose: choose.op("c", {"a": lambda: Times(1.0), "zero": Zero})))
        gates = Gates(graph.space, std=0.0)
        with torch.no_grad():
            gates.logits["c"][1] = 50.0
        figures = step_of(graph, gates)(ONE, TOTAL, generator())
        assert figures["loss"] == 0.0
        assert gates.logits["c"].tolist() == [0.0, 50.0]


def test_the_child_taken_out_is_the_best_path() -> None:
    """Check 8: copied weights, evaluation mode, to the last bit, Zero among the blocks."""
    graph, gates = network()
    graph.train()
    graph(pictures().inputs, gates.argmax())  # statistics of its own
    seen = set()
    for favoured in (0, 2):
        with torch.no_grad():
            gates.logits["b0"].copy_(torch.eye(3)[favoured])
        best = gates.argmax()
        seen.add(best["b0"])
        child = graph.eval().extract(best)
        assert torch.equal(child(pictures().inputs), graph(pictures().inputs, best))
        assert isinstance(child[1], nn.Identity) == (best["b0"] == "zero")
    assert seen == {"k3", "zero"}


class TestFigures:
    @EVERY_MODE
    def test_they_are_of_the_gates_afterwards(self, mode: str) -> None:
        graph, gates = network()
        cost = table(graph.space)
        target = {"target": 2.0} if mode == "reinforce" else {}
        step = step_of(graph, gates, mode=mode, cost=True, **target)
        figures = step(pictures(), CLASSES, generator())
        assert figures["entropy"] == gates.entropy()
        assert figures["confidence"] == gates.confidence()
        # Under all of p, also where a `two` step computed with pairs.
        assert figures["expected_cost"] == pytest.approx(cost.expected(gates.probabilities()).item(), abs=1e-12)
        assert figures["argmax_cost"] == cost.of(gates.argmax())
        assert math.isnan(figures["signal_to_noise"])
        assert step(pictures(1), CLASSES, generator(1))["signal_to_noise"] > 0.0

    @BY_GRADIENT
    def test_loss_and_objective(self, mode: str, recorded: Recorder) -> None:
        graph, gates = network()
        twin, p = copy.deepcopy(graph).train(), gates.probabilities()
        figures = step_of(graph, gates, mode=mode, cost=True)(pictures(), CLASSES, generator())
        (route,) = recorded.routes
        with torch.no_grad():
            loss = CLASSES.loss(twin(pictures().inputs, Single(gates.space.canonical(route.architecture))), pictures())
        assert figures["loss"] == float(loss["total"])
        expected = table(graph.space).expected(p).item()
        assert (figures["objective"] == pytest.approx(figures["loss"] + 0.3 * expected)) == (mode != "two")

    def test_a_run_that_goes_on_is_the_run(self) -> None:
        """Gates, optimiser and the step's own state: nothing else is carried from step to step."""
        for mode in ("two", "reinforce"):
            whole = None
            for stop in (None, 3):
                graph, gates = network()
                step, rng = step_of(graph, gates, mode=mode), generator()
                rows = []
                for i in range(6):
                    if i == stop:
                        kept = copy.deepcopy(
                            (state(gates), step.optimiser.state_dict(), step.state_dict(), rng.get_state())
                        )
                        graph, gates = network()
                        step, rng = step_of(graph, gates, mode=mode), generator(99)
                        gates.load_state_dict(kept[0])
                        step.optimiser.load_state_dict(kept[1])
                        step.load_state_dict(kept[2])
                        rng.set_state(kept[3])
                    rows.append(step(pictures(i), CLASSES, rng))
                whole = whole or rows
                assert rows[1:] == whole[1:]


class TestMistakes:
    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"mode": "three"}, "binarisation.mode is 'three'; give one of full_v2, full, two, reinforce"),
            ({"zero_update": "no"}, "binarisation.zero_update is 'no'; give one of skip, full"),
            ({"baseline": "mean"}, "binarisation.baseline is 'mean'"),
            ({"samples": 0}, "binarisation.samples is 0; give 1 or more"),
            ({"samples": 1, "baseline": "leave_one_out"}, "binarisation.samples is 1; give 2 or more"),
            ({"others": 0}, "binarisation.others is 0 in mode full_v2; give 1 or more"),
            ({"others": 2, "mode": "two"}, "binarisation.others is 2 in mode two"),
            ({"target": 0.0}, "binarisation.target is 0; give a cost above 0"),
        ],
    )
    def test_settings(self, settings: dict[str, Any], said: str) -> None:
        with pytest.raises(OptionError) as caught:
            Binarisation(**settings)
        assert said in str(caught.value)

    def test_optimisers(self) -> None:
        graph, gates = network()
        everything = torch.optim.Adam([*graph.parameters(), *gates.parameters()], betas=(0.0, 0.999))
        for optimiser, said in [
            (everything, "holds 56 weights of the meta-graph, not just the 4 of the gates; make it with `adam(gates)`"),
            (torch.optim.Adam(list(gates.parameters())[:2], betas=(0.0, 0.999)), "holds 2 parameters, not just the 4"),
            (torch.optim.Adam(gates.parameters()), "has momentum 0.9 and weight decay 0, which move options"),
            (torch.optim.SGD(gates.parameters(), 0.1, weight_decay=1e-3), "momentum 0 and weight decay 0.001"),
        ]:
            with pytest.raises(OptionError) as caught:
                ArchitectureStep(graph, gates, optimiser)
            assert said.replace("56", str(len(list(graph.parameters())))) in str(caught.value)

    def test_costs_without_their_partner(self) -> None:
        graph, gates = network()
        cost, optimiser = table(graph.space), adam(gates)
        by_reward = Binarisation(mode="reinforce")
        for settings, given, said in [
            (None, {"cost": cost}, "mode full_v2 is given a cost, but not a loss form (`combine`); give both or none"),
            (None, {"combine": added}, "mode full_v2 is given a loss form (`combine`), but not a cost"),
            (by_reward, {"cost": cost}, "mode reinforce is given a cost, but not binarisation.target"),
            (Binarisation(mode="reinforce", target=1.0), {}, "is given binarisation.target, but not a cost"),
        ]:
            with pytest.raises(OptionError) as caught:
                ArchitectureStep(graph, gates, optimiser, settings, **given)
            assert said in str(caught.value)
