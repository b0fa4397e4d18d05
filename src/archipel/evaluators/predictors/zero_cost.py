"""Zero-cost proxies as predictors: nothing to fit, one fresh network an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost.attribution import ghost
from archipel.cost.complexity import madds, parameters
from archipel.evaluators.predictors.predictor import Predictor, check_scores
from archipel.evaluators.predictors.proxies import Probe, Proxy
from archipel.space import Space
from archipel.tasks.task import Task

__all__ = ["Madds", "Parameters", "ProxyFeatures", "ZeroCost"]


class _NeedsNothing(ABC):
    """`fit` looks at nothing but whether it was called as it should be."""

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        check_scores(architectures, scores)

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.tensor([self._of(architecture) for architecture in architectures], dtype=torch.float64)

    @abstractmethod
    def _of(self, architecture: Architecture) -> float:
        """The score of one architecture."""


@dataclass
class ZeroCost(_NeedsNothing):
    """A proxy of `archipel.evaluators.predictors.proxies`, on the first images of a task's `train`."""

    space: Space
    task: Task
    proxy: Proxy
    batch: int = 64
    """Images, at most."""
    seed: int = 0
    """Of the networks' weights, drawn for each architecture apart."""
    known: dict[Architecture, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        batch = next(iter(self.task.loader("train", self.batch)))
        self.probe = Probe(batch.inputs, lambda output: self.task.loss(output, batch)["total"])

    def _of(self, architecture: Architecture) -> float:
        architecture = self.space.canonical(architecture)
        if architecture not in self.known:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed((int(architecture.key, 16) + self.seed) % 2**63)
                network = self.task.attach(self.space.build(architecture))
                self.known[architecture] = self.proxy(network, self.probe)
        return self.known[architecture]


@dataclass
class Parameters(_NeedsNothing):
    """Learned numbers of the child network."""

    space: Space

    def _of(self, architecture: Architecture) -> float:
        return float(parameters(ghost(self.space, self.space.canonical(architecture))))


@dataclass
class Madds(_NeedsNothing):
    """Multiply-adds of the child network."""

    space: Space
    input_shape: tuple[int, ...]
    """Of one input, without batch."""

    def _of(self, architecture: Architecture) -> float:
        return float(madds(ghost(self.space, self.space.canonical(architecture)), tuple(self.input_shape)))


@dataclass(frozen=True)
class ProxyFeatures:
    """sign(x) · log(1 + |x|) of what predictors say that need no scores; `F` is how many there are."""

    proxies: tuple[Predictor, ...]

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        said = torch.stack([proxy.predict(architectures) for proxy in self.proxies], 1)
        return (said.sign() * said.abs().log1p()).float()
