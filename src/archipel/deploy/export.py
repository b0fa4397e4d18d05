"""One plain network as an ONNX file, compared with PyTorch before it is called done."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archipel.errors import OptionError, RunError
from archipel.nn.fold import fold_batch_norm
from archipel.nn.onnx_model import onnx_model
from archipel.run.atomic import replace

__all__ = ["Exported", "export_onnx"]

_INPUT, _OUTPUT = "images", "scores"
_TOLERANCE = 1e-3
"""Largest accepted difference, as a share of how far the outputs of one batch lie apart."""


@dataclass(frozen=True)
class Exported:
    """A written file and how well it agrees with PyTorch."""

    path: Path
    bytes: int
    nodes: int
    """Operations in the graph."""
    images: int
    """How many it was compared on."""
    largest_difference: float
    """Of any output on them, in the outputs' own unit."""
    spread: float
    """Standard deviation of the outputs over those images: what a difference is small or large against."""
    same_answers: float
    """Share of the images whose largest output is the same."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}


def export_onnx(
    network: nn.Module,
    path: Path,
    *,
    input_shape: tuple[int, int, int],
    images: Sequence[Tensor] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Exported:
    """Write `network` as `path`: input `images` `[B, C, H, W]` of any batch size, output `scores` `[B, classes]`.

    The file is compared with the network in ONNX Runtime, on random inputs in batches of one, two and seven and on
    `images`; only then does it take its place.

    Args:
        network: a plain module; it is copied, not changed. Batch norm is folded where a convolution is before it.
        input_shape: `(C, H, W)`.
        images: further batches to compare on, such as real ones, normalised as in training.
        metadata: kept in the file, each entry as JSON.

    Raises:
        OptionError: the packages of `archipel[export]` are not installed.
        RunError: the network cannot be exported, or the file gives other answers.
        StorageError: the disk is full.
    """
    with _needs_extra():
        import onnx  # noqa: F401 - torch writes with these two
        import onnxruntime
        import onnxscript  # noqa: F401
    plain = fold_batch_norm(network).cpu().float()
    rng = torch.Generator().manual_seed(0)
    batches = [torch.randn(n, *input_shape, generator=rng) for n in (7, 1, 2)]
    model = _model(plain, batches[0])
    for node in model.graph.node:  # where in whose source it came from, half of the file for a network of many layers
        node.ClearField("metadata_props")
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=f"archipel.{key}", value=json.dumps(value))
    content = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batches += [batch.cpu().float() for batch in images]
    theirs = torch.cat([torch.from_numpy(session.run([_OUTPUT], {_INPUT: b.numpy()})[0]) for b in batches])
    with torch.no_grad():
        ours = torch.cat([plain(batch) for batch in batches])
    found = Exported(
        path,
        len(content),
        len(model.graph.node),
        len(ours),
        float((ours - theirs).abs().max()),
        float(ours.std(0).mean()),
        float((ours.argmax(1) == theirs.argmax(1)).float().mean()),
    )
    if not found.largest_difference <= _TOLERANCE * max(found.spread, float(ours.abs().max()) * 1e-3):
        raise RunError(
            f"the exported network differs from PyTorch's by {found.largest_difference:.2g} where outputs spread by "
            f"{found.spread:.2g}; nothing was written to {path}"
        )
    replace(path, content)
    return found


def _model(network: nn.Module, example: Tensor) -> Any:
    """The ONNX model of a network for batches of any size."""
    try:
        return onnx_model(
            network,
            (example,),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            optimize=False,  # folding is done, and what else can be simplified runtimes simplify when they load it
        )
    except (RuntimeError, TypeError, ValueError) as error:
        cause = error.__cause__ or error  # the exporter's own message is a page of advice
        said = (str(cause).strip().splitlines() or [""])[0]
        raise RunError(f"the network cannot be exported to ONNX: {said}") from error


@contextlib.contextmanager
def _needs_extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise OptionError(
            f"exporting needs {error.name}, which is not installed; run: pip install 'archipel[export]'"
        ) from error
