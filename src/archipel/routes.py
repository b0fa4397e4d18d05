"""How one batch flows through a meta-graph: what a caller asks for, and what the choices follow while it flows.

Letters: `B` batch, `D` code columns of the space, `O` options of a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError
from archipel.rows import Rows

__all__ = ["Gated", "Mixture", "PerInstance", "Route", "Single", "Slices", "Staged", "current_numbers"]


@dataclass(frozen=True)
class Single:
    """The whole batch through one child: one option per choice runs, nothing else is computed or remembered."""

    architecture: Architecture


@dataclass(frozen=True)
class Mixture:
    """Every choice in `weights` gives Σ_o w_o f_o(x) over the options with w_o ≠ 0 (DARTS, SNAS, FBNet);
    an averaging subset divides it by their number.

    Where every weight of a subset is 0 it runs what it runs when empty.

    Args:
        weights: choice name → `[O]`; gradients flow into it.
        architecture: what the other choices are set to (every active `value` choice must be here).
    """

    weights: Mapping[str, Tensor]
    architecture: Architecture = field(default_factory=Architecture)


@dataclass(frozen=True)
class PerInstance:
    """Every sample through its own child: at each choice the batch is gathered by option, each option runs once
    on its rows, and the results are scattered back.

    In evaluation mode this equals running each sample alone. In training mode batch norm sees, in each option,
    the rows that chose it and no others; a lone row whose map has shrunk to 1×1 leaves it nothing to normalise by,
    which is an `ArchitectureError`.

    Args:
        architectures: codes `[B, D]` (bool) as `Space.encode` writes them, or one `Architecture` a sample.
    """

    architectures: Tensor | Sequence[Architecture]
    masked: bool = False
    """Nothing is gathered: what any sample takes runs on all of them, times 0 or 1 (for evaluation: a static union's
    work, with each sample's own output)."""


@dataclass(frozen=True)
class Gated:
    """The whole batch through one child, as `Single`, bit for bit; and in the backward pass the gates of its `op`
    choices learn what every other option would have done: `gates[c]` gets u_o = ⟨f_o(x), ∂L/∂m⟩ as its gradient,
    m what the choice gives, summed over batch, channels and space in float32 at least (binary gates of ProxylessNAS,
    Cai et al., ICLR 2019, §3.2; eq. 4 makes the gradient of the architecture parameters from it).

    Running statistics and all other buffers of the options that are only looked at stay as they are, and their
    dropout draws nothing that the child would have drawn. An option that computes nothing (`nn.blocks.Zero`) is not
    run.

    Args:
        architecture: what runs. It may also set choices that are not active: those that stand in an observed option
            take these values when it is looked at.
        gates: choice name → `[O]`, a leaf that requires a gradient; its values are not read.
        observed: choice name → the options whose u is wanted, all of them where a choice is not named; the others
            get 0.
        recompute: look at options in the backward pass, one at a time (the released `full_v2`): one path's memory,
            and no weight of an option gets a gradient. Otherwise in the forward pass, keeping every output (`full`).
    """

    architecture: Architecture
    gates: Mapping[str, Tensor]
    observed: Mapping[str, tuple[Any, ...]] | None = None
    recompute: bool = True


@dataclass(frozen=True)
class Staged:
    """Every choice is decided when the batch reaches it, sample by sample, from what reaches it (ConvNet-AIG,
    SkipNet): later decisions see deeper features.

    A decision without a gradient is routed as `PerInstance` routes it: no option runs for a sample that did not take
    it. One that requires a gradient is multiplied: every option runs on every sample, y = Σ_o z_o f_o(x), so that a
    straight-through gate also learns what an option that it left out would have done. Both give the same outputs,
    except that batch norm in training mode sees in an option the samples that it runs for. A `decide` that ignores what
    it is given hands out codes that were known before and carry a gradient.

    Args:
        decide: (choice name, its input `[B, ...]`) → which options each sample takes, `[B, O]` of zeros and ones.
            Asked once at each place of a choice, in the order of the network; inside an option, for the samples that
            took it alone.
    """

    decide: Callable[[str, Tensor], Tensor]


Route: TypeAlias = Single | Mixture | PerInstance | Gated | Staged


@dataclass(frozen=True)
class Mixed:
    """A `Mixture` route while it is being followed; `on` says which options of a weighed choice run."""

    weights: Mapping[str, Tensor]
    on: Mapping[str, list[bool]]
    architecture: Mapping[str, Any]


@dataclass(frozen=True)
class Gating:
    """A `Gated` route while it is being followed; `observed` says it of every choice that has gates."""

    architecture: Architecture
    gates: Mapping[str, Tensor]
    observed: Mapping[str, frozenset[str]]
    recompute: bool


Following: TypeAlias = Single | Mixed | Rows | Gating | Staged

# Set only while `MetaGraph.forward` runs (and while `Gated` looks at an option), per thread and per call, and never
# outside: it is how the route reaches choices that stand inside a user's own modules, whose `forward` takes no route.
_following: ContextVar[Following] = ContextVar("route")


@contextmanager
def follow(route: Following) -> Iterator[None]:
    token = _following.set(route)
    try:
        yield
    finally:
        _following.reset(token)


def current(choice: str) -> Following:
    """The route of the forward pass under way.

    Raises:
        ArchitectureError: there is none.
    """
    try:
        return _following.get()
    except LookupError:
        raise ArchitectureError(
            f"choice '{choice}' is run without a route; call the meta-graph itself: graph(x, route)"
        ) from None


def current_numbers(choice: str) -> Mapping[str, Any]:
    """What the `value` choices are set to in the forward pass under way (for elastic layers)."""
    route = current(choice)
    if isinstance(route, Staged):
        return {}  # no space with `value` choices is given such a route
    return route.numbers if isinstance(route, Rows) else route.architecture


class Slices(nn.Module):
    """A layer with elastic sizes: it holds the weights of the largest, and runs any smaller one."""

    def numbers(self, assignment: Mapping[str, Any]) -> dict[str, Any]:
        """Its sizes under an assignment of the `value` choices."""
        raise NotImplementedError

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        """Its parameters and buffers cut to those sizes, named as in the plain layer."""
        raise NotImplementedError
