"""When two modules compute the same of their weights, so that what is known of one holds for the other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["likeness"]

_EVERY = frozenset(vars(nn.Module())) - {"training"}
"""Attributes that every module has: its tensors and children, which are looked at apart, and hooks."""
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.memory_format)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def likeness(module: nn.Module) -> Hashable:
    """Equal for modules of equal classes and attributes, whose parameters and buffers have equal names, shapes and
    ties, whatever the numbers in them.

    An attribute that is neither plain nor made of plain values counts by identity; it is kept alive by what is given.
    """
    return _Reader().module(module)


class _Same:
    """Equal to itself alone."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class _Reader:
    """Numbers modules and tensors in the order in which they are met: what stands in two places has one number."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def module(self, module: nn.Module) -> Hashable:
        if id(module) in self._seen:
            return self._number(module)
        own = vars(module)
        return (
            type(module),
            self._number(module),
            self._mapping({name: value for name, value in own.items() if name not in _EVERY}),
            tuple(_Same(hook) for kind in _HOOKS for hook in own[kind].values()),
            tuple((name, self._tensor(x)) for kind in ("_parameters", "_buffers") for name, x in own[kind].items()),
            tuple((name, self.value(child)) for name, child in own["_modules"].items()),
        )

    def value(self, value: Any) -> Hashable:
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):  # no parameter and no buffer: a constant
            return self._tensor(value), tuple(value.detach().flatten().tolist())
        if isinstance(value, _PLAIN):
            return type(value), value
        if isinstance(value, tuple | list):
            return type(value), tuple(map(self.value, value))
        if isinstance(value, Mapping):
            return type(value), self._mapping(value)
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            return value
        return _Same(value)

    def _mapping(self, values: Mapping[Any, Any]) -> Hashable:
        return tuple((self.value(key), self.value(value)) for key, value in values.items())

    def _tensor(self, tensor: Tensor | None) -> Hashable:
        return None if tensor is None else (self._number(tensor), tuple(tensor.shape), tensor.dtype)

    def _number(self, value: object) -> int:
        return self._seen.setdefault(id(value), len(self._seen))
