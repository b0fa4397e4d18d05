"""Every setting of the BlockDrop recipe, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from archipel.errors import OptionError
from archipel.instance.dropping import Curriculum, Joint
from archipel.recipes.settings import Jobs, Latency
from archipel.recipes.skipping.settings import Controls, Network
from archipel.sharing.training import Optimisation

__all__ = ["PRESETS", "Backbone", "Policy", "Settings", "preset_for"]


@dataclass(frozen=True)
class Backbone(Optimisation):
    """The network with every block, trained first; all seeds start from it."""

    epochs: int = 30
    lr: float = 0.1
    keep_final: float = 0.7
    """Share of blocks that each image keeps at random at the end, falling from all at the beginning, so that blocks can
    be done without; 1: all are kept, as published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.keep_final <= 1.0:
            raise OptionError(f"backbone.keep_final is {self.keep_final:g}; give a share above 0, up to 1")


@dataclass(frozen=True)
class Policy:
    """Who says which blocks an image can do without, and what leaving them out earns."""

    kind: Literal["light", "resnet"] = "light"
    """Policy network: ours of two strided convolutions, or the published ResNet of one block a stage."""
    use: Literal["latency", "blocks"] = "latency"
    """What a child's reward 1 − use² counts: its share of the milliseconds that blocks take, or of the blocks
    (published)."""


@dataclass(frozen=True)
class Settings:
    """All of it."""

    network: Network = field(default_factory=Network)
    backbone: Backbone = field(default_factory=Backbone)
    latency: Latency = field(default_factory=Latency)
    policy: Policy = field(default_factory=Policy)
    curriculum: Curriculum = field(default_factory=Curriculum)
    joint: Joint = field(default_factory=Joint)
    controls: Controls = field(default_factory=Controls)
    jobs: Jobs = field(default_factory=Jobs)


PRESETS: dict[str, Settings] = {
    "cpu": Settings(
        network=Network(blocks=3),
        backbone=Backbone(epochs=12, warmup=0.05),
        curriculum=Curriculum(epochs=10),
        joint=Joint(epochs=6),
        controls=Controls(epochs=6, pool=8, shuffles=2),
        latency=Latency(images=6, final_rounds=10),
    ),
    "digits": Settings(
        network=Network(blocks=2),
        backbone=Backbone(epochs=20, warmup=0.05),
        curriculum=Curriculum(epochs=20, batch=16, lr=1e-2),
        joint=Joint(epochs=15, batch=32),
        controls=Controls(epochs=15, pool=8, shuffles=6),
        latency=Latency(seconds=8.0, images=4, final_rounds=10),
    ),
    "faithful": Settings(
        network=Network(blocks=18, macro=None),
        backbone=Backbone(epochs=164, batch=128, decay="steps", keep_final=1.0),
        policy=Policy(kind="resnet", use="blocks"),
        curriculum=Curriculum(epochs=5000, batch=2048, alpha=(0.8, 0.8), entropy="half", split="train"),
        joint=Joint(
            epochs=2000,
            batch=256,
            lr=1e-4,
            lr_decay_epochs=1600,
            alpha=(0.8, 0.8),
            penalties=(10.0,),
            scaling="sum",
            recalibrate=False,
        ),
        controls=Controls(epochs=100, batch=128, pool=64),
    ),
}


def preset_for(data: str) -> str:
    """The preset a data set is run with when none is asked for: `digits` for digits, else `cpu`."""
    return "digits" if data == "digits" else "cpu"
