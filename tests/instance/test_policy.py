"""The policy against its own distribution, enumerated: frequencies, scores, modes and entropies."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from archipel.instance.policy import CodePolicy
from archipel.space import Space

Enumerated = Callable[[Space, Tensor], tuple[Tensor, Tensor]]


def logits_of(space: Space, rows: int = 1, scale: float = 1.5, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, space.width, generator=rng, dtype=torch.float64)


def bits(choose) -> nn.Module:
    return choose.subset("s", {"a": nn.ReLU, "b": nn.Tanh, "c": nn.Sigmoid}, empty=nn.Identity)


def single(choose) -> nn.Module:
    return nn.Sequential(choose.op("one", {"only": nn.ReLU}), choose.op("two", {"a": nn.ReLU, "b": nn.Tanh}))


def nested(choose) -> nn.Module:
    return nn.Sequential(choose.op("op", {"a": lambda: bits(choose), "b": nn.ReLU}), choose.inputs("pick", 3))


class TestProbabilities:
    def test_bits_stay_within_the_exploration_bound(self) -> None:
        """q = αp + (1 − α)(1 − p), α = 0.8: between 0.2 and 0.8 whatever the logits (section 2.4)."""
        q = CodePolicy(Space(bits)).probabilities(torch.tensor([[-1e4, 0.0, 1e4]]), 0.8)
        assert q.tolist() == [pytest.approx([0.2, 0.5, 0.8])]
        many = CodePolicy(Space(bits)).probabilities(torch.randn(1000, 3) * 20, 0.8)
        assert 0.2 - 1e-6 <= float(many.min()) < float(many.max()) <= 0.8 + 1e-6

    @pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0])
    def test_categories_sum_to_one(self, small_space: Space, alpha: float) -> None:
        q = CodePolicy(small_space).probabilities(logits_of(small_space, 5, scale=30.0), alpha)
        for choice in small_space.choices:
            if choice.kind != "subset":
                own = q[:, small_space.slices[choice.name]]
                torch.testing.assert_close(own.sum(1), torch.ones(5, dtype=torch.float64))
                assert float(own.min()) >= (1 - alpha) / max(1, len(choice.options) - 1) - 1e-9

    def test_without_a_bound_they_are_sigmoid_and_softmax(self, small_space: Space) -> None:
        z = logits_of(small_space)
        q = CodePolicy(small_space).probabilities(z)
        for choice in small_space.choices:
            own = z[:, small_space.slices[choice.name]]
            expected = own.sigmoid() if choice.kind == "subset" else own.softmax(1)
            torch.testing.assert_close(q[:, small_space.slices[choice.name]], expected)

    def test_the_only_option_is_certain(self) -> None:
        q = CodePolicy(Space(single)).probabilities(torch.zeros(1, 3), 0.8)
        assert q.tolist() == [pytest.approx([1.0, 0.5, 0.5])]

    def test_two_categories_are_bounded_as_a_bit_is(self) -> None:
        z = torch.tensor([[0.0, 1.3, 0.0]])
        q = CodePolicy(Space(single)).probabilities(z, 0.8)
        p = torch.tensor(1.3).sigmoid()
        assert float(q[0, 1]) == pytest.approx(float(0.8 * p + 0.2 * (1 - p)))


class TestSample:
    def test_architectures_come_with_their_probability(self, small_space: Space, enumerated: Enumerated) -> None:
        n = 100_000
        policy = CodePolicy(small_space)
        q = policy.probabilities(logits_of(small_space), 0.8)
        codes, p = enumerated(small_space, q[0])
        assert float(p.sum()) == pytest.approx(1.0)
        drawn = policy.sample(q.expand(n, -1), torch.Generator().manual_seed(1)).codes
        known, place = torch.cat([codes, drawn]).unique(dim=0, return_inverse=True)
        expected = torch.zeros(len(known), dtype=torch.float64).index_add(0, place[: len(codes)], p)
        share = torch.zeros(len(known), dtype=torch.float64).index_add(
            0, place[len(codes) :], torch.full((n,), 1 / n).double()
        )
        assert float(expected.min()) > 0.0  # nothing is drawn that cannot be
        errors = (share - expected).abs() / (expected * (1 - expected) / n).sqrt()
        # The largest of up to 600 errors, in standard errors; 5 has odds of 3,000 to 1 against it for 600.
        assert float(errors.max()) < 5.0
        chi_square = float(((share - expected) ** 2 / expected).sum() * n)
        freedom = len(known) - 1
        assert chi_square < freedom + 4 * (2 * freedom) ** 0.5

    def test_the_score_is_the_log_probability_of_what_was_drawn(self, enumerated: Enumerated) -> None:
        space = Space(nested)  # each architecture is drawn in one way only, once inactive choices are left out
        policy = CodePolicy(space)
        q = policy.probabilities(logits_of(space), 0.8)
        probability: dict[bytes, float] = {}
        for code, p in zip(*enumerated(space, q[0])):
            probability[code.numpy().tobytes()] = probability.get(code.numpy().tobytes(), 0.0) + float(p)
        draw = policy.sample(q.expand(2000, -1), torch.Generator().manual_seed(0))
        assert len(draw.codes.unique(dim=0)) == space.size
        expected = [probability[code.numpy().tobytes()] for code in draw.codes]
        assert draw.log_prob.exp().tolist() == pytest.approx(expected)

    def test_the_generator_alone_decides(self, small_space: Space) -> None:
        policy = CodePolicy(small_space)
        q = policy.probabilities(logits_of(small_space)).expand(50, -1)
        one = policy.sample(q, torch.Generator().manual_seed(3))
        torch.seed()
        same = policy.sample(q, torch.Generator().manual_seed(3))
        assert one.codes.equal(same.codes)
        assert one.log_prob.equal(same.log_prob)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_saturated_probabilities_have_finite_gradients(self, small_space: Space, dtype: torch.dtype) -> None:
        policy = CodePolicy(small_space)
        z = (1e4 * logits_of(small_space, 64).sign()).to(dtype).requires_grad_()
        q = policy.probabilities(z, 1.0)
        draw = policy.sample(q, torch.Generator().manual_seed(0))
        (draw.log_prob.sum() + policy.entropy(q).sum() + policy.entropy(q, "half").sum()).backward()
        assert z.grad is not None
        assert bool(z.grad.isfinite().all())
        assert bool(draw.log_prob.isfinite().all())


class TestMode:
    def test_it_is_the_most_probable_setting_of_every_choice(self, small_space: Space) -> None:
        policy = CodePolicy(small_space)
        z = logits_of(small_space, 30)
        for code, logits in zip(policy.mode(z), z):
            loose: dict[str, object] = {}
            for choice in small_space.choices:
                own = dict(zip(choice.options, logits[small_space.slices[choice.name]].tolist()))
                ranked = sorted(own, key=lambda option: -own[option])
                if choice.kind == "subset":
                    on = [option for option in choice.options if own[option] >= 0.0]
                    loose[choice.name] = on or ([] if choice.empty is not None else ranked[:1])
                else:
                    loose[choice.name] = sorted(ranked[: choice.k]) if choice.kind == "inputs" else ranked[0]
            assert small_space.decode(code) == small_space.canonical(loose)

    def test_a_bit_of_one_half_is_on(self) -> None:
        assert CodePolicy(Space(bits)).mode(torch.tensor([[0.0, -1e-6, 1e-6]])).tolist() == [[True, False, True]]

    def test_equal_raw_modes_are_equal_modes(self, small_space: Space) -> None:
        policy = CodePolicy(small_space)
        z = logits_of(small_space, 300)
        modes: dict[bytes, Tensor] = {}
        for raw, mode in zip(policy.raw_mode(z), policy.mode(z)):
            assert modes.setdefault(raw.numpy().tobytes(), mode).equal(mode)


class TestEntropy:
    """Section 2.5: what the released program adds up lacks half of a bit's entropy."""

    @staticmethod
    def slope(q: float, form: str) -> float:
        at = torch.full((1, 3), q, dtype=torch.float64, requires_grad=True)
        CodePolicy(Space(bits)).entropy(at, form).sum().backward()
        assert at.grad is not None
        return float(at.grad[0, 0])

    def test_the_released_half_is_flat_at_one_over_e(self) -> None:
        assert self.slope(math.exp(-1), "half") == pytest.approx(0.0, abs=1e-12)
        assert self.slope(0.5, "half") == pytest.approx(-0.307, abs=1e-3)

    def test_the_whole_is_flat_at_one_half(self) -> None:
        assert self.slope(0.5, "bernoulli") == pytest.approx(0.0, abs=1e-12)
        assert self.slope(math.exp(-1), "bernoulli") > 0.1

    def test_values(self) -> None:
        policy = CodePolicy(Space(bits))
        half = torch.full((1, 3), 0.5)
        assert float(policy.entropy(half)) == pytest.approx(3 * math.log(2))
        assert float(policy.entropy(half, "half")) == pytest.approx(3 * 0.5 * math.log(2))

    def test_a_categorical_choice_is_whole_in_both(self) -> None:
        policy = CodePolicy(Space(single))
        q = policy.probabilities(torch.tensor([[0.0, 0.7, 0.0]]), 1.0)
        expected = float(-(q[0, 1:] * q[0, 1:].log()).sum())
        assert float(policy.entropy(q)) == pytest.approx(expected, abs=1e-6)
        assert float(policy.entropy(q, "half")) == pytest.approx(expected, abs=1e-6)

    def test_a_conditional_choice_counts_as_often_as_it_is_active(self, enumerated) -> None:
        """H of the architectures themselves, by enumeration."""

        def tree(choose) -> nn.Module:
            deep = lambda: choose.subset("bits", {"a": nn.ReLU, "b": leaf}, empty=nn.Identity)  # noqa: E731
            leaf = lambda: choose.op("leaf", {"x": nn.ReLU, "y": nn.Tanh, "z": nn.Identity})  # noqa: E731
            return choose.op("top", {"deep": deep, "flat": nn.Identity})

        space = Space(tree)
        policy = CodePolicy(space)
        q = policy.probabilities(logits_of(space).double())
        codes, weights = enumerated(space, q[0])
        _, same = codes.unique(dim=0, return_inverse=True)
        p = torch.zeros(int(same.max()) + 1, dtype=torch.float64).index_add_(0, same, weights)
        assert float(policy.entropy(q)) == pytest.approx(float(-(p * p.log()).sum()))


