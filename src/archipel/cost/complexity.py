"""What a network costs on any device: parameters, and multiply-adds of one image.

MAdds here are multiplications-and-additions of convolutions and matrix products for one image. Batch norm,
activations, pooling, element-wise sums and biases are not counted. Counted by running the network on
the `meta` device, so no memory is touched and no closed form can go stale.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["LayerRow", "layers", "madds", "on_meta", "parameters"]


@dataclass(frozen=True)
class LayerRow:
    """One module that computes something itself."""

    path: str
    kind: str
    output_shape: tuple[int, ...]
    """Without the batch dimension; of the last output when the module ran several times."""
    parameters: int
    madds: int
    activations: int
    """Numbers that it puts out for one image, over all its runs, where it multiplies by itself; 0 where it does not."""


def parameters(module: nn.Module) -> int:
    """Learned numbers in `module`; a tensor that stands in several places counts once."""
    return sum(tensor.numel() for tensor in module.parameters())


def madds(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one image of `input_shape` (`[C, H, W]`, no batch) in evaluation mode."""
    ghost = on_meta(module, shapes_only=True)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(torch.empty(1, *input_shape, device="meta"))
    return counter.get_total_flops() // 2


def layers(module: nn.Module, input_shape: tuple[int, ...]) -> list[LayerRow]:
    """The modules that compute something themselves, in the order they first run.

    Rows are modules without children, and others that hold parameters or multiply by themselves. Their
    `madds` and `parameters` add up to those of the whole network, and their `activations` are its activations as
    Radosavovic et al. count them (Designing network design spaces, CVPR 2020): outputs of convolutions and products.
    """
    ghost = on_meta(module, shapes_only=True)
    names = {id(part): name for name, part in ghost.named_modules()}
    own: dict[str, int] = {}
    written: Counter[str] = Counter()
    shapes: dict[str, tuple[int, ...]] = {}
    seen: set[int] = set()
    inside: list[int] = []  # of each module now running: its flops less what ran before it and inside it
    counter = FlopCounterMode(display=False)

    def enter(part: nn.Module, _: Any) -> None:
        own.setdefault(names[id(part)], 0)
        inside.append(-counter.get_total_flops())

    def leave(part: nn.Module, _: Any, output: Any) -> None:
        exclusive = counter.get_total_flops() + inside.pop()
        own[names[id(part)]] += exclusive
        # Whatever ran inside this module is no longer exclusive to the modules around it.
        for depth in range(len(inside)):
            inside[depth] -= exclusive
        if isinstance(output, Tensor):
            shapes[names[id(part)]] = tuple(output.shape[1:])
            if exclusive:
                written[names[id(part)]] += output[0].numel()

    for part in ghost.modules():
        part.register_forward_pre_hook(enter)
        part.register_forward_hook(leave)
    with counter, torch.no_grad():
        ghost(torch.empty(1, *input_shape, device="meta"))

    rows = []
    for path, flops in own.items():
        part = ghost.get_submodule(path)
        new = [p for p in part.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in new)
        held = sum(p.numel() for p in new)
        if flops or held or not any(part.children()):
            shape = shapes.get(path, ())
            rows.append(LayerRow(path, type(part).__name__, shape, held, flops // 2, written[path]))
    return rows


_KEEPS_SHAPE = frozenset({nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Dropout})


def on_meta(module: nn.Module, *, shapes_only: bool = False) -> nn.Module:
    """An evaluation-mode copy whose tensors have shapes and no memory.

    Args:
        shapes_only: layers that keep the shape and multiply nothing are not run, which makes a pass three times as
            fast.
    """
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        ghost = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(ghost, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else ghost
    copied = copy.deepcopy(module, memo).eval()
    if shapes_only:
        for part in copied.modules():
            if type(part) in _KEEPS_SHAPE:
                part.forward = _same
    return copied


def _same(x: Tensor) -> Tensor:
    return x
