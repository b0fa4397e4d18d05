"""Parts of a network within which samples of one batch may differ in their sizes.

Samples whose sizes differ cannot share a tensor, and where a space has ten `value` choices, hardly two samples of a
batch agree in all. Most sizes show nowhere but in a stage or two, though. A segment is told where that is so: in a
`PerInstance` batch it gathers its rows by the sizes that are read inside it, runs each group once, and puts the rows
together again, those of fewer channels filled up with zeros that nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from archipel.choice import Choice
from archipel.elastic_value import Elastic
from archipel.nn.elastic import Size, reads
from archipel.routes import current, follow
from archipel.rows import Rows, assembled, lone_row_explained, rows_of

__all__ = ["enclosed", "segment"]


class _Segment(nn.Sequential):
    """A sequence whose rows are grouped by its own sizes; named as the sequence of a child."""

    def __init__(self, c_in: Size, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.c_in = c_in
        own = dict.fromkeys(c_in.choices) if isinstance(c_in, Elastic) else {}
        depths: dict[Choice, None] = {}
        for layer in layers:
            for choice, is_depth in _read_in(layer):
                (depths if is_depth else own)[choice] = None
        self.choices: list[Choice] = list(own)
        """By which rows are grouped."""
        self.depths = [choice for choice in depths if choice not in own]
        """In which the rows of a group may differ: stacks run fewer and fewer of them."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.choices:
            return super().forward(x)
        route = current(self.choices[0].name)
        if not isinstance(route, Rows):
            return super().forward(x)
        open_ones = [choice for choice in self.choices if choice.name not in route.numbers]
        groups = route.grouped(open_ones) if open_ones else [(None, route)]
        parts = [(rows, self._run(x, rows, own)) for rows, own in groups]
        if len(parts) == 1:
            return parts[0][1]
        return assembled([(rows, y) for rows, y in parts if rows is not None])

    def _run(self, x: Tensor, rows: Tensor | None, route: Rows) -> Tensor:
        c_in = None
        if isinstance(self.c_in, Elastic) and x.shape[1] <= self.c_in.max:  # of more it is for the layer to complain
            c_in = int(self.c_in.at(route.numbers))
        own: Tensor = x[:, :c_in] if rows is None else rows_of(x, rows, c_in)
        sizes = ", ".join(f"{choice.name}={route.numbers.get(choice.name)}" for choice in self.choices)
        with follow(route), lone_row_explained(f"takes {sizes}"):
            return super().forward(own)


def _read_in(module: nn.Module) -> Iterator[tuple[Choice, bool]]:
    """(`value` choice, whether only as a depth) of every layer that is in no inner segment."""
    if isinstance(module, _Segment):
        return
    yield from reads(module)
    for child in module.children():
        yield from _read_in(child)


def segment(c_in: Size, *layers: nn.Module) -> nn.Module:
    """Layers in sequence, whose open sizes show outside in the number of channels that leave them and in nothing else.

    Samples of a `PerInstance` batch that differ in those sizes are run in groups from here to the end of the segment,
    and together again after it. What follows is in a segment too, or is given as many channels whatever is chosen.
    Segments may stand in segments; the outer one then groups by what is read between them. A `stack` in it may be of
    different depth for every sample: its layers beyond the lowest depth keep the shape of what they are given.

    Args:
        c_in: channels that reach it; of wider ones the leading.
    """
    if isinstance(c_in, Elastic) or any(True for layer in layers for _ in _read_in(layer)):
        return _Segment(c_in, *layers)
    return nn.Sequential(*layers)


def enclosed(module: nn.Module) -> frozenset[str]:
    """The `value` choices that no layer outside of segments reads, and some layer inside one does."""
    outside = {choice.name for choice, _ in _read_in(module)}
    segments = [part for part in module.modules() if isinstance(part, _Segment)]
    inside = {choice.name for part in segments for choice in (*part.choices, *part.depths)}
    return frozenset(inside - outside)
