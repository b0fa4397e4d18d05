"""Networks as ONNX files, each compared with PyTorch before it is called done."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from archipel.cost import Device
from archipel.cost.measure import measure
from archipel.errors import ArchipelError, OptionError, RunError
from archipel.nn.fold import fold_for_inference
from archipel.nn.onnx_model import onnx_model
from archipel.run import atomic

__all__ = [
    "Exported",
    "Feed",
    "by_turns",
    "compared",
    "export_onnx",
    "kept",
    "needs_extra",
    "noise",
    "one_by_one",
    "said",
    "session_of",
]

_INPUT, _OUTPUT = "images", "scores"
_TOLERANCE = 1e-3
"""Largest accepted difference, as a share of how far the outputs of one batch lie apart."""
_DECIDED = 0.99
"""Least share of the images for which both decide alike: an image at a threshold may fall to either side of it."""
_TIMED, _ROUNDS = 16, 20
"""Images that are timed, one at a time, and how often."""

Feed: TypeAlias = dict[str, np.ndarray]
"""Inputs by name."""


@dataclass(frozen=True)
class Exported:
    """A written file and how well it agrees with PyTorch."""

    path: Path
    bytes: int
    nodes: int
    """Operations in the graph, those inside branches included."""
    images: int
    """How many it was compared on."""
    largest_difference: float
    """Of any output on them, in the outputs' own unit, where both decided alike."""
    spread: float
    """Standard deviation of the outputs over those images: what a difference is small or large against."""
    same_answers: float
    """Share of the images whose largest output is the same."""
    same_decisions: float | None = None
    """Of a graph that decides: share of the images for which it decides as PyTorch does."""
    ms: float | None = None
    """Milliseconds an image, one at a time on one thread, of the file in ONNX Runtime."""
    pytorch_ms: float | None = None
    """The same of the network in PyTorch, by turns with it."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}


def export_onnx(
    network: nn.Module,
    path: Path,
    *,
    input_shape: tuple[int, int, int],
    images: Sequence[Tensor] = (),
    metadata: Mapping[str, Any] | None = None,
    timed: bool = True,
) -> Exported:
    """Write `network` as `path`: input `images` `[B, C, H, W]` of any batch size, output `scores` `[B, classes]`.

    The file is compared with the network in ONNX Runtime, on random inputs in batches of one, two and seven and on
    `images`; only then does it take its place.

    Args:
        network: a plain module; it is copied, not changed. Batch norm is folded where a convolution is before it.
        input_shape: `(C, H, W)`.
        images: further batches to compare on, such as real ones, normalised as in training.
        metadata: kept in the file, each entry as JSON.
        timed: whether both are timed on the last of `images`.

    Raises:
        OptionError: the packages of `archipel[export]` are not installed.
        RunError: the network cannot be exported, or the file gives other answers.
        StorageError: the disk is full.
    """
    needs_extra()
    plain = fold_for_inference(network).cpu().float()
    with said():
        model = onnx_model(
            plain,
            (noise(input_shape)[0],),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            optimize=False,  # folding is done, and what else can be simplified runtimes simplify when they load it
        )
    feeds = [{_INPUT: batch.cpu().float().numpy()} for batch in (*noise(input_shape), *images)]
    return kept(
        model,
        path,
        feeds,
        lambda feed: {_OUTPUT: plain(torch.from_numpy(feed[_INPUT]))},
        metadata=metadata,
        timing=feeds[-1] if images and timed else None,
    )


def kept(
    model: Any,
    path: Path,
    feeds: Sequence[Feed],
    reference: Callable[[Feed], Mapping[str, Tensor]],
    *,
    metadata: Mapping[str, Any] | None = None,
    timing: Feed | None = None,
) -> Exported:
    """Write an `onnx.ModelProto` if it does what PyTorch does.

    Args:
        reference: what PyTorch answers; first what is compared as numbers, then, of a graph that decides, what it
            decides of each row.
        metadata: kept in the file, each entry as JSON.
        timing: rows to time both on.

    Raises:
        RunError: the file gives other answers; nothing is written.
        StorageError: the disk is full.
    """
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=f"archipel.{key}", value=json.dumps(value))
    content = model.SerializeToString()
    session = session_of(content)
    found = compared(session, path, feeds, reference)
    found = replace(found, bytes=len(content), nodes=_nodes(model.graph))
    if timing is not None:
        calls = {"file": lambda feed: session.run(None, feed), "pytorch": reference}
        times = by_turns(calls, one_by_one(timing))
        found = replace(found, ms=times["file"], pytorch_ms=times["pytorch"])
    atomic.replace(path, content)
    return found


def compared(
    session: Any, path: Path, feeds: Sequence[Feed], reference: Callable[[Feed], Mapping[str, Tensor]]
) -> Exported:
    """How a session agrees with PyTorch. Arguments as of `kept`.

    Raises:
        RunError: too badly.
    """
    ours, theirs, alike = [], [], []
    decides = False
    with torch.no_grad():
        for feed in feeds:
            known = reference(feed)
            (scores, *decided), (answered, *deciding) = known.values(), session.run(list(known), feed)
            same = torch.ones(len(scores), dtype=torch.bool)
            for own, their in zip(decided, deciding):
                same &= (own == torch.from_numpy(their)).reshape(len(same), -1).all(1)
            decides = bool(decided)
            ours.append(scores)
            theirs.append(torch.from_numpy(answered))
            alike.append(same)
    mine, its, same = torch.cat(ours), torch.cat(theirs), torch.cat(alike)
    decisions = float(same.float().mean())
    found = Exported(
        path,
        0,
        0,
        len(mine),
        float((mine - its)[same].abs().max()) if same.any() else float("nan"),
        float(mine.std(0).mean()),
        float((mine.argmax(1) == its.argmax(1)).float().mean()),
        decisions if decides else None,
    )
    if decisions < _DECIDED:
        raise RunError(
            f"the exported network decides as PyTorch's for {decisions:.1%} of {len(mine)} images; nothing was written "
            f"to {path}"
        )
    if not found.largest_difference <= _TOLERANCE * max(found.spread, float(mine.abs().max()) * 1e-3):
        raise RunError(
            f"the exported network differs from PyTorch's by {found.largest_difference:.2g} where outputs spread by "
            f"{found.spread:.2g}; nothing was written to {path}"
        )
    return found


def by_turns(calls: Mapping[str, Callable[[Feed], object]], rows: Sequence[Feed]) -> dict[str, float]:
    """Milliseconds that an image takes, one at a time on one thread, of each call in turns with the others.

    Args:
        rows: of single images.
    """

    def through(call: Callable[[Feed], object]) -> None:
        for feed in rows:
            call(feed)

    device = Device.parse("cpu", 1)
    candidates = {name: partial(through, call) for name, call in calls.items()}
    with device.use():
        times = measure(candidates, device, rounds=_ROUNDS, rng=random.Random(0))
    return {name: timing.ms / len(rows) for name, timing in times.items()}


def one_by_one(feed: Feed) -> list[Feed]:
    """The first rows of a feed, alone; an input without rows, such as thresholds, is the same for all."""
    count = len(feed[_INPUT])
    rows = {name for name in feed if name != "thresholds"}
    return [
        {name: value[i : i + 1] if name in rows else value for name, value in feed.items()}
        for i in range(min(_TIMED, count))
    ]


def session_of(content: bytes | Path, threads: int = 1) -> Any:
    """An ONNX Runtime session, one operation at a time, each on so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    given = str(content) if isinstance(content, Path) else content
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def noise(input_shape: tuple[int, int, int]) -> list[Tensor]:
    """Random inputs in batches of several sizes, the same at every call."""
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(n, *input_shape, generator=rng) for n in (7, 1, 2)]


def _nodes(graph: Any) -> int:
    inner = (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))
    return len(graph.node) + sum(map(_nodes, inner))


@contextlib.contextmanager
def said() -> Iterator[None]:
    """What cannot be exported, in a line."""
    try:
        yield
    except ArchipelError:
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        cause = error.__cause__ or error  # the exporter's own message is a page of advice
        line = (str(cause).strip().splitlines() or [""])[0]
        raise RunError(f"the network cannot be exported to ONNX: {line}") from error


def needs_extra() -> None:
    """Raises `OptionError` where the packages of `archipel[export]` are not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise OptionError(f"exporting needs {missing[0]}, which is not installed; run: pip install 'archipel[export]'")
