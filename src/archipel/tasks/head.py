"""What a classification task puts behind a body: global average pooling and a linear layer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from archipel.errors import SpaceError
from archipel.space import Space
from archipel.tasks.task import TaskSpec

__all__ = ["PooledLinear", "space_for"]


class PooledLinear(nn.Module):
    """linear(mean over `H` and `W` of body(x)): `[B, C, H, W]` to `[B, classes]`.

    Raises `SpaceError` when built of a body without `out_channels`, and when the body's map has another shape.
    """

    def __init__(self, body: nn.Module, classes: int, *, name: str | None = None) -> None:
        super().__init__()
        self.name = name or type(body).__name__
        channels = getattr(body, "out_channels", None)
        if not isinstance(channels, int):
            raise SpaceError(
                f"{self.name} has neither a parameter `classes` nor a body with `out_channels` (found {channels!r}); "
                "take `classes` and return [B, classes], or set `out_channels` and return [B, out_channels, H, W]"
            )
        self.body = body
        self.linear = nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(inputs)  # [B, C, H, W]
        if features.dim() != 4 or features.shape[1] != self.linear.in_features:
            raise SpaceError(
                f"the body of {self.name} gives {list(features.shape)}; its out_channels="
                f"{self.linear.in_features} promises [B, {self.linear.in_features}, H, W]"
            )
        return self.linear(features.mean((2, 3)))  # [B, classes]


def space_for(spec: TaskSpec, fn: Callable[..., nn.Module], **options: Any) -> Space:
    """`Space(fn)` with a task's `classes`, `channels` and `size` wherever `fn` has such a parameter and `options` do
    not say otherwise; a body without a parameter `classes` gets a head.

    Raises:
        SpaceError: neither a parameter `classes` nor a body with `out_channels`.
    """
    channels, size, _ = spec.input_shape
    offered = {"classes": len(spec.classes), "channels": channels, "size": size}
    parameters = inspect.signature(fn).parameters
    options = {name: value for name, value in offered.items() if name in parameters} | options
    if "classes" in parameters:
        return Space(fn, **options)

    @functools.wraps(fn)
    def with_head(choose: Any, **chosen: Any) -> nn.Module:
        body = fn(choose, **chosen)
        if not isinstance(body, nn.Module):
            return body  # for `Space` to complain of, as of any function that returns no module
        return PooledLinear(body, len(spec.classes), name=getattr(fn, "__name__", None))

    return Space(with_head, **options)
