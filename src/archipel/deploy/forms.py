"""How a family of a run's networks answers images: one network, the exits of one, networks in a row, a controller, or
gates.

Each form has the same four things: `answer`, `module`, `child` and `children`. What it was rebuilt from is public too,
for those who take it elsewhere. Letters: `B` images, `D` code columns.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.cost import LatencyTable
from archipel.deploy.manifest import Family, Point, network_of
from archipel.deploy.rebuilding import Rebuilding
from archipel.errors import OptionError, did_you_mean
from archipel.instance.batch_cost import BatchCost
from archipel.instance.block_gates import BlockGates, GatedNetwork
from archipel.instance.cascade import Cascade
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import make_controller
from archipel.instance.escalation import Gain
from archipel.instance.executors import segments
from archipel.instance.network import InstanceNetwork
from archipel.metagraph import MetaGraph
from archipel.nn.exits import Exits
from archipel.nn.fold import fold_for_inference

__all__ = ["FORMS", "Answered", "Controlled", "Escalating", "Gated", "Loaded", "Static", "cascade"]


class Answered(NamedTuple):
    """What a family says of a batch."""

    output: Tensor
    """`[B, classes]`, logits."""
    children: list[str]
    """Which of its networks answered each image: names that `child` takes."""
    ms: Tensor
    """`[B]`, float64: milliseconds an image, as the run's latency table predicts for the run's device."""


class Loaded(Protocol):
    """A family whose networks can be asked."""

    @property
    def children(self) -> Sequence[str]:
        """Names of the networks that can answer; of a controller, too many to list, none."""

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        """`inputs` `[B, C, H, W]`, normalised."""

    def module(self, point: Point) -> nn.Module:
        """`[B, C, H, W]` → logits `[B, classes]`, batch norm folded; decides by image where the family does."""

    def child(self, name: str, point: Point, /) -> nn.Module:
        """One network that always answers, a plain module in evaluation mode, batch norm not folded.

        Raises:
            OptionError: there is no such network.
        """


class Static:
    """Networks that answer every image alike; a point is one of them."""

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        self.family, self._rebuilding = family, rebuilding
        self.module = lru_cache(None)(self._module)

    @property
    def children(self) -> Sequence[str]:
        return [network.name for network in self.family.networks]

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        with torch.no_grad():
            return self.told(self.module(point)(inputs), point)

    def told(self, output: Tensor, point: Point) -> Answered:
        """Of answers `[B, classes]`, from whatever ran the network."""
        name, count = self.family.networks[point.network].name, len(output)
        return Answered(output, [name] * count, torch.full((count,), point.ms, dtype=torch.float64))

    def _module(self, point: Point) -> nn.Module:
        return fold_for_inference(self._rebuilding.network(self.family.networks[point.network]))

    def child(self, name: str, _point: Point, /) -> nn.Module:
        return self._rebuilding.network(self.family.networks[_position(name, self.children)])


class Escalating:
    """A cascade: the exits of one network, or networks in a row; a point is its thresholds.

    Attributes:
        stages: the `Exits`, or the networks from cheap to dear, batch norm not folded.
        rule: `committee`, `gains` (of each stage but the last `weights` and `bias`; None: the doubt decides),
            `costs_ms` (milliseconds that each stage adds) and `temperatures`.
    """

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        self.family, self._rebuilding = family, rebuilding
        networks = [rebuilding.network(network) for network in family.networks]
        self.stages: Exits | list[nn.Module] = networks
        if isinstance(networks[0], Exits):
            self.stages = networks[0]
        self.rule = family.rule
        self._cascade = rebuilding.placed(cascade(self.stages, self.rule, family.points[0].thresholds))
        self._spent = list(itertools.accumulate(self.rule["costs_ms"]))
        self._names = [network.name for network in family.networks]
        if isinstance(self.stages, Exits):
            self._names = [f"exit {number + 1}" for number in range(len(self.stages))]

    @property
    def children(self) -> Sequence[str]:
        return self._names

    def cascade(self, point: Point) -> Cascade:
        """With the point's thresholds, weights shared."""
        assert isinstance(self._cascade, Cascade)
        return self._cascade.at(point.thresholds)

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        output, stage, _ = self.cascade(point).answer(inputs)
        return self.told(output, stage)

    def told(self, output: Tensor, stage: Tensor) -> Answered:
        """Of answers `[B, classes]` and which stage gave each, `[B]`, from whatever ran the stages."""
        numbers = stage.tolist()
        ms = torch.tensor([self._spent[number] for number in numbers], dtype=torch.float64)
        return Answered(output, [self._names[number] for number in numbers], ms)

    def module(self, point: Point) -> nn.Module:
        return self.cascade(point)

    def child(self, name: str, _point: Point, /) -> nn.Module:
        number = _position(name, self.children)
        return self.stages.child(number) if isinstance(self.stages, Exits) else self.stages[number]


