"""What runs an image that comes alone: sessions in a row, decisions between them.

Next to a small network all that surrounds it counts: a branch inside a graph, an array handed over, one made. So each
stage of a cascade, and each architecture that a controller picks, is cut out of its network's graph
(`archipel.deploy.uncut`) and has a session of its own, which reads and writes arrays that stay where they are.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from archipel.deploy.export import session_of
from archipel.deploy.manifest import Point
from archipel.deploy.uncut import Taken, Uncut
from archipel.instance.cascade import Cascade
from archipel.space import Space

__all__ = ["CascadeAlone", "ControlledAlone"]

KEPT = 256
"""Sessions of pieces of architectures that are kept at most."""
WEIGHTS = 64 * 2**20
"""Bytes of weights in them at most, were every option in each; a session takes two to five times its weights."""
COVERED = 0.95
"""Share of the images whose architectures are to be made of so many pieces."""
MOST = 4
"""Pieces that an architecture is cut into at most: each further one costs a fortieth of a network of 0.15 ms."""
REMEMBERED = 4096
"""Architectures whose pieces are known without looking. They are forgotten when a piece goes: then each is looked up
again, which says anew what was used last."""
SELDOM = 8
"""Once so many are kept, of the images that lack a piece one in so many has it made."""


class CascadeAlone:
    """The stages of a cascade; the next one runs where the answer of this one is not sure enough.

    Args:
        graph: what `uncut_cascade` made of the cascade.
    """

    def __init__(self, graph: Uncut, cascade: Cascade, threads: int) -> None:
        self._lock = threading.Lock()
        bound = _Bound(graph, threads)
        self._image = bound.array("images")
        self._row = []
        for stage, urge in zip(graph.told["stages"], (*cascade.urges, None), strict=True):
            ends = [name for name in (stage["answer"], *stage["passes"]) if name not in stage["takes"]]
            self._row.append((bound.piece(stage["takes"], ends), bound.array(stage["answer"]), urge))

    def answer(self, image: np.ndarray, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """`[1, C, H, W]`, float32, to the answer `[1, classes]` and the stage that gave it, `[1]`, int64."""
        thresholds = point.thresholds
        with self._lock:
            self._image[:] = image
            for number, (run, scores, urge) in enumerate(self._row):
                run()
                if urge is None or urge(scores.tolist()[0], 1.0) <= thresholds[number]:
                    return scores.copy(), np.array([number])
        raise AssertionError("behind the last stage there is none")


class ControlledAlone:
    """A controller, and the pieces of the architecture that it picks.

    What is new in an architecture that was not asked for before is made on the spot, milliseconds for each piece;
    pieces are shared by architectures that are alike there. Once as many are kept as may be, an image that lacks one is
    mostly left to others, so that architectures which are all different cost little.

    Args:
        graph: what `uncut_options` made of the controller and its meta-graph.
        images: such as will be asked about, `[N, C, H, W]`, at `points`: into how many pieces networks are cut depends
            on how much they have in common.
    """

    def __init__(self, graph: Uncut, space: Space, threads: int, images: np.ndarray, points: Sequence[Point]) -> None:
        self._lock = threading.Lock()
        told = graph.told
        self._bound = _Bound(graph, threads)
        self._image, self._target = self._bound.array("images"), None
        if "target_ms" in told["inputs"]:
            self._target = self._bound.array("target_ms")
        self._codes, self._scores = self._bound.array(told["codes"]), self._bound.array(told["scores"])
        self._decide = self._bound.piece(told["inputs"], [told["codes"]])
        self._kept: OrderedDict[tuple[int, bytes], Callable[[], None]] = OrderedDict()
        self._rows: dict[bytes, list[Callable[[], None]]] = {}
        self._lacking = 0
        codes = [self._decided(image, point).tobytes() for image in images for point in points]
        self._pieces, self._most = _cut(graph, space, codes)

    def answer(self, image: np.ndarray, point: Point) -> tuple[np.ndarray, np.ndarray] | None:
        """`[1, C, H, W]`, float32, to the answer `[1, classes]` and the architecture that gave it, `[1, D]`, bool;
        None: a piece is lacking and is not to be made now."""
        with self._lock:
            code = self._decided(image, point).tobytes()
            runs = self._rows.get(code) or self._row(code)
            if runs is None:
                return None
            for run in runs:
                run()
            return self._scores.copy(), self._codes.copy()

    def _row(self, code: bytes) -> list[Callable[[], None]] | None:
        """The pieces of an architecture, what is lacking made; None: it is not to be made now."""
        keys = [(number, piece.key(code)) for number, piece in enumerate(self._pieces)]
        missing = sum(key not in self._kept for key in keys)
        if len(self._kept) + missing > self._most:
            self._lacking += 1
            if self._lacking % SELDOM:
                return None
        for key, piece in zip(keys, self._pieces):
            if key not in self._kept:
                self._kept[key] = self._bound.piece([piece.begin], [piece.end], piece.taken(code))
            self._kept.move_to_end(key)
        if len(self._kept) > self._most or len(self._rows) >= REMEMBERED:
            self._rows.clear()
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        runs = self._rows[code] = [self._kept[key] for key in keys]
        return runs

    def _decided(self, image: np.ndarray, point: Point) -> np.ndarray:
        self._image[:] = image
        if self._target is not None:
            self._target[:] = point.asked_ms
        self._decide()
        return self._codes


@dataclass(frozen=True)
class _Piece:
    """Of a network in a row, with some of its choices."""

    begin: str
    end: str
    columns: Mapping[str, slice]
    """Of a code, by choice."""

    def key(self, code: bytes) -> bytes:
        """What distinguishes it among architectures."""
        return b"".join([code[cut] for cut in self.columns.values()])

    def taken(self, code: bytes) -> Taken:
        return lambda choice: [bool(bit) for bit in code[self.columns[choice]]]


def _cut(graph: Uncut, space: Space, codes: Sequence[bytes]) -> tuple[list[_Piece], int]:
    """As few pieces as are mostly there when as many are kept as may be, else those that are there for most of the
    images; and how many these are."""
    begin, end = "images", graph.told["scores"]
    row = graph.stretches(begin, end)
    found: list[tuple[float, list[_Piece], int]] = []
    for count in range(1, min(MOST, len(row)) + 1):
        at = [round(len(row) * i / count) for i in range(count + 1)]
        ends = [begin, *(row[i - 1].end for i in at[1:])]
        parts = [
            _Piece(
                ends[i],
                ends[i + 1],
                {choice: space.slices[choice] for one in row[at[i] : at[i + 1]] for choice in one.choices},
            )
            for i in range(count)
        ]
        most = max(count, min(KEPT, count * WEIGHTS // max(1, graph.bytes)))
        keys = [[(i, part.key(code)) for i, part in enumerate(parts)] for code in codes]
        before, after = keys[: (len(keys) + 1) // 2], keys[len(keys) // 2 :]
        frequent = {key for key, _ in Counter(key for own in before for key in own).most_common(most)}
        share = sum(frequent.issuperset(own) for own in after) / len(after)
        found.append((share, parts, most))
        if share >= COVERED:
            break
    _, parts, most = max(found, key=lambda one: one[0])
    return parts, most


class _Bound:
    """Pieces of a graph as sessions that read and write arrays which stay where they are: a call hands nothing over and
    makes nothing."""

    def __init__(self, graph: Uncut, threads: int) -> None:
        self._graph, self._threads = graph, threads
        self._values: dict[str, tuple[np.ndarray, Any]] = {}

    def array(self, name: str) -> np.ndarray:
        """Where a tensor is."""
        from onnxruntime import OrtValue

        if name not in self._values:
            array = np.zeros(*self._graph.kind(name))
            self._values[name] = array, OrtValue.ortvalue_from_numpy(array)
        return self._values[name][0]

    def piece(self, begin: Sequence[str], end: Sequence[str], taken: Taken | None = None) -> Callable[[], None]:
        """See `Uncut.piece`."""
        session = session_of(self._graph.piece(begin, end, taken), self._threads)
        binding = session.io_binding()
        for names, bind in ((begin, binding.bind_ortvalue_input), (end, binding.bind_ortvalue_output)):
            for name in names:
                self.array(name)
                bind(name, self._values[name][1])
        run: Callable[[], None] = partial(session.run_with_iobinding, binding)
        return run
