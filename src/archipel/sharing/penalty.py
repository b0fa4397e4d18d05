"""How an expected cost enters the loss of an architecture step.

`CE` cross-entropy, `E` expected cost, `T` the reference it is held against, in the same unit. What each form does to α
follows from c = dL/dCE and dL/dE: the gradient is that of `c · CE + dL/dE · E`.

| form | loss | dL/dE at E = T |
| --- | --- | --- |
| `mul_log` | α · CE · (ln E / ln T)^β | α · β · CE / (T ln T) |
| `add_linear` | CE + λ · (E − T) / T | λ / T |
| `power` | CE · (E / T)^w | w · CE / T |
| `hinge` | CE + λ · max(0, E / T − 1) | 0 below, λ / T above |
| `budget` | CE + μ · max(0, E / T − 1), μ by dual ascent | 0 below, μ / T above |

`mul_log` and `add_linear` are ProxylessNAS' as released (arXiv 1812.00332; the paper's own CE + λ₂ E is `add_linear` up
to a constant). `mul_log` depends on the unit: at E = T it is as strong as `add_linear` with λ = β · CE / ln T, which at
CE = 1.5 is 0.103 for T = 80 ms and 0.040 for the same T in microseconds; and it does not exist at 1 and below. The
others are the same in every unit. Only `budget` ends at a constraint: μ rises as long as E is above T and falls while
it is below. With Adam on α the factor α of `mul_log` has almost no effect.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from archipel.errors import OptionError, did_you_mean

__all__ = ["Form", "Penalty", "PenaltySettings", "make_penalty"]

Form: TypeAlias = Literal["mul_log", "add_linear", "power", "hinge", "budget"]


@dataclass(frozen=True)
class PenaltySettings:
    """Which form and how strong; each form reads its own numbers. Those of the first two are the released search's."""

    form: Form = "mul_log"
    alpha: float = 0.2
    """α of `mul_log`."""
    beta: float = 0.3
    """β of `mul_log`."""
    strength: float = 0.1
    """λ of `add_linear` and `hinge`."""
    exponent: float = 0.07
    """w of `power`: MnasNet's (arXiv 1807.11626)."""
    multiplier: float = 0.0
    """μ of `budget` at the start."""
    ascent: float = 0.05
    """How much μ of `budget` grows in a step at which E is twice T."""

    def __post_init__(self) -> None:
        forms = get_args(Form)
        if self.form not in forms:
            raise OptionError(f"there is no penalty '{self.form}' ({', '.join(forms)}){did_you_mean(self.form, forms)}")
        for name in ("alpha", "ascent"):
            if not getattr(self, name) > 0:
                raise OptionError(f"penalty setting {name} is {getattr(self, name)}; give a number above 0")
        for name in ("beta", "strength", "exponent", "multiplier"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"penalty setting {name} is {getattr(self, name)}; give at least 0")


class Penalty(nn.Module, ABC):
    """`(ce, expected) -> loss`, differentiable in both. Its state, if it has any, goes into checkpoints as a module's.

    Args:
        reference: T.
    """

    def __init__(self, settings: PenaltySettings, reference: float) -> None:
        super().__init__()
        if not (math.isfinite(reference) and reference > 0):
            raise OptionError(f"penalty '{settings.form}' has the reference {reference:g}; give a cost above 0")
        self.settings = settings
        self.reference = reference

    @abstractmethod
    def forward(self, ce: Tensor, expected: Tensor) -> Tensor:
        """The loss, `[]`, of CE `[]` and E `[]`."""

    def after_step(self, expected: float) -> None:
        """To be called once after every architecture step with its E."""


class MulLog(Penalty):
    def __init__(self, settings: PenaltySettings, reference: float) -> None:
        super().__init__(settings, reference)
        self._above_one("reference", reference)

    def forward(self, ce: Tensor, expected: Tensor) -> Tensor:
        self._above_one("expected cost", float(expected.detach()))
        ratio = expected.log() / math.log(self.reference)
        return self.settings.alpha * ce * ratio**self.settings.beta

    def _above_one(self, what: str, value: float) -> None:
        if not value > 1:
            raise OptionError(
                f"penalty 'mul_log' takes a logarithm to a power and its {what} is {value:g}, not above 1; "
                "use 'power', 'hinge' or 'budget', which have no unit"
            )


class AddLinear(Penalty):
    def forward(self, ce: Tensor, expected: Tensor) -> Tensor:
        return ce + self.settings.strength * (expected / self.reference - 1)


class Power(Penalty):
    def forward(self, ce: Tensor, expected: Tensor) -> Tensor:
        return ce * (expected / self.reference) ** self.settings.exponent


class Hinge(Penalty):
    def forward(self, ce: Tensor, expected: Tensor) -> Tensor:
        return ce + self.settings.strength * (expected / self.reference - 1).relu()


class Budget(Penalty):
    """μ ← max(0, μ + ascent · (E / T − 1)) after every step."""

    multiplier: Tensor

    def __init__(self, settings: PenaltySettings, reference: float) -> None:
        super().__init__(settings, reference)
        self.register_buffer("multiplier", torch.tensor(settings.multiplier, dtype=torch.float64))

    def forward(self, ce: Tensor, expected: Tensor) -> Tensor:
        return ce + float(self.multiplier) * (expected / self.reference - 1).relu()

    def after_step(self, expected: float) -> None:
        self.multiplier += self.settings.ascent * (expected / self.reference - 1)
        self.multiplier.clamp_(min=0)


_FORMS: dict[str, type[Penalty]] = {
    "mul_log": MulLog,
    "add_linear": AddLinear,
    "power": Power,
    "hinge": Hinge,
    "budget": Budget,
}


def make_penalty(settings: PenaltySettings, reference: float) -> Penalty:
    """The loss form of the settings.

    Args:
        reference: T, in the cost's unit.

    Raises:
        OptionError: no such form, a number out of range, or `mul_log` at 1 unit or less.
    """
    return _FORMS[settings.form](settings, reference)
