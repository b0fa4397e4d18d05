"""Path policies draw what they say, from their generator alone."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from archipel.metagraph import PerInstance, Single
from archipel.sharing.policies import Drawn, Fixed, KeepSchedule, PathPolicy, Uniform, draw_codes
from archipel.space import Space
from archipel.tasks import Batch


def batch_of(n: int) -> Batch:
    return Batch(torch.zeros(n, 3, 8, 8), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def close_to(share: float, p: float, n: int) -> bool:
    """Within four standard errors of a binomial share."""
    return abs(share - p) <= 4 * (max(p * (1 - p), 1e-9) / n) ** 0.5


def one_subset(choose, *, empty: str | None = None) -> nn.Module:
    return choose.subset("s", {"a": nn.ReLU, "b": nn.Tanh, "c": nn.Sigmoid}, empty=empty)


class TestDrawCodes:
    def test_rows_are_canonical_architectures(self, space: Space) -> None:
        codes = draw_codes(space, 40, 0.3, generator())
        assert codes.shape == (40, space.width)
        for code in codes:
            assert space.encode(space.decode(code)).equal(code)

    @pytest.mark.parametrize("keep", [0.0, 0.25, 0.7, 1.0])
    def test_bits_are_kept_with_their_probability(self, keep: float) -> None:
        def many(choose) -> nn.Module:
            return choose.subset("s", {"a": nn.ReLU, "b": nn.Tanh}, empty=nn.Identity)

        codes = draw_codes(Space(many), 20_000, keep, generator())
        for column in codes.double().mean(0).tolist():
            assert close_to(column, keep, 20_000)
        both = float((codes[:, 0] & codes[:, 1]).double().mean())
        assert close_to(both, keep**2, 20_000)

    def test_a_subset_that_may_not_be_empty_gets_one_uniform_option(self) -> None:
        n, keep = 30_000, 0.2
        seen = Counter(
            "".join(str(int(b)) for b in code) for code in draw_codes(Space(one_subset), n, keep, generator())
        )
        for bits in itertools.product((0, 1), repeat=3):
            on = sum(bits)
            p = keep**on * (1 - keep) ** (3 - on) + ((1 - keep) ** 3 / 3 if on == 1 else 0.0)
            share = seen["".join(map(str, bits))] / n
            assert close_to(share, 0.0 if on == 0 else p, n), bits

    def test_an_empty_draw_becomes_the_default_where_there_is_one(self) -> None:
        codes = draw_codes(Space(one_subset, empty="b"), 20, 0.0, generator())
        assert codes.tolist() == [[False, True, False]] * 20

    def test_every_sample_may_have_its_own_probability(self) -> None:
        keep = torch.tensor([0.0, 1.0]).repeat(50)
        codes = draw_codes(Space(one_subset, empty="a"), 100, keep, generator())
        assert codes[1::2].all()
        assert codes[::2].sum() == 50

    def test_other_choices_are_uniform(self) -> None:
        def both(choose) -> nn.Module:
            pick = choose.inputs("pick", 4, k=2)
            return nn.Sequential(choose.op("op", {"a": nn.ReLU, "b": nn.Tanh, "c": nn.Sigmoid}), pick)

        space, n = Space(both), 20_000
        codes = draw_codes(space, n, 0.9, generator())
        for share in codes[:, space.slices["op"]].double().mean(0).tolist():
            assert close_to(share, 1 / 3, n)
        pairs = Counter(tuple(code.nonzero()[:, 0].tolist()) for code in codes[:, space.slices["pick"]])
        assert len(pairs) == 6
        assert all(close_to(count / n, 1 / 6, n) for count in pairs.values())


class TestKeepSchedule:
    def test_the_released_schedule(self) -> None:
        """Section 3.1 of the method: keep(82) = 1, keep(123) = 0.75, keep(164) = 0.5 of 164 epochs."""
        schedule = KeepSchedule(Space(one_subset), final=0.5, start=0.5)
        assert [schedule.keep(e / 164) for e in (1, 82, 123, 164)] == [1.0, 1.0, 0.75, 0.5]

    @pytest.mark.parametrize("start", [0.0, 0.3, 1.0])
    def test_it_never_rises_and_ends_where_told(self, start: float) -> None:
        schedule = KeepSchedule(Space(one_subset), final=0.2, start=start)
        keeps = [schedule.keep(i / 100) for i in range(101)]
        assert keeps == sorted(keeps, reverse=True)
        assert keeps[0] == 1.0
        assert keeps[-1] == pytest.approx(1.0 if start == 1.0 else 0.2)

    def test_routes_are_dropped_at_that_rate(self) -> None:
        schedule = KeepSchedule(Space(one_subset, empty="a"), final=0.5, start=0.5)
        before = schedule.route(batch_of(50), 0.5, generator())
        after = schedule.route(batch_of(20_000), 0.75, generator())
        assert before.architectures.all()
        assert close_to(float(after.architectures[:, 1].double().mean()), 0.75, 20_000)

    def test_spread_gives_every_sample_a_probability_of_its_own(self) -> None:
        def wide(choose) -> nn.Module:
            return choose.subset("s", {f"o{i}": nn.ReLU for i in range(64)}, empty=nn.Identity)

        shares = {}
        for spread in (False, True):
            schedule = KeepSchedule(Space(wide), final=0.2, start=0.0, spread=spread)
            shares[spread] = schedule.route(batch_of(4000), 1.0, generator()).architectures.double().mean(1)
        # Binomial only: variance p(1 − p)/64; spread adds that of a uniform on [0.2, 1], 0.8²/12.
        assert float(shares[False].var()) == pytest.approx(0.2 * 0.8 / 64, rel=0.15)
        assert float(shares[True].var()) == pytest.approx(0.8**2 / 12 + 0.1867 / 64, rel=0.1)
        assert close_to(float(shares[True].mean()), 0.6, 4000)


def test_a_fixed_policy_gives_its_child() -> None:
    space = Space(one_subset)
    architecture = space.unrank(3)
    assert Fixed(architecture).route(batch_of(2), 0.0, generator()) == Single(architecture)


def test_uniform_draws_uniformly(small_space: Space) -> None:
    policy, chance, n = Uniform(small_space), generator(), 3000
    seen = Counter(small_space.rank(policy.route(batch_of(1), 0.0, chance).architecture) for _ in range(n))
    buckets = Counter(rank * 4 // small_space.size for rank in seen.elements())
    for bucket in range(4):
        ranks = sum(rank * 4 // small_space.size == bucket for rank in range(small_space.size))
        assert close_to(buckets[bucket] / n, ranks / small_space.size, n)


def test_drawn_hands_over_inputs_and_generator() -> None:
    def draw(inputs: Tensor, chance: torch.Generator) -> Tensor:
        return torch.rand(len(inputs), 3, generator=chance) < inputs.mean((1, 2, 3))[:, None]

    batch = batch_of(4)
    batch.inputs[2:] = 1.0
    codes = Drawn(draw).route(batch, 0.0, generator()).architectures
    assert codes.tolist() == [[False] * 3] * 2 + [[True] * 3] * 2


@pytest.mark.parametrize("kind", [Uniform, KeepSchedule])
def test_the_generator_alone_decides(space: Space, kind: type) -> None:
    policy: PathPolicy = kind(space)

    def route(seed: int) -> object:
        torch.seed()  # a new one from the system
        found = policy.route(batch_of(16), 0.9, generator(seed))
        return found.architectures.tolist() if isinstance(found, PerInstance) else found

    assert route(5) == route(5)
    if space.size > 1000:
        assert route(5) != route(6)
