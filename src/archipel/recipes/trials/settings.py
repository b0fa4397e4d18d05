"""Every setting of a search by trials, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field

from archipel.cost import TableSettings
from archipel.errors import OptionError
from archipel.evaluators import Stopping
from archipel.sharing.training import Optimisation

__all__ = ["PRESETS", "Jobs", "Latency", "Network", "Retraining", "Settings", "Training", "preset_for"]


@dataclass(frozen=True)
class Network:
    """The space's own settings. Given to its function where it has parameters of these names."""

    macro: str | None = None
    """Macro-structure, of spaces that have several; none: by image size."""
    width: float = 1.0
    """Multiplier of all channel counts."""
    cells: int = 1
    """Of spaces of cells: how many stand in each stage."""
    filters: int = 16
    """Of spaces of cells with an output for every block: channels of the first cells."""


@dataclass(frozen=True)
class Training(Optimisation):
    """Every trial: one network, from scratch."""

    epochs: int = 12
    warmup: float = 0.1
    clip: float | None = 5.0
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise OptionError(f"training.epochs is {self.epochs}; give 1 or more")


@dataclass(frozen=True)
class Retraining(Optimisation):
    """What was found, and a random architecture beside it, from scratch and longer."""

    epochs: int = 30
    warmup: float = 0.1
    clip: float | None = 5.0
    label_smoothing: float = 0.1
    networks: int = 3
    """How many of a front; of one objective it is the best alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.networks < 1:
            raise OptionError(f"retraining.networks is {self.networks}; give 1 or more")


@dataclass(frozen=True)
class Latency(TableSettings):
    """The latency table, where latency is an objective."""


@dataclass(frozen=True)
class Jobs:
    """How trials are spread over the cores."""

    workers: int = 1
    """Processes that share one study, one thread each. With several, who hears of what in time is chance, and so is
    what is tried next."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise OptionError(f"jobs.workers is {self.workers}; give 1 or more")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    stopping: Stopping = field(default_factory=Stopping)
    retraining: Retraining = field(default_factory=Retraining)
    latency: Latency = field(default_factory=Latency)
    jobs: Jobs = field(default_factory=Jobs)


PRESETS: dict[str, Settings] = {
    "cpu": Settings(network=Network(width=0.5)),
    "digits": Settings(
        network=Network(width=0.5), training=Training(epochs=24), retraining=Retraining(epochs=30),
        latency=Latency(seconds=20.0),
    ),
    "gpu": Settings(
        network=Network(cells=3),
        training=Training(epochs=30, batch=128, lr=0.1),
        retraining=Retraining(epochs=200, batch=128, lr=0.1),
    ),
}  # fmt: skip


def preset_for(data: str) -> str:
    """The preset a data set is run with when none is asked for: `digits` for digits, else `cpu`."""
    return "digits" if data == "digits" else "cpu"