class _Deciding(ABC):
    """What picks an architecture of one meta-graph for each image, in whatever way."""

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        self.family, self._rebuilding = family, rebuilding
        self.space = rebuilding.space(family.networks[0])
        file = rebuilding.folder.path / family.controller["table"]
        table = LatencyTable.load(file, space=self.space)
        self.cost = CodeCost(self.space, table, overhead=table.controller_ms or 0.0)
        """Codes `[B, D]` → milliseconds an image `[B]`, what deciding takes included."""
        self._loaded = lru_cache(None)(self._load)
        self._told = lru_cache(4096)(self._of_one)

    @property
    def children(self) -> Sequence[str]:
        return []

    @abstractmethod
    def _load(self, number: int) -> tuple[MetaGraph, nn.Module]:
        """A network of the family and what decides for it."""

    def told(self, output: Tensor, codes: Tensor) -> Answered:
        """Of answers `[B, classes]` and the architectures that gave them, `[B, D]`, from whatever ran them."""
        if len(codes) == 1:
            name, ms = self._told(codes.cpu().numpy().tobytes())
            return Answered(output, [name], torch.tensor([ms], dtype=torch.float64))
        return Answered(output, [_bits(code) for code in codes], self.cost(codes))

    def _of_one(self, code: bytes) -> tuple[str, float]:
        """Name and milliseconds of an architecture: adding them up takes as long as a small network."""
        bits = torch.tensor([list(code)], dtype=torch.bool)
        return _bits(bits[0]), float(self.cost(bits)[0])

    def graph(self, point: Point) -> MetaGraph:
        """The meta-graph, batch norm not folded."""
        return self._loaded(point.network)[0]

    def child(self, name: str, point: Point, /) -> nn.Module:
        return self.graph(point).extract(self.architecture(name)).eval()

    def architecture(self, name: str) -> Architecture:
        """Of one of the names in `Answered.children`: its code, a 0 or 1 for each option.

        Raises:
            OptionError: it is no code of the space.
        """
        if len(name) != self.space.width or set(name) - {"0", "1"}:
            raise OptionError(
                f"'{name}' is no architecture of space '{self.space.name}'; give {self.space.width} digits 0 and 1, as "
                "predictions name what answered"
            )
        return self.space.decode(torch.tensor([bit == "1" for bit in name]))


