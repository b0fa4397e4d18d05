"""Exported networks in 8 bits: weights and maps quantised by what real images make of them (Jacob et al., 2018)."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from archipel.deploy.export import Feed, by_turns, one_by_one, session_of
from archipel.run.atomic import replace

__all__ = ["Quantised", "quantise"]

CALIBRATION = 128
"""Images by which the ranges of maps are found; none of them counts for the accuracy."""


@dataclass(frozen=True)
class Quantised:
    """A network in 8 bits beside what it was."""

    path: Path
    bytes: int
    accuracy: float
    full_accuracy: float
    """Of the file before."""
    images: int
    """On which both were judged."""
    ms: float
    """Milliseconds an image, one at a time on one thread, in ONNX Runtime."""
    full_ms: float
    """Of the file before, by turns with it."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}


def quantise(source: Path, path: Path, images: Tensor, labels: Tensor) -> Quantised:
    """Write what `export_onnx` wrote once more, weights (by output channel) and maps in 8 bits.

    Args:
        images: `[N, C, H, W]`, normalised; the first quarter of them, at most 128, calibrate, the others judge.
        labels: `[N]`.

    Raises:
        StorageError: the disk is full.
    """
    from onnxruntime import quantization

    count = min(CALIBRATION, max(1, len(images) // 4))
    calibrating, judging = images[:count].numpy(), images[count:].numpy()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        written = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            str(source),
            str(written),
            _Reader([{"images": calibrating[i : i + 16]} for i in range(0, count, 16)]),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
        )
        content = written.read_bytes()
    sessions = {"full": session_of(source), "int8": session_of(content)}
    right = {}
    for name, session in sessions.items():
        (scores,) = session.run(["scores"], {"images": judging})
        right[name] = float((scores.argmax(1) == labels[count:].numpy()).mean())
    calls = {name: partial(session.run, None) for name, session in sessions.items()}
    times = by_turns(calls, one_by_one({"images": judging}))
    replace(path, content)
    return Quantised(path, len(content), right["int8"], right["full"], len(judging), times["int8"], times["full"])


class _Reader:
    """Feeds one after the other, as the quantiser asks for them."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the advice to simplify the network first, which brings no speed here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
