"""A controller that is asked for a latency: what its target does, and that one target folds into a plain controller."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archipel.cost import kendall_tau
from archipel.errors import OptionError
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import make_controller
from archipel.instance.reward import WindowSchedule, latency_reward

TARGETS = Targets(1.0, 3.0)


class TestTargets:
    def test_they_are_drawn_uniformly_over_the_range(self) -> None:
        drawn = TARGETS.draw(4000, torch.Generator().manual_seed(0))
        assert 1.0 <= float(drawn.min()) < 1.01
        assert 2.99 < float(drawn.max()) <= 3.0
        assert float(drawn.mean()) == pytest.approx(2.0, abs=4 * 2 / (12 * 4000) ** 0.5)  # four standard errors

    @pytest.mark.parametrize("count", [5, 32, 300])
    def test_spread_leaves_no_part_of_the_range_out(self, count: int) -> None:
        spread = TARGETS.spread(count)
        gaps = torch.cat([torch.tensor([1.0]), spread.sort().values, torch.tensor([3.0])]).diff()
        assert float(gaps.max()) < 2.0 * 2.0 / count  # the golden section's gaps are below 1.9 / count of the range
        assert spread.equal(TARGETS.spread(count))
        assert float((spread[1:] - spread[:-1]).abs().min()) > 0.3 * 2.0

    def test_grid(self) -> None:
        assert TARGETS.grid(5) == pytest.approx([3.0, 2.5, 2.0, 1.5, 1.0])

    def test_each_window_has_its_target_in_the_middle_and_is_as_wide_as_the_schedules_there(self) -> None:
        schedule = WindowSchedule.ours(cheapest=1.0, start=3.0)
        windows = TARGETS.window(torch.tensor([3.0, 1.24, 1.0], dtype=torch.float64))
        for i, done in ((0, 0.0), (1, 1.0)):
            assert float(windows.low[i]) == pytest.approx(schedule.at(done).low)
            assert float(windows.high[i]) == pytest.approx(schedule.at(done).high)
        assert windows.middle.tolist() == pytest.approx([3.0, 1.24, 1.0])
        earned = [
            latency_reward(torch.full((3,), ms, dtype=torch.float64), windows).tolist() for ms in (1.0, 1.24, 3.0)
        ]
        assert [earned[2][0], earned[1][1], earned[0][2]] == pytest.approx([1.0] * 3)
        assert 0.0 < earned[0][0] < earned[1][0] < 0.5
        assert (earned[2][1], earned[2][2]) == (0.0, 0.0)

    @pytest.mark.parametrize(("low", "high"), [(2.0, 2.0), (3.0, 1.0), (0.0, 1.0)])
    def test_what_is_no_range_is_refused(self, low: float, high: float) -> None:
        with pytest.raises(OptionError, match="are no range; give two rising latencies"):
            Targets(low, high)


def conditioned(kind: str, *, size: int = 16) -> ConditionedController:
    """With weights that make targets matter."""
    made = ConditionedController(make_controller(kind, 12, channels=1, size=size, seed=0), TARGETS)
    torch.manual_seed(1)
    for parameter in made.film.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return made.eval()


def images(n: int, size: int = 16) -> Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["light", "resnet"])
class TestController:
    def test_for_one_target_it_is_a_plain_one(self, kind: str) -> None:
        controller, x = conditioned(kind), images(6)
        asked = torch.tensor([1.0, 1.4, 2.0, 2.9, 0.2, 9.0])
        together = controller(x, asked)
        for i, target in enumerate(asked.tolist()):
            plain = controller.at(target)
            torch.testing.assert_close(together[i], plain(x)[i], rtol=1e-4, atol=1e-5)
            assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in controller.body.parameters())
        assert not controller.at(1.0)(x).allclose(controller.at(3.0)(x), atol=1e-2)

    def test_beyond_the_range_the_nearer_end_counts(self, kind: str) -> None:
        controller, x = conditioned(kind), images(4)
        for outside, end in ((0.2, 1.0), (9.0, 3.0)):
            assert controller(x, torch.full((4,), outside)).equal(controller(x, torch.full((4,), end)))

    def test_at_first_the_target_does_nothing(self, kind: str) -> None:
        body = make_controller(kind, 12, channels=1, size=16, seed=0).eval()
        controller, x = ConditionedController(body, TARGETS).eval(), images(4)
        assert controller(x, torch.tensor([1.0, 1.5, 2.0, 3.0])).equal(body(x))

    def test_taking_one_out_leaves_it_as_it_is(self, kind: str) -> None:
        controller = conditioned(kind)
        before = {name: tensor.clone() for name, tensor in controller.state_dict().items()}
        controller.at(1.3).head.weight.data.zero_()
        assert all(tensor.equal(before[name]) for name, tensor in controller.state_dict().items())

    def test_it_learns_to_answer_a_target(self, kind: str) -> None:
        """From the zeros it begins with: the sum of the logits follows the target."""
        controller = ConditionedController(make_controller(kind, 12, channels=1, size=8, seed=0), TARGETS)
        optimiser = torch.optim.Adam(controller.parameters(), lr=0.01)
        x, chance = images(32, 8), torch.Generator().manual_seed(0)
        for _ in range(40):
            asked = TARGETS.draw(32, chance)
            loss = (controller(x, asked).mean(1) - 3.0 * (asked - 2.0)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        controller.eval()
        grid = TARGETS.grid(9)
        with torch.no_grad():
            found = [float(controller.at(target)(x).mean()) for target in grid]
        assert kendall_tau(grid, found) == 1.0
