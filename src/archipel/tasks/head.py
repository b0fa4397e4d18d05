"""What a classification task puts behind a body: global average pooling and a linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from archipel.errors import SpaceError

__all__ = ["PooledLinear"]


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
