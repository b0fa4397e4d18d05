"""What a run leaves for those who use its networks: `deploy.json`, enough to rebuild every network without the data.

The run's recipe writes it; `archipel.deploy.loading` reads it. Weights stay where they are, in the run's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from archipel.errors import RunError
from archipel.run.folder import RunFolder
from archipel.tasks.task import TaskSpec

__all__ = ["FILE", "Family", "Form", "Manifest", "Network", "Point", "network_of"]

FILE = "deploy.json"
SCHEMA = 1

Form = Literal["static", "exits", "cascade", "controller", "gates"]
"""How a family answers an image: always the same network, the exits of one, networks in a row, a controller that picks
an architecture of a meta-graph, or gates that decide on the way through it."""


@dataclass(frozen=True)
class Network:
    """A trained network: what builds it, and where its weights are."""

    space: str
    """As `archipel.spaces.resolve` reads it."""
    options: Mapping[str, Any]
    """Of the space's function."""
    weights: str
    """Checkpoint of the run, or its file of nothing but weights, `NAME.safetensors`."""
    name: str
    """Among the networks of its family."""
    part: str = "network"
    """Of the checkpoint."""
    architecture: Mapping[str, Any] | None = None
    """None: all of the space, as a meta-graph."""
    exits: tuple[Mapping[str, Any], ...] = ()
    """Of a network with exits: the architectures that they are, shallow to deep."""
    leaves: int | None = None
    """Of a network with exits: the exit that always answers; None: several do."""


@dataclass(frozen=True)
class Point:
    """One way in which a family can answer: a trade-off between accuracy and time."""

    name: str | None
    """`A`, `B` … or of a static network its own; None: another point along the same frontier."""
    ms: float
    """Milliseconds of the mean image on the run's device, all included: as its latency table predicts, or measured
    where the run has none."""
    accuracy: float | None = None
    """On validation images, where the run looked."""
    network: int = 0
    """Position of what answers among the family's networks (of a cascade: all of them do)."""
    thresholds: tuple[float, ...] = ()
    """Of exits and cascades: see `archipel.instance.Cascade`."""
    shares: tuple[float, ...] = ()
    """Of the validation images, answered by each of their stages."""
    asked_ms: float | None = None
    """Of a conditioned controller: the latency that it is asked for."""


@dataclass(frozen=True)
class Family:
    """Networks of one kind and seed."""

    kind: str
    seed: int
    form: Form
    networks: tuple[Network, ...]
    points: tuple[Point, ...]
    """The named ones first, from slow to fast."""
    rule: Mapping[str, Any] = field(default_factory=dict)
    """Of exits and cascades: `committee`, `gains`, `costs_ms`, `temperatures`."""
    controller: Mapping[str, Any] = field(default_factory=dict)
    """Of controllers and gates: `table` (the latency table's file). Of controllers: `kind`, or `network` where it is
    built as a network is; `part` of the checkpoint; `conditioned`; and `routing`: what batches cost, None where the run
    did not measure that. Of gates: `hidden` and `always`, as `archipel.instance.BlockGates` takes them."""


@dataclass(frozen=True)
class Manifest:
    """All families of a run, and what their networks expect of an image."""

    title: str
    task: str
    """Name of the data."""
    input_shape: tuple[int, int, int]
    """`(C, H, W)`."""
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    """Of training pixels from 0 to 255, each channel."""
    std: tuple[float, ...]
    device: Mapping[str, Any]
    """What the latencies were measured on: `name`, `threads`, `batch` and `fingerprint`."""
    families: tuple[Family, ...]
    """What the run reports first comes first; of one kind the first seed."""

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(self.task, self.input_shape, self.classes, score="accuracy", chance=1 / len(self.classes))

    def write(self, folder: RunFolder) -> None:
        folder.write_json(FILE, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def read(cls, folder: RunFolder) -> Manifest:
        """Of a run.

        Raises:
            RunError: the run has not ended, was made by an earlier version, or the file is damaged.
        """
        path = folder.path / FILE
        if not path.is_file():
            command = f"archipel {folder.config.get('recipe', 'run')} --resume {folder.path}"
            raise RunError(
                f"{folder.path} holds no {FILE}: its run has not ended or was made by an earlier version (go on with "
                f"'{command}'), or is of a kind that leaves no networks to use"
            )
        content = folder.read_json(FILE)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            schema = content.get("schema") if isinstance(content, dict) else None
            raise RunError(f"{path} was made by another version of archipel (schema {schema!r}); repeat the run")
        try:
            return cls._from_json(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{path} is damaged ({error!r}); write it again with --resume {folder.path}") from error

    @classmethod
    def _from_json(cls, content: Mapping[str, Any]) -> Manifest:
        channels, height, width = content["input_shape"]
        return cls(
            title=content["title"],
            task=content["task"],
            input_shape=(channels, height, width),
            classes=tuple(content["classes"]),
            mean=tuple(content["mean"]),
            std=tuple(content["std"]),
            device=content["device"],
            families=tuple(map(_family, content["families"])),
        )


def network_of(content: Mapping[str, Any]) -> Network:
    """From plain values."""
    return Network(**{**content, "exits": tuple(content["exits"])})


def _family(content: Mapping[str, Any]) -> Family:
    networks = tuple(map(network_of, content["networks"]))
    points = tuple(
        Point(**{**row, "thresholds": tuple(row["thresholds"]), "shares": tuple(row["shares"])})
        for row in content["points"]
    )
    return Family(**{**content, "networks": networks, "points": points})
