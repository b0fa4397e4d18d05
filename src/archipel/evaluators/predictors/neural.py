"""How neural predictors learn: an encoding, an encoder, a head, a loss.

Letters: `N` architectures, `F` features, `C` numbers of a code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.features import Features
from archipel.evaluators.predictors.losses import Loss, PairwiseHinge
from archipel.evaluators.predictors.predictor import check_scores
from archipel.evaluators.predictors.scale import NormalScores, Scale

__all__ = ["Encoder", "Encoding", "Fitting", "NeuralPredictor", "Perceptron", "mlp"]

Encoding: TypeAlias = Callable[[Sequence[Architecture]], tuple[Tensor, ...]]
"""What an encoder takes, each `[N, …]`."""


class Encoder(nn.Module):
    """What an encoder is: the tensors of an encoding → `[N, C]`."""

    width: int
    """C."""


_CHUNK = 1024
"""Architectures that are judged at once."""


@dataclass(frozen=True)
class Fitting:
    """How a network is trained on scores."""

    loss: Loss = field(default_factory=PairwiseHinge)
    epochs: int = 200
    batch: int = 512
    lr: float = 1e-3
    """Of Adam."""
    weight_decay: float = 0.0
    hidden: tuple[int, ...] = (300, 300, 300, 300, 300)
    """Widths of the layers between code and score."""
    dropout: float = 0.1
    """Behind each of those."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise OptionError(
                f"a predictor trains {self.epochs} epochs on batches of {self.batch}; give at least 1 and 2"
            )


class NeuralPredictor:
    """A network that turns an encoded architecture into a score.

    Args:
        encoding: architectures → tensors.
        encoder: makes a fresh one.
        features: standardised and put beside the code, before the head.
    """

    def __init__(
        self,
        encoding: Encoding,
        encoder: Callable[[], Encoder],
        fitting: Fitting | None = None,
        *,
        features: Features | None = None,
        seed: int = 0,
    ) -> None:
        self.encoding, self.encoder, self.features = encoding, encoder, features
        self.fitting, self.seed = fitting or Fitting(), seed
        self._fitted: tuple[_Scored, Scale] | None = None

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        scores = check_scores(architectures, scores)
        inputs = self._inputs(architectures)
        scale = NormalScores.of(scores)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Scored(self.encoder(), inputs[-1] if self.features else None, self.fitting)
            _train(network, inputs, scale.forward(scores).float(), self.fitting)
        if self.fitting.loss.ranks:
            network.calibrate(network.judge(inputs), scale.forward(scores))
        self._fitted = network, scale

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        if self._fitted is None:
            raise OptionError("a predictor was asked before it has seen any score; call fit first")
        network, scale = self._fitted
        return scale.inverse(network.judge(self._inputs(architectures)))

    def _inputs(self, architectures: Sequence[Architecture]) -> tuple[Tensor, ...]:
        beside = (self.features(architectures),) if self.features else ()
        return (*self.encoding(architectures), *beside)


class _Scored(nn.Module):
    """score = a · head([code, standardised features]) + b."""

    mean: Tensor
    spread: Tensor

    def __init__(self, encoder: Encoder, features: Tensor | None, fitting: Fitting) -> None:
        super().__init__()
        self.encoder, self.beside = encoder, features is not None
        mean, spread = torch.zeros(0), torch.ones(0)
        if features is not None:
            mean, spread = features.mean(0), features.std(0, correction=0)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))
        self.head = mlp(encoder.width + len(mean), (*fitting.hidden, 1), dropout=fitting.dropout)
        self.slope, self.offset = 1.0, 0.0

    def forward(self, *inputs: Tensor) -> Tensor:
        if not self.beside:
            return self.head(self.encoder(*inputs))[:, 0]
        *encoded, features = inputs
        return self.head(torch.cat([self.encoder(*encoded), (features - self.mean) / self.spread], 1))[:, 0]

    def judge(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """`[N]` float64."""
        self.eval()
        with torch.no_grad():
            parts = [self(*chunk) for chunk in zip(*(tensor.split(_CHUNK) for tensor in inputs))]
        return self.slope * torch.cat(parts).double() + self.offset

    def calibrate(self, outputs: Tensor, targets: Tensor) -> None:
        """Least squares of targets on outputs, so that what was learned of an order alone speaks in scores too; never
        turned round."""
        spread = outputs - outputs.mean()
        variance = float(spread.square().sum())
        if variance:
            self.slope = max(float((spread * targets).sum()) / variance, _LEAST_SLOPE)
        self.offset = float(targets.mean()) - self.slope * float(outputs.mean())


_LEAST_SLOPE = 1e-6


def _train(network: _Scored, inputs: tuple[Tensor, ...], targets: Tensor, fitting: Fitting) -> None:
    optimiser = torch.optim.Adam(network.parameters(), fitting.lr, weight_decay=fitting.weight_decay, fused=True)
    network.train()
    for _ in range(fitting.epochs):
        for rows in torch.randperm(len(targets)).split(fitting.batch):
            loss = fitting.loss(network(*(tensor[rows] for tensor in inputs)), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


class Perceptron(Encoder):
    """Linear layers with ReLU, over features."""

    def __init__(self, features: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.width = widths[-1]
        self.layers = nn.Sequential(mlp(features, widths), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """`[N, F]` → `[N, C]`."""
        return self.layers(features)


def mlp(width: int, widths: Sequence[int], *, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with ReLU and dropout between."""
    layers: list[nn.Module] = []
    for i, out in enumerate(widths):
        if i:
            layers += [nn.ReLU(), nn.Dropout(dropout)]
        layers.append(nn.Linear(width, out))
        width = out
    return nn.Sequential(*layers)
