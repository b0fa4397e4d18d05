"""The distribution over architectures that a controller's logits stand for.

A `subset` choice is independent Bernoulli bits (InstaNAS); `op` and `value` are categorical; `inputs` draws k
positions without replacement (Plackett–Luce). Letters: `B` batch, `D` code columns, `K` choices.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from archipel.instance.gumbel import gumbel_noise, straight_through
from archipel.space import Space

__all__ = ["CodePolicy", "Draw"]

Entropy = Literal["bernoulli", "half"]


class Draw(NamedTuple):
    """Sampled codes and what the estimator needs of them."""

    codes: Tensor
    """`[B, D]`, bool, canonical."""
    log_prob: Tensor
    """`[B]`, of what was drawn, before empty selections were filled in, under the bounded probabilities; inactive
    choices do not count."""


class CodePolicy:
    """Reads logits `[B, D]` as a distribution over the architectures of a space."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._options = {choice.name: choice.options for choice in space.choices}
        self._special = [c for c in space.choices if c.kind != "subset" or c.empty is None]
        self._subset = torch.zeros(space.width, dtype=torch.bool)
        for choice in space.choices:
            self._subset[space.slices[choice.name]] = choice.kind == "subset"

    def probabilities(self, logits: Tensor, alpha: float = 1.0) -> Tensor:
        """Probability of each option, kept away from 0 and 1 by the exploration bound.

        q = αp + (1 − α)(1 − p) for a bit (InstaNAS), q = αp + (1 − α)(1 − p)/(O − 1) for one of O options: the same
        for O = 2. With α = 1, q = p.
        """
        parts = []
        for choice in self.space.choices:
            z = logits[:, self.space.slices[choice.name]]
            p = z.sigmoid() if choice.kind == "subset" else z.softmax(1)
            others = 1 if choice.kind == "subset" else len(choice.options) - 1
            parts.append(alpha * p + (1.0 - alpha) * (1.0 - p) / others if others else p)
        return torch.cat(parts, 1)

    def mode(self, logits: Tensor) -> Tensor:
        """The deterministic ("MAP") architecture: bits with p ≥ 0.5, the most probable option elsewhere. `[B, D]`"""
        return self.space.complete(self.raw_mode(logits))

    def raw_mode(self, logits: Tensor) -> Tensor:
        """`mode` before inactive choices are dropped and defaults filled in: cheap, and enough to tell rows apart."""
        logits = logits.detach().cpu()
        codes = logits >= 0  # σ(z) ≥ 0.5
        for choice in self._special:
            own, z = codes[:, self.space.slices[choice.name]], logits[:, self.space.slices[choice.name]]
            if choice.kind != "subset":
                own[:] = False
                own.scatter_(1, z.topk(choice.k, dim=1).indices, True)
            else:
                own |= ~own.any(1, keepdim=True) & (z == z.max(1, keepdim=True).values)
        return codes

    def sample(self, q: Tensor, generator: torch.Generator) -> Draw:
        """One architecture per row of probabilities `q` `[B, D]`; `log_prob` carries the gradient into q."""
        raw = torch.zeros(q.shape, dtype=torch.bool, device=q.device)
        scores: list[Tensor] = []
        for choice in self.space.choices:
            cut = self.space.slices[choice.name]
            own = _inside(q[:, cut])
            if choice.kind == "subset":
                # The generator lives on the CPU so that a seed draws the same on every device.
                bits = torch.rand(own.shape, generator=generator).to(own.device) < own.detach()
                scores.append(torch.where(bits, own.log(), (-own).log1p()).sum(1))
                if choice.empty is None:  # after the score: filling in is part of what a draw leads to
                    bits = bits | ~bits.any(1, keepdim=True) & (own == own.max(1, keepdim=True).values)
                raw[:, cut] = bits
            else:
                # Gumbel-top-k draws k without replacement, in Plackett–Luce order.
                noise = _inside(torch.rand(own.shape, generator=generator)).to(own.device)
                order = (own.detach().log() - (-noise.log()).log()).argsort(1, descending=True)
                raw[:, cut] = torch.zeros_like(raw[:, cut]).scatter_(1, order[:, : choice.k], True)
                ordered = own.gather(1, order)
                left = ordered.flip(1).cumsum(1).flip(1)  # of this one and all after it
                scores.append((ordered.log() - left.log())[:, : choice.k].sum(1))
        codes = self.space.complete(raw.cpu())
        active = self._active(codes).to(q.device)
        return Draw(codes, (torch.stack(scores, 1) * active).sum(1))

    def relax(self, q: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        """One architecture per row of probabilities `q` `[B, D]`, distributed as `sample` draws them, with a gradient
        into q: 0 and 1 forward, backward a concrete distribution (Maddison et al.; Jang et al., 2017).

        There a bit is σ((logit q + logistic noise)/T) and one of O options softmax((log q + Gumbel noise)/T); one of k
        positions is σ of how far its noisy log q lies above the best one left out, or below the last one taken, by T.

        Returns:
            `[B, D]`, of every choice what it would take were it active. An empty selection is filled in only where
            there is no default (`complete` knows the others).
        """
        parts = []
        for choice in self.space.choices:
            own = _inside(q[:, self.space.slices[choice.name]])
            if choice.kind == "subset":
                pairs = torch.stack([(-own).log1p(), own.log()], 2)
                z = straight_through(pairs, _noise(pairs, generator), temperature)[..., 1]
                if choice.empty is None:
                    likeliest = torch.zeros_like(own).scatter_(1, own.argmax(1, keepdim=True), 1.0)
                    z = z + likeliest * (1.0 - z).prod(1, keepdim=True)
            elif choice.k == 1:
                z = straight_through(own.log(), _noise(own, generator), temperature)
            else:
                z = _best(own.log() + _noise(own, generator), choice.k, temperature)
            parts.append(z)
        return torch.cat(parts, 1)

    def complete(self, bits: Tensor) -> Tensor:
        """`Space.complete` for bits that carry a gradient, 0 and 1, `[B, D]`: made of products and sums, so that each
        bit learns what it would change, also the default that it replaces and the choices that it opens."""
        parts = []
        for choice in self.space.choices:
            own = bits[:, self.space.slices[choice.name]]
            if choice.kind == "subset" and choice.empty in choice.options:
                default = torch.zeros_like(own[:1])
                default[:, choice.options.index(choice.empty)] = 1.0
                own = own + default * (1.0 - own).prod(1, keepdim=True)
            parts.append(own)
        filled = torch.cat(parts, 1)
        return filled * self._reach(filled, drawn=True)

    def information(self, q: Tensor) -> Tensor:
        """Mutual information between image and options, Σ_o [H(mean_x q_o) − mean_x H(q_o)]: 0 where all images of
        the batch share one distribution, and large only where each is decided and they differ. A scalar, nats.

        Args:
            q: `[B, D]`.
        """
        together = self._entropies(q.mean(0, keepdim=True), "bernoulli").sum()
        return together - self._entropies(q, "bernoulli").sum(1).mean()

    def entropy(self, q: Tensor, form: Entropy = "bernoulli") -> Tensor:
        """Σ over options, `[B]`; those of a conditional choice count as often as it is active. `half` is the released
        −Σ q log q, which lacks the (1 − q) log(1 − q) of a bit: its maximum lies at q = 1/e, so as a bonus it pushes
        every bit off."""
        return (self._entropies(q, form) * self._reach(q)).sum(1)

    def _entropies(self, q: Tensor, form: Entropy) -> Tensor:
        """Each option's part of the entropy of its choice, `[B, D]`."""
        q = _inside(q)
        h = -(q * q.log())
        if form == "bernoulli":
            h = h - torch.where(self._subset.to(q.device), (1.0 - q) * (-q).log1p(), torch.zeros_like(q))
        return h

    def _reach(self, q: Tensor, *, drawn: bool = False) -> Tensor:
        """How likely each column's choice is to be active, `[B, D]`; what stands behind an `inputs` choice counts as
        if it always were, unless q is what was drawn."""
        if all(choice.parent is None for choice in self.space.choices):
            return torch.ones_like(q)
        reached: dict[str | None, Tensor] = {None: torch.ones_like(q[:, 0])}
        kinds = {choice.name: choice.kind for choice in self.space.choices}
        for choice in self.space.choices:  # parents first
            reached[choice.name] = reached[choice.parent]
            if choice.parent is not None and (drawn or kinds[choice.parent] != "inputs"):
                options = self._options[choice.parent]
                opening = q[:, self.space.slices[choice.parent]][:, [options.index(option) for option in choice.when]]
                is_open = opening.sum(1) if kinds[choice.parent] == "op" else 1.0 - (1.0 - opening).prod(1)
                reached[choice.name] = reached[choice.parent] * is_open
        return torch.cat([reached[c.name][:, None].expand(-1, len(c.options)) for c in self.space.choices], 1)

    def _active(self, codes: Tensor) -> Tensor:
        """Which choices of each row are active, `[B, K]`."""
        columns = []
        for choice in self.space.choices:
            if choice.parent is None:
                columns.append(torch.ones(len(codes), dtype=torch.bool))
            else:  # codes are canonical: what an inactive parent would open is already off
                parent = codes[:, self.space.slices[choice.parent]]
                options = self._options[choice.parent]
                columns.append(parent[:, [options.index(option) for option in choice.when]].any(1))
        return torch.stack(columns, 1)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return gumbel_noise(tuple(like.shape), generator).to(like)


def _best(scores: Tensor, k: int, temperature: float) -> Tensor:
    """The k best of each row, straight-through: 0 and 1, `[B, O]`. Which of them is the very best makes no difference,
    so no gradient goes there."""
    if k == scores.shape[1]:
        return torch.ones_like(scores)
    ordered = scores.sort(1, descending=True).values
    last, next_best = ordered[:, k - 1 : k], ordered[:, k : k + 1]
    taken = scores >= last
    soft = ((scores - torch.where(taken, next_best, last)) / temperature).sigmoid()
    return taken.to(soft) + (soft - soft.detach())


def _inside(p: Tensor) -> Tensor:
    """Probabilities whose log, and that of 1 − p, are finite and have finite gradients (the released program's
    1e-15 is 0 beside 1 in single precision)."""
    return p.clamp(1e-15, 1.0 - torch.finfo(p.dtype).eps)