class Controlled(_Deciding):
    """A controller that picks an architecture for each image; a point is another controller, or another request."""

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        super().__init__(family, rebuilding)
        self._whole = lru_cache(None)(self._rebuilt)
        self.network = lru_cache(None)(self._at)

    def loaded(self, point: Point) -> tuple[MetaGraph, nn.Module]:
        """The meta-graph, batch norm not folded, and the controller as it was trained: a conditioned one takes its
        target as an input."""
        return self._loaded(point.network)

    def controller(self, point: Point) -> nn.Module:
        """The plain controller, `[B, C, H, W]` → logits `[B, D]`; `archipel.instance.CodePolicy` reads them."""
        controller = self._loaded(point.network)[1]
        if isinstance(controller, ConditionedController):
            assert point.asked_ms is not None
            return self._rebuilding.placed(controller.at(point.asked_ms))
        return controller

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        return self.told(*self.network(point).answer(inputs))

    def module(self, point: Point) -> nn.Module:
        return self.network(point)

    def _at(self, point: Point) -> InstanceNetwork:
        whole = self._whole(point.network)
        return whole if point.asked_ms is None else whole.at(point.asked_ms)

    def _rebuilt(self, number: int) -> InstanceNetwork:
        graph, controller = self._loaded(number)
        made = InstanceNetwork(graph, controller, routing=self._routing(graph))
        self._rebuilding.placed(made)
        return made

    def _routing(self, graph: MetaGraph) -> BatchCost | None:
        known = self.family.controller.get("routing")
        if known is None:
            return None
        return BatchCost(
            self.space,
            sizes=tuple(known["sizes"]),
            base=torch.tensor(known["base"], dtype=torch.float64),
            columns=torch.tensor(known["columns"], dtype=torch.float64),
            prefix=tuple(segment.columns for segment in segments(graph)),
            weights={name: tuple(weights) for name, weights in known["weights"].items()},
            doubt=known["doubt"],
        )

    def _load(self, number: int) -> tuple[MetaGraph, nn.Module]:
        network, known = self.family.networks[number], self.family.controller
        controller: nn.Module
        if known.get("network"):
            controller = self._rebuilding.built(network_of(known["network"]))
        else:
            channels, size, _ = self._rebuilding.manifest.input_shape
            body = make_controller(known["kind"], self.space.width, channels=channels, size=size, seed=0)
            # The range is in the checkpoint.
            controller = ConditionedController(body, Targets(1.0, 2.0)) if known["conditioned"] else body
        graph = self._rebuilding.network(network, **{known.get("part", "controller"): controller})
        assert isinstance(graph, MetaGraph)
        return graph, controller


class Gated(_Deciding):
    """Gates that decide block by block, each from what reaches it, for what is more probable; a point is another
    network with its gates."""

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        super().__init__(family, rebuilding)
        self.network = lru_cache(None)(self._at)

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        output, decisions = self.network(point).decided(inputs)
        return self.told(output, decisions.codes())

    def module(self, point: Point) -> nn.Module:
        return self.network(point)

    def _at(self, point: Point) -> GatedNetwork:
        graph, gates = self._loaded(point.network)
        assert isinstance(gates, BlockGates)
        made = GatedNetwork(graph, gates)
        self._rebuilding.placed(made)
        return made

    def _load(self, number: int) -> tuple[MetaGraph, nn.Module]:
        network, known = self.family.networks[number], self.family.controller
        shape = self._rebuilding.manifest.input_shape
        bare = MetaGraph(self.space)
        gates = BlockGates(bare, input_shape=shape, forced=known["always"], hidden=known["hidden"])
        graph = self._rebuilding.network(network, gates=gates)
        assert isinstance(graph, MetaGraph)
        return graph, gates


FORMS: Mapping[str, type[Static] | type[Escalating] | type[Controlled] | type[Gated]] = {
    "static": Static,
    "exits": Escalating,
    "cascade": Escalating,
    "controller": Controlled,
    "gates": Gated,
}


def cascade(stages: Sequence[nn.Module] | Exits, rule: Mapping[str, Any], thresholds: Sequence[float]) -> Cascade:
    """A cascade from the plain values that a run keeps of it.

    Args:
        rule: `committee`, `gains`, `costs_ms` and `temperatures`.
    """
    gains = rule["gains"]
    return Cascade(
        stages,
        thresholds=thresholds,
        costs_ms=rule["costs_ms"],
        temperatures=rule["temperatures"],
        committee=rule["committee"],
        gains=None if gains is None else [Gain(torch.tensor(g["weights"]), g["bias"]) for g in gains],
    )


def _position(name: str, known: Iterable[str]) -> int:
    known = list(known)
    if name not in known:
        raise OptionError(f"there is no network '{name}' ({', '.join(known)}){did_you_mean(name, known)}")
    return known.index(name)


def _bits(code: Tensor) -> str:
    return "".join("1" if bit else "0" for bit in code.tolist())
