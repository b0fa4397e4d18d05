"""Gates stand for the distribution they say, exactly: everything against sums over enumerated architectures."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import SpaceError
from archipel.sharing import Gates
from archipel.space import Space


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def conditional(choose: Any) -> nn.Module:
    """Two levels of choices in options; one that stands in two options; one with a single option."""

    def deepest() -> nn.Module:
        return choose.op("deepest", {"p": nn.ReLU, "q": nn.Tanh})

    def deep() -> nn.Module:
        return nn.Sequential(choose.op("deep", {"x": deepest, "y": nn.Identity, "z": nn.ReLU}), act())

    def act() -> nn.Module:
        return choose.op("act", {"relu": nn.ReLU, "tanh": nn.Tanh})

    return nn.Sequential(
        choose.op("kind.of", {"a": nn.Identity, "b": deep, "c": act}),
        choose.op("fixed", {"only": nn.Identity}),
        choose.op("last", {"u": nn.ReLU, "v": nn.Tanh}),
    )


def share(gates: Gates, architecture: Architecture) -> float:
    return gates.log_prob(architecture).exp().item()


def spread(space: Space, seed: int = 0) -> Gates:
    """Gates that are far from uniform."""
    return Gates(space, std=1.0, generator=generator(seed))


def one(options: int) -> Space:
    return Space(lambda choose: choose.op("c", {f"o{i}": nn.ReLU for i in range(options)}))


def set_to(gates: Gates, values: list[float]) -> Gates:
    with torch.no_grad():
        gates.alphas[0].copy_(torch.tensor(values))
    return gates


class TestTheDistribution:
    def test_probabilities_of_architectures_add_up_to_one(self) -> None:
        gates = spread(Space(conditional))
        total = sum(share(gates, architecture) for architecture in gates.space)
        assert total == pytest.approx(1.0, abs=1e-12)

    def test_log_prob_is_the_sum_over_active_choices(self) -> None:
        gates = spread(Space(conditional))
        p = {name: q.tolist() for name, q in gates.probabilities().items()}
        architecture = Architecture({"kind.of": "b", "fixed": "only", "deep": "y", "act": "tanh", "last": "u"})
        expected = p["kind.of"][1] * p["deep"][1] * p["act"][1] * p["last"][0]
        assert gates.log_prob(architecture).item() == pytest.approx(math.log(expected), abs=1e-12)

    def test_samples_come_with_their_probabilities(self) -> None:
        gates, rng, n = spread(Space(conditional)), generator(1), 6000
        seen = Counter(gates.sample(rng) for _ in range(n))
        assert len(seen) == gates.space.size
        for architecture in gates.space:
            p = share(gates, architecture)
            assert abs(seen[architecture] / n - p) < 4 * (p * (1 - p) / n) ** 0.5

    def test_codes_come_with_their_probabilities(self) -> None:
        gates, n = spread(Space(conditional)), 6000
        codes = gates.codes(generator(3), n)
        assert codes.shape == (n, gates.space.width)
        assert torch.equal(gates.space.complete(codes), codes)
        seen = Counter(gates.space.decode(code) for code in codes)
        for architecture in gates.space:
            p = share(gates, architecture)
            assert abs(seen[architecture] / n - p) < 4 * (p * (1 - p) / n) ** 0.5

    def test_reach_is_the_share_of_architectures_in_which_a_choice_is_active(self) -> None:
        gates = spread(Space(conditional))
        reach = gates.reach()
        assert set(reach) == {choice.name for choice in gates.space.choices}
        for name, reached in reach.items():
            expected = sum(share(gates, a) for a in gates.space if name in a)
            assert reached.item() == pytest.approx(expected, abs=1e-12)
        assert 0.0 < reach["deepest"] < reach["deep"] < reach["act"] < 1.0

    def test_reach_has_a_gradient(self) -> None:
        gates = spread(Space(conditional))
        gates.reach()["deepest"].backward()
        p, deep = gates.probabilities()["kind.of"], gates.probabilities()["deep"]
        expected = deep[0] * p[1] * (torch.tensor([0.0, 1.0, 0.0]) - p)
        torch.testing.assert_close(gates.logits["kind.of"].grad, expected.detach(), rtol=1e-12, atol=1e-15)

    def test_argmax(self) -> None:
        gates = spread(Space(conditional))
        with torch.no_grad():
            gates.logits["kind.of"][1] += 10.0
            gates.logits["deep"][0] += 10.0
            gates.logits["deepest"].zero_()  # of equals the first
        best = gates.argmax()
        assert (best["kind.of"], best["deep"], best["deepest"]) == ("b", "x", "p")

    def test_the_score_function_has_mean_zero(self) -> None:
        """d log p(active)/dα = onehot(active) − p, in expectation 0."""
        gates = spread(Space(conditional))
        mean: Tensor | float = 0.0
        for architecture in gates.space:
            log_prob = gates.log_prob(architecture)
            gradient = torch.cat(
                [
                    torch.zeros_like(a) if g is None else g
                    for a, g in zip(gates.alphas, torch.autograd.grad(log_prob, list(gates.alphas), allow_unused=True))
                ]
            )
            mean = mean + log_prob.detach().exp() * gradient
        assert float(mean.abs().max()) < 1e-12


class TestDraws:
    def test_two_come_without_replacement_in_order_of_their_share(self) -> None:
        """P(first i, second j) = p_i p_j / (1 − p_i)."""
        gates, rng, n = set_to(Gates(one(4)), [0.0, 1.0, -1.0, 0.5]), generator(2), 6000
        p = gates.probabilities()["c"].tolist()
        seen = Counter(tuple(gates.draw(rng, 2)["c"]) for _ in range(n))
        assert len(seen) == 12
        for (i, j), count in seen.items():
            expected = p[i] * p[j] / (1 - p[i])
            assert abs(count / n - expected) < 4 * (expected * (1 - expected) / n) ** 0.5

    def test_an_option_whose_probability_is_zero_is_not_drawn_beside_two_that_have_one(self) -> None:
        gates, rng = set_to(Gates(one(3)), [0.0, -2000.0, -3.0]), generator()
        assert gates.probabilities()["c"][1] == 0.0
        assert all(set(gates.draw(rng, 2)["c"]) == {0, 2} for _ in range(200))

    def test_two_are_drawn_where_all_but_one_have_underflowed(self) -> None:
        gates, rng = set_to(Gates(one(3)), [0.0, -2000.0, -2000.0]), generator()
        pairs = Counter(tuple(gates.draw(rng, 2)["c"]) for _ in range(200))
        assert set(pairs) == {(0, 1), (0, 2)}
        assert min(pairs.values()) > 60

    def test_no_more_than_there_are(self) -> None:
        assert sorted(Gates(one(2)).draw(generator(), 5)["c"]) == [0, 1]

    def test_chance_comes_from_the_generator_alone(self) -> None:
        gates = spread(Space(conditional))
        state = torch.get_rng_state()
        first, second = ([gates.sample(rng) for _ in range(10)] for rng in (generator(5), generator(5)))
        assert first == second
        assert torch.equal(state, torch.get_rng_state())

    def test_what_is_drawn_does_not_change_how_much_is_drawn(self) -> None:
        """Else a tiny difference in α would change every later step."""
        states = []
        for favoured in range(3):
            gates, rng = spread(Space(conditional)), generator(7)
            with torch.no_grad():
                gates.logits["kind.of"][favoured] += 50.0
            gates.sample(rng)
            states.append(rng.get_state())
        assert torch.equal(states[0], states[1])
        assert torch.equal(states[0], states[2])


class TestFigures:
    def test_the_entropy_of_the_published_space_before_the_search(self) -> None:
        """(15 ln 7 + 6 ln 6) / 21 = 1.9019 nats."""

        def published(choose: Any) -> nn.Module:
            return nn.Sequential(
                *(
                    choose.op(f"b{i}", {f"o{j}": nn.ReLU for j in range(6 if i in (0, 4, 8, 12, 16, 20) else 7)})
                    for i in range(21)
                )
            )

        gates = Gates(Space(published), generator=generator())
        assert gates.entropy() == pytest.approx(1.9019, abs=5e-5)
        assert gates.confidence() == pytest.approx((15 / 7 + 6 / 6) / 21, abs=1e-3)

    def test_decided_gates(self) -> None:
        gates = set_to(Gates(one(3)), [0.0, -2000.0, -2000.0])
        assert gates.entropy() == 0.0
        assert gates.confidence() == 1.0

    def test_a_fixed_choice_counts_in_neither(self) -> None:
        gates = Gates(Space(conditional), std=0.0)
        assert gates.entropy() == pytest.approx((2 * math.log(3) + 3 * math.log(2)) / 5, abs=1e-12)
        assert gates.confidence() == pytest.approx((2 / 3 + 3 / 2) / 5, abs=1e-12)


class TestParameters:
    def test_logits_are_drawn_with_their_spread(self) -> None:
        gates = Gates(one(2000), std=1e-3, generator=generator())
        alpha = gates.logits["c"]
        assert alpha.dtype == torch.float64
        assert alpha.std().item() == pytest.approx(1e-3, rel=0.1)
        assert abs(alpha.mean().item()) < 4e-3 / 2000**0.5
        assert torch.equal(alpha, Gates(one(2000), generator=generator()).logits["c"])

    def test_fixed_choices_have_none(self) -> None:
        gates = Gates(Space(conditional))
        assert list(gates.logits) == ["kind.of", "deep", "deepest", "act", "last"]
        assert gates.probabilities()["fixed"].tolist() == [1.0]

    def test_a_reloaded_state_is_the_same_distribution(self) -> None:
        gates, other = spread(Space(conditional)), spread(Space(conditional), seed=1)
        other.load_state_dict(gates.state_dict())
        assert all(torch.equal(p, other.probabilities()[name]) for name, p in gates.probabilities().items())

    def test_spaces_with_other_choices(self) -> None:
        def other(choose: Any) -> nn.Module:
            choose.value("width", [1, 2])
            both = choose.subset("both", {"a": nn.ReLU, "b": nn.Tanh})
            return nn.Sequential(both, choose.op("kind", {"a": nn.ReLU, "b": nn.Tanh}), choose.inputs("pick", 2))

        with pytest.raises(SpaceError) as caught:
            Gates(Space(other))
        assert "gates are for op choices; space 'other' also has" in str(caught.value)
        for name in ("'width' (value)", "'both' (subset)", "'pick' (inputs)"):
            assert name in str(caught.value)

    def test_spaces_with_nothing_open(self) -> None:
        with pytest.raises(SpaceError, match="has no op choice with two options; there is nothing to search"):
            Gates(one(1))
