"""Peak memory of activations, from the shapes of one traced pass.

A tensor lives from the operation that makes it to the last one that reads it: at any operation its inputs, its outputs
and whatever waits for later (the branch around a block, say) are alive. The peak is the most bytes alive at once, of
one image in float32, of the network as deployed: batch norm folded, weights not counted, in-place operations in place.
It is what a runtime that frees tensors as soon as it can must have; scratch space of its kernels is not in it.

The peak of an architecture is no sum but a maximum over its parts. Where what else is alive while an option runs is the
same in every architecture, each option has a peak of its own, and a limit is a yes or no for every option.
`D` code columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from archipel.architecture import Architecture
from archipel.choose import Select, Sum
from archipel.cost.attribution import attribute
from archipel.cost.complexity import on_meta
from archipel.nn.fold import fold_for_inference
from archipel.space import Space

__all__ = ["PeakActivations", "peak_activation_bytes", "peak_activations"]


@dataclass(frozen=True, eq=False)
class PeakActivations:
    """Peak activation bytes of every architecture of a space, as a maximum over its code."""

    space: Space = field(repr=False)
    base: int
    """Of everything outside the choices."""
    columns: Tensor = field(repr=False)
    """`[D]`, int64: while the option runs."""

    def of(self, architecture: Architecture | Mapping[str, Any]) -> int:
        """Bytes of one architecture."""
        chosen = self.columns[self.space.encode(self.space.canonical(architecture))]
        return max([self.base, *chosen.tolist()])

    def allowed(self, limit: float) -> Tensor:
        """`[D]`, bool: an architecture stays within `limit` bytes exactly if all its options are allowed. None is where
        the base alone is above it."""
        return (self.columns <= limit) & (self.base <= limit)


def peak_activation_bytes(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """The most bytes of activations alive at once in one pass of one image.

    Args:
        input_shape: `[C, H, W]`.
    """
    return max((alive for _, alive in _alive(module, input_shape)), default=4 * math.prod(input_shape))


def peak_activations(space: Space, input_shape: tuple[int, ...]) -> PeakActivations:
    """The peak of every option of a space, exactly, for limits that no architecture may exceed.

    Args:
        input_shape: `[C, H, W]`.

    Raises:
        TableError: what is alive while some option runs depends on other choices (`subset` and `inputs` choices add up
            several outputs), or options change the size of what follows, or the space has `value` choices.
    """
    held = attribute(space, lambda child: _alive(child, input_shape), "peak activations")
    base, *columns = (max(parts, default=0) for parts in (held.base, *held.columns))
    return PeakActivations(space, base, torch.tensor(columns, dtype=torch.int64))


class _Watch(TorchDispatchMode):
    """Notes which memory every operation reads and writes, and in which module it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.operations: list[tuple[str, set[int]]] = []
        self.storages: dict[int, Any] = {}
        """Held, so that no two have one identity."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        touched = {self.identity(leaf) for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, Tensor)}
        self.operations.append((self.running[-1], touched))
        return output

    def leave(self) -> None:
        self.running.pop()

    def identity(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        return self.storages.setdefault(storage._cdata, storage)._cdata


def _alive(module: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[str, int]]:
    """(module path, bytes of activations alive) of every operation of one pass, in order.

    What a module with one child does around it (a shortcut) is said to happen in the child.
    """
    net = on_meta(fold_for_inference(module))
    watch = _Watch()
    for path, part in net.named_modules():
        place = _innermost(path, part)
        part.register_forward_pre_hook(lambda *_, place=place: watch.running.append(place))
        part.register_forward_hook(lambda *_: watch.leave())
    image = torch.empty(1, *input_shape, device="meta")
    weights = {watch.identity(tensor) for tensor in (*net.parameters(), *net.buffers())}
    with torch.no_grad(), watch:
        output = net(image)
    first: dict[int, int] = {watch.identity(image): 0}
    last: dict[int, int] = {}
    for i, (_, touched) in enumerate(watch.operations):
        for storage in touched - weights:
            first.setdefault(storage, i)
            last[storage] = i
    last |= {watch.identity(leaf): len(watch.operations) for leaf in tree_leaves(output) if isinstance(leaf, Tensor)}
    changes = [0] * (len(watch.operations) + 2)
    for storage, end in last.items():
        if storage in first:
            size = watch.storages[storage].nbytes()
            changes[first[storage]] += size
            changes[end + 1] -= size
    return [(path, alive) for (path, _), alive in zip(watch.operations, itertools.accumulate(changes))]


def _innermost(path: str, module: nn.Module) -> str:
    children = list(module.named_children())
    while len(children) == 1 and not isinstance(module, Sum | Select):
        name, module = children[0]
        path = f"{path}.{name}".lstrip(".")
        children = list(module.named_children())
    return path
