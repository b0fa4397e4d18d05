"""Architecture parameters: one logit for every option of every open `op` choice, and the distribution they stand for.

ProxylessNAS (Cai et al., ICLR 2019, §3.2): p = softmax(α), choices independent. Letters: `O` options of a choice.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import SpaceError
from archipel.space import Space

__all__ = ["Gates"]


class Gates(nn.Module):
    """A distribution over the architectures of a space of `op` choices, with a gradient.

    A choice with one option is fixed: it has no logits. Parameters are float64 (a step that moves two options must
    leave the probabilities of the others where they are) and belong on the CPU, where architectures are drawn.

    Args:
        std: α ~ N(0, std²) at the start.
        generator: draws them.

    Raises:
        SpaceError: the space has choices of another kind, or none with two options.
    """

    def __init__(self, space: Space, *, std: float = 1e-3, generator: torch.Generator | None = None) -> None:
        super().__init__()
        strange = [f"'{choice.name}' ({choice.kind})" for choice in space.choices if choice.kind != "op"]
        if strange:
            raise SpaceError(
                f"gates are for op choices; space '{space.name}' also has {', '.join(strange[:3])}"
                f"{f' and {len(strange) - 3} more' if len(strange) > 3 else ''}"
            )
        self.space = space
        self._open = [choice for choice in space.choices if len(choice.options) > 1]
        if not self._open:
            raise SpaceError(f"space '{space.name}' has no op choice with two options; there is nothing to search")
        # A list, because the names of parameters may hold no dots and those of choices do.
        self.alphas = nn.ParameterList(
            torch.empty(len(choice.options), dtype=torch.float64).normal_(0.0, std, generator=generator)
            for choice in self._open
        )

    @property
    def logits(self) -> dict[str, nn.Parameter]:
        """α of every open choice, `[O]`."""
        return {choice.name: alpha for choice, alpha in zip(self._open, self.alphas)}

    def probabilities(self) -> dict[str, Tensor]:
        """p of every choice, `[O]`, given that it is active; differentiable."""
        logits = self.logits
        return {
            choice.name: logits[choice.name].softmax(0)
            if choice.name in logits
            else torch.ones(1, dtype=torch.float64, device=self.alphas[0].device)
            for choice in self.space.choices
        }

    def reach(self) -> dict[str, Tensor]:
        """Probability that a choice is active, a scalar of every choice: 1, or that its parent is active and takes
        one of the options in which it stands; differentiable."""
        p, options = self.probabilities(), {choice.name: choice.options for choice in self.space.choices}
        reached: dict[str, Tensor] = {}
        for choice in self.space.choices:  # parents come first
            if choice.parent is None:
                reached[choice.name] = p[choice.name].new_ones(())
            else:
                opening = [i for i, option in enumerate(options[choice.parent]) if option in choice.when]
                reached[choice.name] = reached[choice.parent] * p[choice.parent][opening].sum()
        return reached

    def draw(self, generator: torch.Generator, count: int = 1) -> dict[str, list[int]]:
        """`count` different options of every open choice (all, where it has fewer), by position, in the order in which
        they came: each from p among those left. Inactive choices are drawn as well, so that what a draw takes from
        the generator does not depend on what it gives.

        Drawn in log space (Gumbel top-k): an option whose probability is 0 beside the others' comes after them all.
        """
        drawn = {}
        for name, alpha in self.logits.items():
            log_p = alpha.detach().cpu().log_softmax(0)
            noise = torch.empty_like(log_p).exponential_(generator=generator).log()
            drawn[name] = (log_p - noise).argsort(descending=True)[:count].tolist()
        return drawn

    def assignment(self, positions: Mapping[str, int]) -> dict[str, str]:
        """An option for every choice, active or not: open ones by position."""
        return {choice.name: choice.options[positions.get(choice.name, 0)] for choice in self.space.choices}

    def sample(self, generator: torch.Generator) -> Architecture:
        """An architecture drawn from p."""
        drawn = self.draw(generator)
        return self.space.canonical(self.assignment({name: first for name, (first,) in drawn.items()}))

    def codes(self, generator: torch.Generator, count: int) -> Tensor:
        """Codes of `count` architectures drawn from p, `[count, D]`, bool, canonical."""
        codes = torch.zeros(count, self.space.width, dtype=torch.bool)
        probabilities = self.probabilities()
        for choice in self.space.choices:
            p = probabilities[choice.name].detach().cpu()
            drawn = p.multinomial(count, replacement=True, generator=generator)
            codes[:, self.space.slices[choice.name]].scatter_(1, drawn[:, None], True)
        return self.space.complete(codes)

    def argmax(self) -> Architecture:
        """The most probable option of every choice (the first of equals)."""
        return self.space.canonical(self.assignment({name: int(alpha.argmax()) for name, alpha in self.logits.items()}))

    def log_prob(self, architecture: Architecture) -> Tensor:
        """log Π p over its active choices, a scalar in nats; differentiable.

        Raises:
            ArchitectureError: it does not fit the space.
        """
        chosen, logits = self.space.canonical(architecture), self.logits
        terms = [
            logits[choice.name].log_softmax(0)[choice.options.index(chosen[choice.name])]
            for choice in self._open
            if choice.name in chosen
        ]
        return sum(terms, self.alphas[0].new_zeros(()))

    def entropy(self) -> float:
        """Mean over the open choices, in nats: ln O at the start, 0 when all is decided."""
        with torch.no_grad():
            each = [torch.special.entr(alpha.softmax(0)).sum() for alpha in self.alphas]
            return float(torch.stack(each).mean())

    def confidence(self) -> float:
        """Mean over the open choices of the largest probability."""
        with torch.no_grad():
            return float(torch.stack([alpha.softmax(0).max() for alpha in self.alphas]).mean())
