"""Every setting of the InstaNAS recipe, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from archipel.errors import OptionError
from archipel.instance.options import SearchOptions
from archipel.recipes.settings import Jobs, Latency
from archipel.sharing.training import Optimisation

__all__ = [
    "PRESETS", "Baselines", "Exits", "Finetuning", "Jobs", "Latency", "Network", "Pretraining", "Settings",
    "preset_for",
]  # fmt: skip


@dataclass(frozen=True)
class Network:
    """The meta-graph. Given to the space function where it has parameters of these names."""

    macro: str | None = "light"
    """Macro-structure: `light` (ours for few cores), or the published `cifar`, `tiny`, `imagenet`; none: by image
    size."""
    width: float = 0.5
    """Multiplier of all channel counts."""
    shortcut: Literal["shared", "per_op"] = "shared"
    """`per_op` adds a layer's input once per active candidate, as released."""
    combine: Literal["mean", "sum"] = "mean"
    """Active candidates of a layer are averaged, or summed as released."""
    dropout: float = 0.0


@dataclass(frozen=True)
class Pretraining(Optimisation):
    """Stage 1: the meta-graph on random children."""

    epochs: int = 20
    reference: int | None = None
    """Epochs before those in which the largest child alone learns; the others then begin with what fits them of its
    weights. None: half of `epochs`, or none in a space of subsets, where drawing begins with all on."""
    keep_final: float = 0.1
    """Probability at which an option is kept at the end (the lowest, if spread)."""
    keep_start: float = 0.0
    """Share of the training in which everything is on."""
    keep_spread: bool = True
    """Every sample draws its own probability between that one and 1, so that cheap children are trained too."""
    sandwich: int = 0
    """Routes of a step between that of the largest child and that of the smallest, whose gradients add up to one step:
    2 in the papers; 0: every step has one route, and no ends."""
    distillation: float = 0.0
    """With a sandwich: weight of the largest child's answers in what the other routes learn; 1: no labels for them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise OptionError(f"pretraining.epochs is {self.epochs}; give 1 or more")
        for name in ("reference", "sandwich"):
            if (getattr(self, name) or 0) < 0:
                raise OptionError(f"pretraining.{name} is {getattr(self, name)}; give 0 or more")
        if self.distillation and not self.sandwich:
            raise OptionError(
                f"pretraining.distillation is {self.distillation:g}, and no step has a largest child to learn from; "
                "give pretraining.sandwich, 2 say"
            )
        for name in ("keep_final", "keep_start", "distillation"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise OptionError(f"pretraining.{name} is {getattr(self, name):g}; give a share from 0 to 1")


@dataclass(frozen=True)
class Finetuning(Optimisation):
    """Stage 3: weights along the frozen controller's picks; the static controls get the same."""

    epochs: int = 3
    lr: float = 0.01
    weight_decay: float = 4e-5
    variants: int = 5
    """How many points of the frontier (A, B, …)."""
    distillation: float = 0.0
    """Weight of soft targets beside the labels; they are what the largest child answers before the fine-tuning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.distillation <= 1.0:
            raise OptionError(f"finetuning.distillation is {self.distillation:g}; give a share from 0 to 1")
        if not 1 <= self.variants <= 25:  # a letter is left for a target latency's
            raise OptionError(f"finetuning.variants is {self.variants}; give 1 to 25")


@dataclass(frozen=True)
class Exits:
    """A network with early answers, trained beside the search."""

    space: str = "mobilenet_exits"
    """Its architectures are the exits; your own (file.py:function) can be, if each goes on where the one before turns
    off."""
    width: float = 1.0
    """Multiplier of all channel counts; 0: no such network."""
    alone: bool = False
    """No search: early exits and what they are compared with, in a part of the time."""
    epochs: int | None = None
    """None: as many as all stages of the search have together, also where there is none."""
    distillation: float = 0.0
    """Weight of the last answer, beside the labels, in what the others learn."""
    points: int = 5
    """Of the frontier that moving the thresholds gives (A, B, …)."""

    @property
    def any(self) -> bool:
        return self.width > 0.0

    def __post_init__(self) -> None:
        if self.width < 0.0:
            raise OptionError(f"exits.width is {self.width:g}; give a number above 0, or 0 for no early exits")
        if self.alone and not self.any:
            raise OptionError("exits.alone leaves the search out, and exits.width 0 the exits; leave out one of them")
        if self.epochs is not None and self.epochs < 1:
            raise OptionError(f"exits.epochs is {self.epochs}; give 1 or more, or none for those of the whole search")
        if not 0.0 <= self.distillation <= 1.0:
            raise OptionError(f"exits.distillation is {self.distillation:g}; give a share from 0 to 1")
        if not 1 <= self.points <= 25:  # one letter each, and one for a target latency's
            raise OptionError(f"exits.points is {self.points}; give 1 to 25")


@dataclass(frozen=True)
class Baselines:
    """What the result is compared with."""

    which: Literal["all", "static", "none"] = "static"
    """`static`: static and random networks, and cascades of them; `all`: also BlockDrop and ConvNet-AIG; `none`: only
    the search. On the command line also --baselines all."""
    skipping: Literal["mobilenet_v2_drop", "resnet_flat"] = "mobilenet_v2_drop"
    """Network in which BlockDrop and ConvNet-AIG leave out layers, as wide as the widest of `widths`; trained for as
    many epochs as all stages together."""
    widths: tuple[float, ...] = (0.25, 0.5, 1.0)
    """MobileNetV2, trained from scratch."""
    epochs: int | None = None
    """Of MobileNetV2; None: as many as all stages of the search have together."""
    pool: int = 16
    """Static children of the meta-graph judged per variant before the best is fine-tuned."""
    contrasted: int = 3
    """How many of the variants are also compared with their static union and with random policies."""
    shuffles: int = 10
    """Random re-deals of the architectures over the test images (instance-awareness test)."""
    cascades: int = 5
    """Points of each confidence cascade, in which a cheap network answers and the images it is unsure of go on to a
    dearer one: of two MobileNetV2 widths, and of two static children. Nothing is trained for them; 0: none."""

    @property
    def any(self) -> bool:
        return self.which != "none"

    @property
    def sweep(self) -> tuple[float, ...]:
        """Widths of MobileNetV2 that are trained."""
        return self.widths if self.any else ()

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise OptionError(
                f"baselines.epochs is {self.epochs}; give 1 or more, or none for those of the whole search"
            )
        if not 0 <= self.cascades <= 25:  # one letter each, and one for a target latency's
            raise OptionError(f"baselines.cascades is {self.cascades}; give 0 to 25")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    network: Network = field(default_factory=Network)
    pretraining: Pretraining = field(default_factory=Pretraining)
    latency: Latency = field(default_factory=Latency)
    search: SearchOptions = field(default_factory=SearchOptions)
    finetuning: Finetuning = field(default_factory=Finetuning)
    exits: Exits = field(default_factory=Exits)
    baselines: Baselines = field(default_factory=Baselines)
    jobs: Jobs = field(default_factory=Jobs)


PRESETS: dict[str, Settings] = {
    "cpu": Settings(
        network=Network(width=0.35),
        pretraining=Pretraining(epochs=8, batch=64, lr=0.1, warmup=0.05, clip=5.0),
        search=SearchOptions(epochs=6, controller_passes=1),
        finetuning=Finetuning(epochs=1, batch=64),
        latency=Latency(images=6, final_rounds=10),
        baselines=Baselines(widths=(0.5, 1.0), pool=8, contrasted=2, shuffles=2),
    ),
    "digits": Settings(
        pretraining=Pretraining(epochs=15, batch=64, lr=0.1, warmup=0.05, clip=5.0),
        search=SearchOptions(epochs=8),
        finetuning=Finetuning(epochs=2, batch=64),
        latency=Latency(seconds=7.0, images=4, final_rounds=6),
        baselines=Baselines(skipping="resnet_flat", pool=8, contrasted=2, shuffles=5, cascades=3),
    ),
    "gpu": Settings(
        network=Network(macro=None, width=1.0),
        pretraining=Pretraining(epochs=164, batch=128, lr=0.1, warmup=0.03, clip=5.0),
        search=SearchOptions(epochs=100, batch=128, controller_batch=64),
        finetuning=Finetuning(epochs=60, batch=256, lr=0.01),
        baselines=Baselines(widths=(0.25, 0.4, 0.75, 1.0, 1.4), pool=64, contrasted=5),
    ),
    "faithful": Settings(
        network=Network(macro=None, width=1.0, shortcut="per_op", combine="sum"),
        pretraining=Pretraining(
            epochs=164, batch=64, lr=0.01, decay="steps", keep_final=0.5, keep_start=0.5, keep_spread=False
        ),
        search=SearchOptions(
            epochs=500,
            batch=32,
            controller_batch=32,
            controller_passes=1,
            controller="resnet",
            lr=5e-4,
            lr_decay_epochs=100,
            weight_lr=5e-4,
            weight_momentum=0.0,
            weight_decay=0.0,
            alpha=(0.8, 0.8),
            beta=(0.8, 0.8),
            entropy="half",
            diversity=0.0,
            samples=1,
            baseline="self_critical",
            window="released",
            controller_split="train",
            select_split="test",
            recalibrate=False,
        ),
        finetuning=Finetuning(epochs=300, batch=256, lr=1e-3),
        baselines=Baselines(widths=(0.4, 1.0, 1.4), pool=64, contrasted=5),
    ),
}


def preset_for(data: str) -> str:
    """The preset a data set is run with when none is asked for: `digits` for digits, else `cpu`."""
    return "digits" if data == "digits" else "cpu"
