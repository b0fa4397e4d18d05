"""Loss forms against the method's formulas, and where each one leads."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from archipel.errors import OptionError
from archipel.run.checkpoint import Checkpoint
from archipel.sharing.penalty import PenaltySettings, make_penalty

FORMS = ("mul_log", "add_linear", "power", "hinge", "budget")
T = 80.0


def slopes(settings: PenaltySettings, ce: float, expected: float, reference: float = T) -> tuple[float, float, float]:
    """The loss, dL/dCE and dL/dE."""
    a = torch.tensor(ce, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(expected, dtype=torch.float64, requires_grad=True)
    loss = make_penalty(settings, reference)(a, b)
    by_ce, by_e = torch.autograd.grad(loss, (a, b))
    return loss.item(), by_ce.item(), by_e.item()


@pytest.mark.parametrize("expected", [50.0, 80.0, 120.0])
class TestFormulas:
    """Section 2.3 of the method's specification."""

    def test_mul_log(self, expected: float) -> None:
        a, b, r = 0.2, 0.3, math.log(expected) / math.log(T)
        loss, by_ce, by_e = slopes(PenaltySettings("mul_log"), 1.5, expected)
        assert loss == pytest.approx(a * 1.5 * r**b)
        assert by_ce == pytest.approx(a * r**b)
        assert by_e == pytest.approx(a * 1.5 * b * r ** (b - 1) / (expected * math.log(T)))

    def test_add_linear(self, expected: float) -> None:
        found = slopes(PenaltySettings("add_linear"), 1.5, expected)
        assert found == pytest.approx((1.5 + 0.1 * (expected - T) / T, 1.0, 0.1 / T))

    def test_power(self, expected: float) -> None:
        factor = (expected / T) ** 0.07
        found = slopes(PenaltySettings("power"), 1.5, expected)
        assert found == pytest.approx((1.5 * factor, factor, 1.5 * 0.07 * factor / expected))

    def test_hinge(self, expected: float) -> None:
        over = max(0.0, expected / T - 1)
        found = slopes(PenaltySettings("hinge"), 1.5, expected)
        assert found == pytest.approx((1.5 + 0.1 * over, 1.0, 0.1 / T if over else 0.0))

    def test_budget(self, expected: float) -> None:
        over = max(0.0, expected / T - 1)
        found = slopes(PenaltySettings("budget", multiplier=2.0), 1.5, expected)
        assert found == pytest.approx((1.5 + 2.0 * over, 1.0, 2.0 / T if over else 0.0))


@pytest.mark.parametrize(("reference", "strength"), [(80.0, 0.103), (80_000.0, 0.040), (300e6, 0.023)])
def test_mul_log_is_add_linear_of_a_strength_that_hangs_on_the_unit(reference: float, strength: float) -> None:
    """At E = T: λ = β · CE / ln T, after the factor α that Adam does not see."""
    _, by_ce, by_e = slopes(PenaltySettings("mul_log"), 1.5, reference, reference)
    assert by_e / by_ce * reference == pytest.approx(0.3 * 1.5 / math.log(reference))
    assert by_e / by_ce * reference == pytest.approx(strength, abs=5e-4)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "mul_log"])
def test_the_others_have_no_unit(form: str) -> None:
    settings = PenaltySettings(form, multiplier=1.5)
    for scale in (1e-3, 1e6):
        loss, by_ce, by_e = slopes(settings, 1.5, 100.0 * scale, T * scale)
        assert (loss, by_ce, by_e * scale) == pytest.approx(slopes(settings, 1.5, 100.0))


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_of_the_gates_is_the_combined_one(form: str) -> None:
    """With s_j = c · u_j + dL/dE · F_j, dL/dα is p_i (s_i − Σ p_j s_j)."""
    settings = PenaltySettings(form, multiplier=1.0)
    alpha = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([0.5, 1.1, 0.2], dtype=torch.float64)  # CE is affine in the gates: CE = 1 + Σ p u
    f = torch.tensor([60.0, 90.0, 150.0], dtype=torch.float64)
    p = alpha.softmax(0)
    make_penalty(settings, T)(1 + p @ u, p @ f).backward()
    ce, expected = 1 + p.detach() @ u, p.detach() @ f
    _, c, by_e = slopes(settings, ce.item(), expected.item())
    s = c * u + by_e * f
    torch.testing.assert_close(alpha.grad, p.detach() * (s - p.detach() @ s), rtol=1e-12, atol=1e-14)


