"""NAO's predictor: an encoder, a score of the code, and a decoder back (Luo et al., NeurIPS 2018, arXiv 1808.07233).

The decoder makes codes that can be moved: uphill in the predicted score, and back to an architecture. Sequences are the
space's decisions, whatever the space. Letters: `B` batch, `L` length of the sequence, `D` columns of the space's code,
`C` width of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.neural import mlp
from archipel.evaluators.predictors.predictor import check_scores
from archipel.evaluators.predictors.sequences import Decisions
from archipel.space import Space

__all__ = ["EncoderPredictorDecoder", "NAOFitting"]


@dataclass(frozen=True)
class NAOFitting:
    """The defaults are those of the authors' code."""

    trade_off: float = 0.8
    """Of the squared error, the rest is the decoder's (λ)."""
    epochs: int = 1000
    batch: int = 100
    lr: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 5.0
    embedding: int = 48
    units: int = 96
    """C."""
    hidden: tuple[int, ...] = (200, 200, 200)
    dropout: float = 0.1


class EncoderPredictorDecoder:
    """Scores through a code that can be decoded.

    Args:
        twins: other spellings of an architecture that compute the same; each is learned with the same score.
    """

    def __init__(
        self,
        space: Space,
        fitting: NAOFitting | None = None,
        *,
        twins: Callable[[Architecture], Sequence[Architecture]] = lambda _: (),
        seed: int = 0,
    ) -> None:
        self.space, self.fitting, self.twins, self.seed = space, fitting or NAOFitting(), twins, seed
        self.decisions = Decisions(space)
        self._fitted: tuple[_Network, float, float] | None = None

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        scores = check_scores(architectures, scores)
        low, range_ = float(scores.min()), float(scores.max() - scores.min()) or 1.0
        all_of_them = [(twin, score) for a, score in zip(architectures, scores) for twin in (a, *self.twins(a))]
        (tokens,) = self.decisions([architecture for architecture, _ in all_of_them])
        targets = torch.stack([(score - low) / range_ for _, score in all_of_them]).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Network(self.space.width, self.fitting)
            self._train(network, tokens, targets)
        network.eval()
        self._fitted = network, low, range_

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        network, low, range_ = self._ready()
        with torch.no_grad():
            codes = network.encode(self.decisions(architectures)[0])
            return low + range_ * network.score(codes).double()

    def moved(self, architectures: Sequence[Architecture], step: float) -> list[Architecture]:
        """What the codes of architectures decode to after one step uphill in the predicted score (η).

        Many decode to what they were as long as the step is small.
        """
        network, _, _ = self._ready()
        codes = network.encode(self.decisions(architectures)[0]).detach().requires_grad_()
        (uphill,) = torch.autograd.grad(network.score(codes).sum(), codes)
        with torch.no_grad():
            return self._decode(network, F.normalize(codes + step * uphill, dim=-1))

    def reconstructed(self, architectures: Sequence[Architecture]) -> list[Architecture]:
        """decode(encode(a)): how well the codes hold what they encode."""
        network, _, _ = self._ready()
        with torch.no_grad():
            return self._decode(network, network.encode(self.decisions(architectures)[0]))

    def _ready(self) -> tuple[_Network, float, float]:
        if self._fitted is None:
            raise OptionError("a predictor was asked before it has seen any score; call fit first")
        return self._fitted

    def _train(self, network: _Network, tokens: Tensor, targets: Tensor) -> None:
        fitting = self.fitting
        optimiser = torch.optim.Adam(network.parameters(), fitting.lr, weight_decay=fitting.weight_decay, fused=True)
        network.train()
        for _ in range(fitting.epochs):
            for rows in torch.randperm(len(tokens)).split(fitting.batch):
                codes = network.encode(tokens[rows])
                squared = (network.score(codes) - targets[rows]).square().mean()
                told = network.decode(codes, tokens[rows])  # [B, L, D + 1]
                nll = F.cross_entropy(told.flatten(0, 1), tokens[rows].flatten())
                loss = fitting.trade_off * squared + (1 - fitting.trade_off) * nll
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), fitting.clip)
                optimiser.step()

    def _decode(self, network: _Network, codes: Tensor) -> list[Architecture]:
        """The likeliest token after token, of those that an architecture of the space can have there."""
        written = torch.zeros(len(codes), 0, dtype=torch.long)
        state = network.start(codes)
        for slot in self.decisions.slots:
            logits, state = network.step(codes, written[:, -1] if written.shape[1] else None, state)
            allowed = torch.full_like(logits, -torch.inf)
            for row, before in enumerate(written.tolist()):
                allowed[row, self.decisions.allowed(slot, before)] = 0.0
            written = torch.cat([written, (logits + allowed).argmax(1, keepdim=True)], 1)
        return [self.decisions.architecture(tokens) for tokens in written.tolist()]


_State = tuple[Tensor, Tensor]


class _Network(nn.Module):
    """LSTM encoder, multi-layer predictor, LSTM decoder with attention over the encoder's outputs."""

    def __init__(self, columns: int, fitting: NAOFitting) -> None:
        super().__init__()
        units = fitting.units
        self.begin = columns + 1  # the token before the first
        self.tokens = nn.Embedding(columns + 2, fitting.embedding)
        self.encoder = nn.LSTM(fitting.embedding, units, batch_first=True)
        self.predictor = mlp(units, (*fitting.hidden, 1), dropout=fitting.dropout)
        self.decoder = nn.LSTM(fitting.embedding, units, batch_first=True)
        self.query = nn.Linear(units, units, bias=False)
        self.mix = nn.Linear(2 * units, units)
        self.tell = nn.Linear(units, columns + 1)

    def encode(self, tokens: Tensor) -> Tensor:
        """`[B, L]` → `[B, L, C]`, each of length 1."""
        outputs, _ = self.encoder(self.tokens(tokens))
        return F.normalize(outputs, dim=-1)

    def score(self, codes: Tensor) -> Tensor:
        """`[B, L, C]` → `[B]`, 0 to 1."""
        return torch.sigmoid(self.predictor(_whole(codes)))[:, 0]

    def decode(self, codes: Tensor, tokens: Tensor) -> Tensor:
        """Logits of each token after those before it, `[B, L, D + 1]`."""
        before = torch.cat([torch.full_like(tokens[:, :1], self.begin), tokens[:, :-1]], 1)
        outputs, _ = self.decoder(self.tokens(before), self.start(codes))
        return self._attend(codes, outputs)

    def start(self, codes: Tensor) -> _State:
        """The decoder's state before the first token."""
        whole = _whole(codes)[None]
        return whole, whole

    def step(self, codes: Tensor, last: Tensor | None, state: _State) -> tuple[Tensor, _State]:
        """Logits of the next token, `[B, D + 1]`."""
        last = torch.full((len(codes),), self.begin) if last is None else last
        outputs, state = self.decoder(self.tokens(last[:, None]), state)
        return self._attend(codes, outputs)[:, 0], state

    def _attend(self, codes: Tensor, outputs: Tensor) -> Tensor:
        weights = torch.softmax(self.query(outputs) @ codes.mT, -1)  # [B, L, L]
        return self.tell(torch.tanh(self.mix(torch.cat([weights @ codes, outputs], -1))))


def _whole(codes: Tensor) -> Tensor:
    """The architecture's one vector, `[B, C]`."""
    return F.normalize(codes.mean(1), dim=-1)
