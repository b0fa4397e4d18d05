"""Settings of everything but the method itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archipel.errors import OptionError
from archipel.sharing.training import Optimisation

__all__ = ["Controls", "Network"]


@dataclass(frozen=True)
class Network:
    """The network whose blocks may be left out. Given to the space function where it has parameters of these names."""

    blocks: int = 5
    """Of `resnet_flat` in each stage (n): 3 is ResNet-20, 5 ResNet-32, 18 ResNet-110."""
    downsample: Literal["pool", "projection"] = "pool"
    """Of `resnet_flat`: shortcuts where the shape changes, without parameters or with."""
    macro: str | None = "light"
    """Of the mobile spaces: `light` (ours for few cores), or the published `cifar`, `tiny`, `imagenet`; none: by image
    size."""
    width: float = 1.0
    """Multiplier of all channel counts."""
    dropout: float = 0.0


@dataclass(frozen=True)
class Controls(Optimisation):
    """What the method is compared with: a random policy and a static network, trained on like it."""

    epochs: int = 10
    lr: float = 0.01
    pool: int = 16
    """Static networks judged for each variant before the best is trained on."""
    shuffles: int = 10
    """Random re-deals of the architectures over the test images (instance-awareness test)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pool", "shuffles"):
            if getattr(self, name) < 1:
                raise OptionError(f"controls.{name} is {getattr(self, name)}; give 1 or more")
