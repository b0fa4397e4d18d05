"""Every setting of the ProxylessNAS recipe, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field

from archipel.cost import TableSettings
from archipel.errors import OptionError
from archipel.recipes.settings import Jobs
from archipel.sharing.alternating import Alternation
from archipel.sharing.binarisation import Binarisation
from archipel.sharing.penalty import PenaltySettings
from archipel.sharing.training import Optimisation

__all__ = [
    "PRESETS", "Baselines", "Derivation", "Jobs", "Joint", "Latency", "Network", "Retraining", "Settings", "Warming",
]  # fmt: skip


@dataclass(frozen=True)
class Network:
    """The space's own settings. Given to its function where it has parameters of these names."""

    macro: str | None = "light"
    """Macro-structure: `light` (ours for few cores), or the published `cifar`, `tiny`, `imagenet`; none: by image
    size."""
    width: float = 1.0
    """Multiplier of all channel counts."""
    dropout: float = 0.0


@dataclass(frozen=True)
class Warming(Optimisation):
    """Warm-up: weights alone, along paths drawn from the untouched gates."""

    epochs: int = 40
    label_smoothing: float = 0.1
    reference: int = 0
    """Epochs before those in which one path alone learns, that of the options with most parameters; the other options
    then take over what fits them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference < 0:
            raise OptionError(f"warming.reference is {self.reference}; give a number of epochs, or 0 for none")


@dataclass(frozen=True)
class Joint(Optimisation):
    """The joint search: weights and gates by turns."""

    epochs: int = 120
    lr: float = 0.025
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ema:
            raise OptionError("joint.ema averages the weights of one network, and here paths take turns; give 0")


@dataclass(frozen=True)
class Derivation:
    """From gates to networks."""

    budgets: tuple[float, ...] = (0.25, 0.45, 0.65)
    """Of every device, as shares of the way from the cheapest architecture's latency to the dearest's; `--budget-ms`
    names milliseconds instead. The search aims at the middle one."""
    level: float = 0.95
    """A budget holds for the upper end of the table's interval at this level: one network in forty may be above it."""
    candidates: int = 16
    """Architectures drawn from the gates within 2 % of a budget, of which the one is taken that does best on `val` with
    the weights it inherits; 0: the most probable one within the budget, as it is."""

    def __post_init__(self) -> None:
        if not self.budgets or not all(0.0 < share <= 1.0 for share in self.budgets):
            raise OptionError(f"derivation.budgets is {self.budgets}; give shares above 0, up to 1")
        if self.candidates < 0:
            raise OptionError(f"derivation.candidates is {self.candidates}; give 1 or more, or 0 for the most probable")
        if not 0.0 < self.level < 1.0:
            raise OptionError(f"derivation.level is {self.level:g}; give a probability between 0 and 1")


@dataclass(frozen=True)
class Retraining(Optimisation):
    """Every network from scratch, found ones and their controls alike."""

    epochs: int = 300
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class Baselines:
    """What the result is compared with."""

    random: bool = True
    """A random architecture of the space at every budget, trained alike."""
    mobilenet: tuple[float, ...] = (0.25, 0.35, 0.5, 0.75, 1.0, 1.4, 2.0)
    """Widths of MobileNetV2 that are timed; the widest that is within a budget is trained."""


@dataclass(frozen=True)
class Latency(TableSettings):
    """The latency tables, one for every device that can be measured here."""


@dataclass(frozen=True)
class Settings:
    """All of it."""

    network: Network = field(default_factory=Network)
    warming: Warming = field(default_factory=Warming)
    joint: Joint = field(default_factory=Joint)
    alternation: Alternation = field(default_factory=Alternation)
    binarisation: Binarisation = field(default_factory=Binarisation)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    derivation: Derivation = field(default_factory=Derivation)
    retraining: Retraining = field(default_factory=Retraining)
    baselines: Baselines = field(default_factory=Baselines)
    latency: Latency = field(default_factory=Latency)
    jobs: Jobs = field(default_factory=Jobs)


_FEW = {"batch": 64, "lr": 0.05, "clip": 5.0, "label_smoothing": 0.1}

PRESETS: dict[str, Settings] = {
    "cpu": Settings(
        network=Network(width=0.5),
        warming=Warming(epochs=4, reference=4, warmup=0.1, **_FEW),  # type: ignore[arg-type]
        joint=Joint(epochs=8, **_FEW),  # type: ignore[arg-type]
        alternation=Alternation(every=2, settling=0, lr=0.02),
        binarisation=Binarisation(zero_update="full"),
        penalty=PenaltySettings(form="budget"),
        derivation=Derivation(candidates=32),
        retraining=Retraining(epochs=12, warmup=0.1, **_FEW),  # type: ignore[arg-type]
    ),
    "digits": Settings(
        network=Network(width=0.5),
        warming=Warming(epochs=6, reference=6, warmup=0.1, **_FEW),  # type: ignore[arg-type]
        joint=Joint(epochs=16, **_FEW),  # type: ignore[arg-type]
        alternation=Alternation(every=1, settling=0, lr=0.02),
        binarisation=Binarisation(zero_update="full"),
        penalty=PenaltySettings(form="budget"),
        retraining=Retraining(epochs=20, warmup=0.1, **_FEW),  # type: ignore[arg-type]
        latency=Latency(seconds=20.0),
    ),
    "gpu": Settings(
        network=Network(macro=None),
        warming=Warming(reference=10, batch=128, lr=0.1),
        joint=Joint(batch=128, lr=0.05),
        alternation=Alternation(every=5, batch=128, lr=6e-3),
        binarisation=Binarisation(zero_update="full"),
        penalty=PenaltySettings(form="budget"),
        retraining=Retraining(batch=128, lr=0.1, weight_decay=5e-5),
    ),
    "faithful": Settings(
        network=Network(macro=None),
        warming=Warming(batch=256, lr=0.05, weight_decay=4e-5),
        joint=Joint(batch=256, lr=0.025, weight_decay=4e-5),
        alternation=Alternation(every=5, settling=1, batch=256, lr=1e-3),
        derivation=Derivation(candidates=0),
        binarisation=Binarisation(mode="full_v2", zero_update="skip"),
        penalty=PenaltySettings(form="mul_log"),
        retraining=Retraining(epochs=300, batch=256, lr=0.05, weight_decay=4e-5),
    ),
}


def preset_for(data: str) -> str:
    """The preset a data set is run with when none is asked for: `digits` for digits, else `cpu`."""
    return "digits" if data == "digits" else "cpu"
