"""NAO: what is good is moved uphill in the predicted score, in a space of codes, and read back as architectures."""

from __future__ import annotations

import torch

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.nao import EncoderPredictorDecoder, NAOFitting
from archipel.space import Space
from archipel.strategies.rounds import InRounds
from archipel.strategies.strategy import only_one

__all__ = ["NAO"]


class NAO(InRounds):
    """Neural architecture optimisation (Luo et al., NeurIPS 2018, arXiv 1808.07233).

    The first `initial` architectures are random. Then rounds: encoder, predictor and decoder learn anew from all that
    is known; the codes of the `top` best move one step uphill, h ← normalise(h + η ∂f/∂h), and are decoded; η grows
    from 1 in steps of 1 until `batch` architectures have come up that were not seen, or it has reached `longest`. What
    then is missing is random. Nothing is asked for twice.

    Args:
        initial, batch, top: 600, 300 and 100 in the paper, for a thousand networks and more.
        longest: the largest η.
        epochs: of each round's training; 1000 in the paper.
        trade_off: of the squared error, the rest is the decoder's (λ).

    Raises:
        OptionError: several objectives, a number below 1, or a trade-off that is no share.
    """

    def __init__(
        self,
        space: Space,
        *,
        objectives: int = 1,
        seed: int = 0,
        initial: int = 40,
        batch: int = 20,
        top: int = 40,
        longest: int = 50,
        epochs: int = 300,
        trade_off: float = 0.8,
    ) -> None:
        only_one(objectives, "nao")
        if not 0.0 <= trade_off <= 1.0:
            raise OptionError(f"trade_off is {trade_off:g}; give a share from 0 to 1")
        super().__init__(space, seed=seed, initial=initial, batch=batch, top=top, longest=longest)
        self.predictor = EncoderPredictorDecoder(space, NAOFitting(trade_off=trade_off, epochs=epochs), seed=seed)
        self.batch, self.top, self.longest = batch, top, longest

    def round(self) -> list[Architecture]:
        architectures = list(self.known)
        scores = torch.tensor([score for (score,) in self.known.values()], dtype=torch.float64)
        self.predictor.fit(architectures, scores)
        best = sorted(architectures, key=lambda a: -self.known[a][0])[: self.top]
        found: dict[Architecture, None] = {}  # a set that keeps its order
        for step in range(1, self.longest + 1):
            for moved in self.predictor.moved(best, step):
                if moved not in self.seen and len(found) < self.batch:
                    found[moved] = None
            if len(found) == self.batch:
                break
        return [*found, *(self.random() for _ in range(self.batch - len(found)))]