class TestRefused:
    @pytest.mark.parametrize("reference", [1.0, 0.8])
    def test_a_reference_without_a_logarithm(self, reference: float) -> None:
        with pytest.raises(OptionError, match=r"reference is .*, not above 1; use 'power', 'hinge' or 'budget'"):
            make_penalty(PenaltySettings("mul_log"), reference)

    def test_an_expected_cost_without_one(self) -> None:
        """0.8 ms gave the released program NaN."""
        with pytest.raises(OptionError, match=r"expected cost is 0\.8, not above 1"):
            make_penalty(PenaltySettings("mul_log"), T)(torch.tensor(1.5), torch.tensor(0.8))

    @pytest.mark.parametrize("reference", [0.0, -1.0, math.nan, math.inf])
    @pytest.mark.parametrize("form", FORMS)
    def test_references_that_are_no_cost(self, form: str, reference: float) -> None:
        with pytest.raises(OptionError, match="reference"):
            make_penalty(PenaltySettings(form), reference)

    def test_settings_out_of_range(self) -> None:
        with pytest.raises(OptionError, match=r"no penalty 'mullog'.*did you mean 'mul_log'"):
            PenaltySettings("mullog")
        with pytest.raises(OptionError, match="strength is -1"):
            PenaltySettings("hinge", strength=-1)
        with pytest.raises(OptionError, match="ascent is 0"):
            PenaltySettings("budget", ascent=0)


def descend(settings: PenaltySettings, reference: float, steps: int = 1500) -> Tensor:
    """p of three options of which the dearer ones have the lower loss, after gradient steps on both."""
    loss = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    cost = torch.tensor([2.0, 5.0, 12.0], dtype=torch.float64)
    alpha = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=0.01, betas=(0.0, 0.999))
    penalty = make_penalty(settings, reference)
    for _ in range(steps):
        p = alpha.softmax(0)
        expected = p @ cost
        adam.zero_grad()
        penalty(p @ loss, expected).backward()
        adam.step()
        penalty.after_step(expected.item())
    return alpha.softmax(0).detach() @ cost


@pytest.mark.parametrize("reference", [3.0, 5.0, 8.0])
def test_a_budget_is_met_where_a_weak_penalty_misses_it(reference: float) -> None:
    assert descend(PenaltySettings("budget", ascent=0.01), reference).item() == pytest.approx(reference, rel=0.05)
    assert descend(PenaltySettings("hinge"), reference).item() > 1.2 * reference


def test_a_budget_that_does_not_bind_is_as_no_budget() -> None:
    assert descend(PenaltySettings("budget"), 20.0).item() == pytest.approx(12.0, rel=0.05)


@pytest.mark.parametrize("form", ["add_linear", "hinge"])
def test_a_stronger_penalty_never_ends_dearer(form: str) -> None:
    ends = [descend(PenaltySettings(form, strength=s), 3.0, 800).item() for s in (0.0, 0.1, 0.3, 1.0, 3.0)]
    assert all(later <= earlier + 1e-6 for earlier, later in itertools.pairwise(ends))
    assert ends[-1] < 0.5 * ends[0]


class TestDualAscent:
    def test_the_multiplier_follows_the_excess_and_is_never_negative(self) -> None:
        penalty = make_penalty(PenaltySettings("budget", ascent=0.5), 10.0)
        seen = []
        for expected in (20.0, 15.0, 10.0, 6.0, 0.0, 0.0):
            penalty.after_step(expected)
            seen.append(penalty.state_dict()["multiplier"].item())
        assert seen == pytest.approx([0.5, 0.75, 0.75, 0.55, 0.05, 0.0])

    def test_its_state_survives_a_checkpoint(self, tmp_path) -> None:
        penalty = make_penalty(PenaltySettings("budget"), 10.0)
        penalty.after_step(30.0)
        Checkpoint(tmp_path / "c.safetensors").save({"penalty": penalty}, {})
        again = make_penalty(PenaltySettings("budget"), 10.0)
        Checkpoint(tmp_path / "c.safetensors").load({"penalty": again})
        ce, expected = torch.tensor(1.0), torch.tensor(25.0)
        assert again(ce, expected).item() == penalty(ce, expected).item() > 1.0

    @pytest.mark.parametrize("form", [form for form in FORMS if form != "budget"])
    def test_the_others_have_none(self, form: str) -> None:
        penalty = make_penalty(PenaltySettings(form), 10.0)
        penalty.after_step(100.0)
        assert penalty.state_dict() == {}
