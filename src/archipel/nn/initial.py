"""Initial weights that a paper asks for; where nothing is said, torch's own stay."""

from __future__ import annotations

from torch import nn

__all__ = ["he_fan_out"]


def he_fan_out(network: nn.Module) -> nn.Module:
    """`network` with convolutions drawn from N(0, 2 / fan_out) and no bias in its linear layers (He et al., 2015).

    The fan of a grouped convolution is k² · c_out, its groups ignored, as ProxylessNAS was released. Batch norm stays
    at scale 1 and shift 0, linear weights uniform within ±1/√fan_in: torch's own.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:  # to draw nothing costs torch milliseconds there
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    return network
