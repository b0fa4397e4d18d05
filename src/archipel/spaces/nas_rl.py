"""NAS-RL's layer strings: a chain of convolutions of any size, each of which reads any of those before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.choose import Choose, Factory, Place, Sum
from archipel.elastic_value import Elastic
from archipel.errors import SpaceError
from archipel.nn.elastic import Size, batch_norm2d, conv2d, linear
from archipel.routes import current, follow
from archipel.rows import Rows, rows_of

__all__ = ["nas_rl"]

SIDES = (1, 3, 5, 7)
FILTERS = (24, 36, 48, 64)
STRIDES = (1, 2, 3)


def nas_rl(
    choose: Choose,
    *,
    layers: int = 6,
    width: float = 1.0,
    strides: bool = False,
    classes: int = 10,
    channels: int = 3,
) -> nn.Module:
    """NAS-RL's convolutional networks (Zoph and Le, ICLR 2017, arXiv 1611.01578, sections 3.3 and 4.1).

    Choices of layer 2: `l2.height`, `l2.width`, `l2.filters`, `l2.stride` where strides are open, and `l2.inputs`, the
    layers before it that it reads; where there are none, it reads the image. What no layer reads goes to the
    classifier, concatenated and averaged over space. Maps smaller than the largest get zeros on the right and below.

    The paper concatenates the inputs of a layer and convolves them. A convolution of a concatenation is the sum of one
    convolution for each part: each skip holds its own slice of the weights, and networks whose skips differ share those
    that they have in common. Likewise the classifier. Sizes are elastic: the centre of the largest filter, its leading
    channels.

    Args:
        layers: of the chain (L); the paper begins with 6 and ends with 15 and more.
        width: what the paper's 24 to 64 filters are multiplied by.
        strides: whether each layer's stride is open, 1 to 3.

    Raises:
        SpaceError: no layers, or a width with which numbers of filters become the same.
    """
    if layers < 1:
        raise SpaceError(f"layers is {layers}; give 1 or more")
    filters = [round(own * width) for own in FILTERS]
    if len(set(filters)) < len(filters) or filters[0] < 1:
        raise SpaceError(f"with width {width:g} layers would have {filters} filters; give a larger width")
    made: list[_Layer] = []
    reach: list[Size] = [channels]  # channels of the image, and of each layer
    for i in range(layers):
        name = f"l{i}"
        height, across = (choose.value(f"{name}.{side}", SIDES) for side in ("height", "width"))
        c = choose.value(f"{name}.filters", filters)
        stride = choose.value(f"{name}.stride", STRIDES) if strides else 1
        image, *earlier = [_reader(at, conv, c, (height, across), stride) for at, conv in enumerate(reach)]
        skips = {f"l{j}": reader for j, reader in enumerate(earlier)}
        inputs = choose.subset(f"{name}.inputs", skips, empty=image) if skips else image()
        made.append(_Layer(inputs, c, stride, strided=strides))
        reach.append(c)
    return _Network(made, reach[1:], classes, strided=strides)


def _reader(position: int, c_in: Size, c_out: Size, kernel: tuple[Size, Size], stride: Size) -> Factory:
    def image() -> nn.Module:  # the name of an empty selection
        return _Reader(position, conv2d(c_in, c_out, kernel, stride=stride))

    return image


class _Reader(nn.Module):
    """The convolution of one of the tensors so far: the image, then each layer."""

    def __init__(self, position: int, conv: nn.Module) -> None:
        super().__init__()
        self.position, self.conv = position, conv

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        y: Tensor = self.conv(tensors[self.position])
        return y


class _Layer(nn.Module):
    """ReLU(BN(Σ_j conv_j(y_j))) over the layers j that are read."""

    def __init__(self, inputs: nn.Module, filters: Size, stride: Size, *, strided: bool) -> None:
        super().__init__()
        self.inputs, self.stride, self.strided = inputs, stride, strided
        self.norm, self.act = batch_norm2d(filters), nn.ReLU(inplace=True)

    def reads(self, j: int) -> Tensor | bool:
        """Which rows of the batch under way read layer j: all, none, or these."""
        name = f"l{j}"
        if isinstance(self.inputs, Place):
            return name in self.inputs.choice.options and self.inputs.taken_by(name)
        return isinstance(self.inputs, Sum) and name in self.inputs

    def forward(self, tensors: list[Tensor]) -> Tensor:
        if self.strided:
            read = [y for j, y in enumerate(tensors[1:]) if self.reads(j) is not False]
            tensors = _grown(tensors, read or tensors[:1])
        y: Tensor = self.act(self.norm(self.inputs(tensors)))
        return y


class _Network(nn.Module):
    """Layers in a chain, and Σ_j W_j mean(y_j) + b over the layers j that no other reads."""

    def __init__(self, layers: Sequence[_Layer], filters: Sequence[Size], classes: int, *, strided: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.strided = strided
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        read = {name for layer in layers if isinstance(layer.inputs, Sum) for name in layer.inputs}  # of a child
        heads = {f"l{j}": linear(c, classes, bias=False) for j, c in enumerate(filters) if f"l{j}" not in read}
        self.heads = nn.ModuleDict(heads)
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, images: Tensor) -> Tensor:
        groups = self._apart(images) if self.strided else []
        if len(groups) < 2:
            return self._run(images)
        parts = []
        for rows, route in groups:
            with follow(route):
                parts.append(self._run(images.index_select(0, rows)))
        whole: Tensor = rows_of(torch.cat(parts), torch.cat([rows for rows, _ in groups]).argsort())
        return whole

    def _run(self, images: Tensor) -> Tensor:
        tensors = [images]
        for layer in self.layers:
            tensors.append(layer(tensors))
        unread = [(j, y, rows) for j, y in enumerate(tensors[1:]) if (rows := self._unread(j, y.shape[0])) is not False]
        if self.strided:
            left = [y for _, y, _ in unread]
            unread = [(j, y, rows) for (j, _, rows), y in zip(unread, _grown(left, left))]
        *others, (last, y, _) = unread  # nothing reads the last layer
        scores: Tensor = self.heads[f"l{last}"](self.pool(y)) + self.bias
        for j, y, rows in others:
            own = y if isinstance(rows, bool) else rows_of(y, rows)
            term = self.heads[f"l{j}"](self.pool(own))
            scores = scores + term if isinstance(rows, bool) else scores.index_add(0, rows, term.to(scores.dtype))
        return scores

    def _unread(self, j: int, count: int) -> Tensor | bool:
        """For which rows no layer reads layer j: all, none, or these."""
        read = [layer.reads(j) for layer in list(self.layers)[j + 1 :] if isinstance(layer, _Layer)]
        if any(rows is True for rows in read):
            return False
        some = [rows for rows in read if isinstance(rows, Tensor)]
        if not some:
            return True
        left = (~torch.stack([_mask(rows, count) for rows in some]).any(0)).nonzero()[:, 0]
        return left.to(some[0].device) if len(left) else False

    def _apart(self, images: Tensor) -> list[tuple[Tensor, Rows]]:
        """The rows of a batch whose maps have the same sides all along: what differs in its skips differs in them."""
        place = next((m for m in self.modules() if isinstance(m, Place)), None)
        route = None if place is None else current(place.choice.name)
        if not isinstance(route, Rows):
            return []
        count = len(images)
        whole = torch.tensor(images.shape[2:]).expand(count, 2)
        given: list[Tensor] = []  # sides of what each layer reads, and the classifier: [B, 2]
        made: list[Tensor] = []
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            reads = [_mask(layer.reads(j), count) for j in range(len(made))]
            largest = _largest(made, reads, count)
            given.append(torch.where(largest > 0, largest, whole))
            stride = int(layer.stride.at(route.numbers) if isinstance(layer.stride, Elastic) else layer.stride)
            made.append(-(-given[-1] // stride))
        given.append(_largest(made, [_mask(self._unread(j, count), count) for j in range(len(made))], count))
        groups = torch.cat(given, 1).unique(dim=0, return_inverse=True)[1]
        found = [(groups == group).nonzero()[:, 0] for group in range(int(groups.max()) + 1)]
        return [(rows.to(images.device), route.narrowed(rows)) for rows in found]


def _mask(rows: Tensor | bool, count: int) -> Tensor:
    """`[B]`, bool."""
    if isinstance(rows, bool):
        return torch.full((count,), rows)
    return torch.zeros(count, dtype=torch.bool).index_fill_(0, rows.cpu(), True)


def _largest(sides: Sequence[Tensor], where: Sequence[Tensor], count: int) -> Tensor:
    """Of sides `[B, 2]` the largest in each row, of those that count there; 0 where none does."""
    found = torch.zeros(count, 2, dtype=torch.long)
    for side, mask in zip(sides, where):
        found = torch.maximum(found, side * mask[:, None])
    return found


def _grown(tensors: Sequence[Tensor], largest: Sequence[Tensor]) -> list[Tensor]:
    """Maps with zeros on the right and below, up to the largest sides of some; larger ones as they are."""
    height, width = (max(y.shape[axis] for y in largest) for axis in (2, 3))
    found = []
    for y in tensors:
        more = (max(0, width - y.shape[3]), max(0, height - y.shape[2]))
        found.append(F.pad(y, (0, more[0], 0, more[1])) if any(more) else y)
    return found
