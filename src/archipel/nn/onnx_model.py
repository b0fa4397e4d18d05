"""A network as an ONNX model, written without the exporter's chatter."""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["onnx_model"]


def onnx_model(network: nn.Module, inputs: tuple[Tensor, ...], **options: Any) -> Any:
    """What `torch.onnx.export` makes of an evaluation-mode network for `inputs`: an `onnx.ModelProto` with its weights
    inside.

    Args:
        options: further ones of `torch.onnx.export` (`dynamic_shapes`, `optimize`, names).

    Raises:
        Exception: what the exporter or the network raises; `ImportError` without the packages of `archipel[export]`.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    with contextlib.ExitStack() as quietly:
        quietly.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of the exporter's own parts, and that torchvision is absent
        for logger in loggers:
            quietly.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        program = torch.onnx.export(network, inputs, dynamo=True, external_data=False, verbose=False, **options)
    assert program is not None
    return program.model_proto
