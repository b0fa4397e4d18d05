"""A batch whose rows go different ways: who takes what, and how rows are gathered and put back.

Letters: `B` batch, `D` code columns of the space.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from archipel.choice import Choice
from archipel.errors import ArchitectureError

__all__ = ["Numbers", "Rows", "add_rows", "assembled", "lone_row_explained", "rows_of", "zeros"]


class Numbers(dict[str, Any]):
    """What the `value` choices that all rows agree on are set to."""

    def __missing__(self, name: str) -> Any:
        raise ArchitectureError(
            f"a layer reads value choice '{name}', in which the rows of this batch differ; put it into the "
            "archipel.nn.segment that reads the choice elsewhere"
        )


@dataclass(frozen=True)
class Rows:
    """A `PerInstance` route while it is being followed: which rows of the current (sub-)batch take what.

    `numbers` are the `value` choices that are equal for all rows. The others differ only inside segments.
    """

    codes: Tensor  # [B, D] bool, on the CPU
    slices: Mapping[str, slice]
    numbers: Numbers
    device: torch.device
    masked: bool = False

    @functools.cached_property
    def taken(self) -> Mapping[str, list[Tensor | None]]:
        """Choice → the row indices of each of its options, None for "all rows"."""
        # One transfer for the whole network: rows sorted by column, then cut at the column counts.
        counts = self.codes.sum(0).tolist()
        rows = self.codes.t().nonzero()[:, 1].to(self.device, non_blocking=True)
        columns = [None if n == len(self.codes) else part for n, part in zip(counts, rows.split(counts))]
        return {name: columns[cut] for name, cut in self.slices.items()}

    def narrowed(self, rows: Tensor) -> Rows:
        return replace(self, codes=self.codes[rows.cpu()])

    def values(self, choice: Choice) -> list[Any]:
        """What each row sets a `value` choice to; None where it is not active."""
        if choice.name in self.numbers:
            return [self.numbers[choice.name]] * len(self.codes)
        own = self.codes[:, self.slices[choice.name]]
        active, picked = own.any(1).tolist(), own.int().argmax(1).tolist()
        return [choice.options[i] if on else None for on, i in zip(active, picked)]

    def grouped(self, choices: Sequence[Choice]) -> list[tuple[Tensor | None, Rows]]:
        """The rows that agree on some `value` choices, and their route; None for "all rows"."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row, values in enumerate(zip(*(self.values(choice) for choice in choices))):
            groups.setdefault(values, []).append(row)
        found: list[tuple[Tensor | None, Rows]] = []
        for values, members in groups.items():
            agreed = {c.name: value for c, value in zip(choices, values) if value is not None}
            numbers = Numbers({**self.numbers, **agreed})
            if len(groups) == 1:
                return [(None, replace(self, numbers=numbers))]
            rows = torch.tensor(members)
            found.append((rows.to(self.device), replace(self, codes=self.codes[rows], numbers=numbers)))
        return found


def rows_of(x: Any, rows: Tensor, channels: int | None = None) -> Any:
    """Some rows, and of them the leading channels."""
    if not isinstance(x, Tensor):
        return [rows_of(t, rows) for t in x]
    if is_channels_last(x):
        return x.permute(0, 2, 3, 1)[..., :channels].index_select(0, rows).permute(0, 3, 1, 2)
    return x[:, :channels].index_select(0, rows) if channels else x.index_select(0, rows)


def add_rows(y: Tensor, rows: Tensor, part: Tensor) -> None:
    """y[rows] += part, in place."""
    if is_channels_last(y):
        y.permute(0, 2, 3, 1).index_add_(0, rows, part.permute(0, 2, 3, 1))
    else:
        y.index_add_(0, rows, part)


def zeros(like: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Zeros of the shape and memory layout of `like`, but `count` rows."""
    if is_channels_last(like):
        _, c, h, w = like.shape
        return like.new_zeros(count, h, w, c, dtype=dtype).permute(0, 3, 1, 2)
    return like.new_zeros(count, *like.shape[1:], dtype=dtype)


def assembled(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Disjoint rows put together again; where some have fewer channels than others, the rest are zeros.

    Args:
        parts: (which rows, what they are); every row is in one of them.

    Raises:
        ArchitectureError: they differ in more than their channels.
    """
    shapes = {part.shape[2:] for _, part in parts}
    if len(shapes) > 1:
        raise ArchitectureError(
            f"rows of one batch leave a segment as maps of {' and '.join(str(list(s)) for s in shapes)}; what a "
            "segment chooses may change the number of channels only"
        )
    wide = functools.reduce(torch.promote_types, (part.dtype for _, part in parts))
    parts = [(rows, part.to(wide)) for rows, part in parts]
    widest = max((part for _, part in parts), key=lambda part: part.shape[1])
    if all(part.shape[1] == widest.shape[1] for _, part in parts):
        order = torch.cat([rows for rows, _ in parts]).argsort()
        return rows_of(torch.cat([part for _, part in parts]), order)
    y = zeros(widest, sum(len(part) for _, part in parts), wide)
    for rows, part in parts:
        own = y[:, : part.shape[1]]
        if is_channels_last(y):
            own.permute(0, 2, 3, 1).index_copy_(0, rows, part.permute(0, 2, 3, 1))
        else:
            own.index_copy_(0, rows, part)
    return y


def is_channels_last(x: Tensor) -> bool:
    # torch gathers and scatters rows of this layout element by element, 5 to 14 times slower than through a
    # permuted view, and forgets the layout on the way.
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


@contextmanager
def lone_row_explained(what: str) -> Iterator[None]:
    """An error that says why batch norm could not be trained on a single row.

    Args:
        what: what only one row does.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ArchitectureError(
            f"only one sample of the batch {what}, where maps are 1×1, so that batch norm cannot be trained on it; use "
            "images large enough to keep maps above 1×1 there"
        ) from error
