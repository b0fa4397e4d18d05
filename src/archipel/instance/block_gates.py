"""A gate for every block, each deciding from what reaches it (ConvNet-AIG): decisions on the way through a meta-graph.

Letters: `B` batch, `D` code columns of the space, `O` options of a choice.
"""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from archipel.choose import Place
from archipel.errors import OptionError, did_you_mean
from archipel.instance.gumbel import BlockGate, gumbel_noise, straight_through
from archipel.metagraph import MetaGraph, Staged
from archipel.nn.fold import fold_for_inference
from archipel.space import Space
from archipel.staging import learns

__all__ = ["BlockGates", "Decisions", "GatedNetwork", "require_bits"]


def require_bits(space: Space, method: str) -> None:
    """Whether every choice of a space is a set of options of its own, each on or off for every image.

    Raises:
        OptionError: one is not.
    """
    for choice in space.choices:
        if choice.kind != "subset" or choice.parent is not None:
            what = choice.kind if choice.kind != "subset" else f"subset inside '{choice.parent}'"
            raise OptionError(
                f"{method} switches blocks on and off, and choice '{choice.name}' of space '{space.name}' is "
                f"{'an' if what[0] in 'aeiou' else 'a'} {what}; use a space of subsets such as resnet_flat"
            )
    if not space.choices:
        raise OptionError(f"{method} leaves blocks out, and space '{space.name}' has none that may be; use resnet_flat")


class BlockGates(nn.Module):
    """One `BlockGate` a choice of a space of subsets.

    Args:
        graph: whose choices they decide; it is not part of this module.
        input_shape: `[C, H, W]` of an image.
        forced: names of choices whose options are always on; they have no gate.

    Raises:
        OptionError: a choice is no subset of its own, `forced` names none, or nothing is left to decide.
    """

    def __init__(
        self, graph: MetaGraph, *, input_shape: tuple[int, int, int], forced: Collection[str] = (), hidden: int = 16
    ) -> None:
        super().__init__()
        require_bits(graph.space, "a gate")
        self.space = graph.space
        self.forced = frozenset(forced)
        self.shapes = _shapes_at_choices(graph, input_shape)
        """Choice name → `[C, H, W]` of what reaches it."""
        own = [choice for choice in self.space.choices if choice.name not in self.forced]
        for name in self.forced:
            if name not in self.shapes:
                raise OptionError(f"space '{self.space.name}' has no choice '{name}'{did_you_mean(name, self.shapes)}")
        if not own:
            raise OptionError(f"every choice of space '{self.space.name}' always runs; leave one for a gate to decide")
        self._places = {choice.name: place for place, choice in enumerate(own)}  # names may hold dots
        self.gates = nn.ModuleList(
            BlockGate(self.shapes[choice.name][0], len(choice.options), hidden=hidden) for choice in own
        )

    def logits(self, name: str, x: Tensor) -> Tensor | None:
        """Of closed and open for what reaches a choice, `[B, O, 2]`; None where it is forced."""
        if name in self.forced:
            return None
        logits: Tensor = self.gates[self._places[name]](x)
        return logits

    def decisions(self, generator: torch.Generator | None = None) -> Decisions:
        """For one forward pass: sampled with Gumbel noise, or without a generator whatever is more probable."""
        return Decisions(self, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Every gate once on empty maps of its own shape, for as many images as `x` has: what deciding takes.

        Returns:
            Open logits less closed ones, `[B, D']` of the choices that have a gate.
        """
        differences = [
            self.gates[place](x.new_zeros(()).expand(len(x), *self.shapes[name])).diff(dim=2)[..., 0]
            for name, place in self._places.items()
        ]
        return torch.cat(differences, 1)


class Decisions:
    """What gates decide in one forward pass, noted as it is decided; `route` is followed once."""

    def __init__(self, gates: BlockGates, generator: torch.Generator | None) -> None:
        self.gates = gates
        self.generator = generator
        self._taken: dict[str, Tensor] = {}
        self._logits: dict[str, Tensor] = {}

    @property
    def route(self) -> Staged:
        return Staged(self._decide)

    def _decide(self, name: str, x: Tensor) -> Tensor:
        if name in self._taken:
            raise OptionError(f"choice '{name}' stands in several places; a gate decides about one")
        logits = self.gates.logits(name, x)
        if logits is None:
            columns = self.gates.space.slices[name]
            taken = x.new_ones(len(x), columns.stop - columns.start)
        else:
            self._logits[name] = logits.detach()
            noise = None
            if self.generator is not None:
                noise = gumbel_noise(tuple(logits.shape), self.generator).to(logits)
            if noise is None and not learns(logits):
                taken = (logits[..., 1] > logits[..., 0]).to(logits)  # the same, at a fraction of the time
            else:
                taken = straight_through(logits, noise)[..., 1]
        self._taken[name] = taken
        return taken

    def bits(self) -> Tensor:
        """What was decided, `[B, D]`, 0 and 1, with its gradient."""
        return torch.cat([self._taken[choice.name] for choice in self.gates.space.choices], 1)

    def codes(self) -> Tensor:
        """What ran, canonical codes `[B, D]`, bool: an empty selection with a default is that default."""
        return self.gates.space.complete(self.bits().detach().cpu() != 0)

    def probabilities(self) -> Tensor:
        """How likely each option was to run, `[B, D]`."""
        found = []
        for choice in self.gates.space.choices:
            logits = self._logits.get(choice.name)
            found.append(self._taken[choice.name] if logits is None else logits.softmax(2)[..., 1])
        return torch.cat(found, 1)


class GatedNetwork(nn.Module):
    """y = G(x; z(x)): each image through the blocks whose gates open for it, nothing else computed.

    For inference: batch norm is folded.

    Args:
        generator: keeps the noise at inference, as released; None, the default, takes what is more probable.
    """

    def __init__(self, graph: MetaGraph, gates: BlockGates, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.space = graph.space
        self.graph = fold_for_inference(graph)
        self.gates = fold_for_inference(gates)
        self.generator = generator
        self.eval()

    @torch.no_grad()
    def decided(self, inputs: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Decisions]:
        """Scores `[B, classes]`, and what was decided: sampled with a generator, else what is more probable."""
        assert isinstance(self.gates, BlockGates)
        decisions = self.gates.decisions(generator)
        return self.graph(inputs, decisions.route), decisions

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` → `[B, classes]`."""
        return self.decided(inputs, self.generator)[0]


@torch.no_grad()
def _shapes_at_choices(graph: MetaGraph, input_shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    ghost, space = copy.deepcopy(graph).to("meta").eval(), graph.space
    shapes: dict[str, tuple[int, ...]] = {}

    def note(place: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(place, Place)
        shapes[place.choice.name] = tuple(inputs[0].shape[1:])

    for module in ghost.modules():
        if isinstance(module, Place):
            module.register_forward_pre_hook(note)
    everything = space.canonical({choice.name: choice.options for choice in space.choices})
    ghost(torch.empty(1, *input_shape, device="meta"), everything)
    return shapes
