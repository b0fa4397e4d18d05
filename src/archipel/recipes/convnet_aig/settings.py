"""Every setting of the ConvNet-AIG recipe, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from archipel.instance.gated_training import Gating
from archipel.recipes.settings import Jobs, Latency
from archipel.recipes.skipping.settings import Controls, Network

__all__ = ["PRESETS", "Inference", "Settings", "preset_for"]


@dataclass(frozen=True)
class Inference:
    """How a finished network's gates are read."""

    gates: Literal["argmax", "sampled"] = "argmax"
    """What is more probable, or sampled with noise, as released; the result tells both."""


@dataclass(frozen=True)
class Settings:
    """All of it."""

    network: Network = field(default_factory=Network)
    latency: Latency = field(default_factory=Latency)
    gating: Gating = field(default_factory=Gating)
    inference: Inference = field(default_factory=Inference)
    controls: Controls = field(default_factory=Controls)
    jobs: Jobs = field(default_factory=Jobs)


PRESETS: dict[str, Settings] = {
    "cpu": Settings(
        network=Network(blocks=3),
        gating=Gating(epochs=14, warmup=0.05),
        controls=Controls(epochs=4, pool=8, shuffles=2),
        latency=Latency(images=6, final_rounds=10),
    ),
    "digits": Settings(
        network=Network(blocks=2),
        gating=Gating(epochs=30, warmup=0.05),
        controls=Controls(epochs=8, pool=8, shuffles=6),
        latency=Latency(seconds=8.0, images=4, final_rounds=10),
    ),
    "faithful": Settings(
        network=Network(blocks=18, downsample="projection", macro=None),
        gating=Gating(epochs=350, batch=256, decay="steps", targets=(0.6,)),
        inference=Inference(gates="sampled"),
        controls=Controls(epochs=100, batch=256, pool=64),
    ),
}


def preset_for(data: str) -> str:
    """The preset a data set is run with when none is asked for: `digits` for digits, else `cpu`."""
    return "digits" if data == "digits" else "cpu"