class TestInformation:
    """Mutual information between image and option: Σ [H(mean q) − mean H(q)]."""

    def test_two_images_with_opposite_bits_share_nothing(self) -> None:
        policy = CodePolicy(Space(bits))
        opposite = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], dtype=torch.float64)
        assert float(policy.information(opposite)) == pytest.approx(2 * math.log(2))

    def test_equal_distributions_tell_nothing(self, small_space: Space) -> None:
        policy = CodePolicy(small_space)
        q = policy.probabilities(logits_of(small_space)).expand(7, -1)
        assert float(policy.information(q)) == pytest.approx(0.0, abs=1e-9)

    def test_it_is_never_negative_and_more_where_images_differ_more(self, small_space: Space) -> None:
        policy = CodePolicy(small_space)
        z = logits_of(small_space, 20)
        found = [float(policy.information(policy.probabilities(z * scale))) for scale in (0.1, 1.0, 10.0)]
        assert 0.0 < found[0] < found[1] < found[2]

    def test_categories(self) -> None:
        policy = CodePolicy(Space(single))
        q = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
        assert float(policy.information(q)) == pytest.approx(math.log(2))


class TestRelaxed:
    """Straight-through samples: the same distribution, and bits that know what they would change."""

    def test_they_are_drawn_as_samples_are(self, small_space: Space, enumerated: Enumerated) -> None:
        policy, n = CodePolicy(small_space), 4000
        q = policy.probabilities(logits_of(small_space), 0.9)
        bits = policy.relax(q.repeat(n, 1), 0.5, torch.Generator().manual_seed(0))
        assert set(bits.unique().tolist()) <= {0.0, 1.0}
        complete = policy.complete(bits)
        assert (complete != 0).equal(small_space.complete(bits != 0))
        assert set(complete.unique().tolist()) <= {0.0, 1.0}
        codes, p = enumerated(small_space, q[0])
        expected = p @ codes.double()
        error = (expected * (1 - expected) / n).clamp_min(0).sqrt()
        assert bool(((complete.mean(0) - expected).abs() <= 4.5 * error + 1e-9).all())

    def test_a_bit_learns_what_turning_it_would_change(self) -> None:
        """Its default steps in for an empty selection, and its choices open with it."""

        def defaulting(choose) -> nn.Module:
            def deep() -> nn.Module:
                return choose.subset("deep", {"x": nn.ReLU, "y": nn.Tanh}, empty="y")

            return choose.subset("s", {"a": nn.ReLU, "b": nn.Tanh, "c": deep}, empty="b")

        space = Space(defaulting)
        policy, prices = CodePolicy(space), torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0], dtype=torch.float64)
        every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 5).requires_grad_()
        (policy.complete(every) @ prices).sum().backward()
        for i in range(5):
            on, off = every.detach().clone(), every.detach().clone()
            on[:, i], off[:, i] = 1.0, 0.0
            change = (space.complete(on != 0).double() - space.complete(off != 0).double()) @ prices
            torch.testing.assert_close(every.grad[:, i], change)
