"""When two modules cost the same: a digest of what they compute, whatever their weights hold."""

from __future__ import annotations

import enum
import functools
import hashlib
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["structure_of"]

_TORCHS_OWN = frozenset(vars(nn.Module()))
_PLAIN = (int, float, complex, str, bytes, type(None), torch.dtype, torch.device, enum.Enum)


def structure_of(module: nn.Module) -> str:
    """Twelve hexadecimal digits: equal for modules of the same classes, settings, and shapes of weights, all the way
    down.

    Settings are the attributes that a module's `__init__` left on it: plain values and collections of them, functions
    with what they close over, objects with their own attributes. What can be none of these is taken to be different
    in every module, so that no two are mistaken for each other.
    """
    return hashlib.sha256(repr(_described(module)).encode()).hexdigest()[:12]


def _described(module: nn.Module) -> tuple[Any, ...]:
    tensors = {**module._parameters, **module._buffers}
    return (
        f"{type(module).__module__}.{type(module).__qualname__}",
        [(name, None if t is None else (tuple(t.shape), str(t.dtype))) for name, t in sorted(tensors.items())],
        [(name, _setting(value)) for name, value in sorted(vars(module).items()) if name not in _TORCHS_OWN],
        [(name, None if child is None else _described(child)) for name, child in module._modules.items()],
    )


def _setting(value: Any, around: tuple[int, ...] = ()) -> Any:
    """`around`: identities of the objects that this one is inside of."""
    if isinstance(value, _PLAIN):
        return str(value)
    if isinstance(value, torch.Tensor):
        return f"tensor {tuple(value.shape)} {value.dtype}"
    if isinstance(value, type) or id(value) in around:
        return f"type {getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    inside = (*around, id(value))
    if isinstance(value, Mapping):
        return [(str(key), _setting(member, inside)) for key, member in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        members = [_setting(member, inside) for member in value]
        return members if isinstance(value, list | tuple) else sorted(map(repr, members))
    if isinstance(value, functools.partial):
        return ["partial", *(_setting(part, inside) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.FunctionType):
        code, cells = value.__code__, [cell.cell_contents for cell in value.__closure__ or ()]
        name = f"{value.__module__}.{value.__qualname__}:{code.co_firstlineno}"
        return [name, *(_setting(part, inside) for part in (cells, value.__defaults__, value.__kwdefaults__))]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, types.BuiltinFunctionType):
        return f"{kind} {value.__qualname__}"
    if hasattr(value, "__dict__"):
        return [kind, _setting(vars(value), inside)]
    return f"{kind} {id(value)}"
