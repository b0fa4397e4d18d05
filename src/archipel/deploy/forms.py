"""How a family of a run's networks answers images: one network, the exits of one, networks in a row, or a controller.

Each form has the same four things: `answer`, `module`, `child` and `children`. What it was rebuilt from is public too,
for those who take it elsewhere. Letters: `B` images, `D` code columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.cost import LatencyTable
from archipel.deploy.manifest import Family, Manifest, Network, Point
from archipel.errors import OptionError, did_you_mean
from archipel.instance.batch_cost import BatchCost
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
from archipel.nn.layout import channels_last
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import resolve
from archipel.tasks.head import space_for

__all__ = ["FORMS", "Answered", "Controlled", "Escalating", "Loaded", "Rebuilding", "Static", "cascade"]


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


class Rebuilding:
    """Builds networks of a run and loads their weights."""

    def __init__(self, folder: RunFolder, manifest: Manifest, device: torch.device) -> None:
        self.folder, self.manifest, self.device = folder, manifest, device

    def space(self, network: Network) -> Space:
        """Raises SpaceError where its definition is no more."""
        return space_for(self.manifest.spec, resolve(network.space), **network.options)

    def network(self, network: Network, **beside: nn.Module) -> nn.Module:
        """A plain network, `Exits`, or a meta-graph, in evaluation mode; what else its checkpoint holds is loaded into
        `beside`.

        Raises:
            RunError: the weights are missing, damaged, or of another network.
        """
        space = self.space(network)
        made: nn.Module
        if network.exits:
            graph = MetaGraph(space)
            made = Exits.of([graph.extract(Architecture.from_json(one)) for one in network.exits])
        elif network.architecture is None:
            made = MetaGraph(space)
        else:
            made = space.build(space.canonical(Architecture.from_json(network.architecture)))
        checkpoint = self.folder.checkpoint(network.weights)
        if not checkpoint.exists:
            raise OptionError(f"{checkpoint.path} is missing: the weights of {network.name} were removed from the run")
        checkpoint.load({network.part: made, **beside})
        if isinstance(made, Exits) and network.leaves is not None:
            made = made.child(network.leaves)
        for module in (made, *beside.values()):
            self.placed(module)
        return made

    def placed(self, module: nn.Module) -> nn.Module:
        """On the device, in the memory layout convolutions are fastest in, in evaluation mode."""
        return channels_last(module, self.device).eval()


class Static:
    """Networks that answer every image alike; a point is one of them."""

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        self.family, self._rebuilding = family, rebuilding
        self.module = lru_cache(None)(self._module)

    @property
    def children(self) -> Sequence[str]:
        return [network.name for network in self.family.networks]

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        name = self.family.networks[point.network].name
        ms = torch.full((len(inputs),), point.ms, dtype=torch.float64)
        with torch.no_grad():
            return Answered(self.module(point)(inputs), [name] * len(inputs), ms)

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

    @property
    def children(self) -> Sequence[str]:
        if isinstance(self.stages, Exits):
            return [f"exit {number + 1}" for number in range(len(self.stages))]
        return [network.name for network in self.family.networks]

    def cascade(self, point: Point) -> Cascade:
        """With the point's thresholds, weights shared."""
        assert isinstance(self._cascade, Cascade)
        return self._cascade.at(point.thresholds)

    def answer(self, inputs: Tensor, point: Point) -> Answered:
        output, stage, ms = self.cascade(point).answer(inputs)
        names = self.children
        return Answered(output, [names[number] for number in stage.tolist()], ms.cpu())

    def module(self, point: Point) -> nn.Module:
        return self.cascade(point)

    def child(self, name: str, _point: Point, /) -> nn.Module:
        number = _position(name, self.children)
        return self.stages.child(number) if isinstance(self.stages, Exits) else self.stages[number]


class Controlled:
    """A controller that picks an architecture for each image; a point is another controller, or another request."""

    def __init__(self, family: Family, rebuilding: Rebuilding) -> None:
        self.family, self._rebuilding = family, rebuilding
        self.space = rebuilding.space(family.networks[0])
        file = rebuilding.folder.path / family.controller["table"]
        table = LatencyTable.load(file, space=self.space)
        self.cost = CodeCost(self.space, table, overhead=table.controller_ms or 0.0)
        """Codes `[B, D]` → milliseconds an image `[B]`, controller included."""
        self._loaded = lru_cache(None)(self._load)
        self._whole = lru_cache(None)(self._rebuilt)
        self.network = lru_cache(None)(self._at)

    @property
    def children(self) -> Sequence[str]:
        return []

    def graph(self, point: Point) -> MetaGraph:
        """The meta-graph, batch norm not folded."""
        return self._loaded(point.network)[0]

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
        output, codes = self.network(point).answer(inputs)
        return Answered(output, [_bits(code) for code in codes], self.cost(codes))

    def module(self, point: Point) -> nn.Module:
        return self.network(point)

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
        channels, size, _ = self._rebuilding.manifest.input_shape
        kind, network = self.family.controller["kind"], self.family.networks[number]
        body = make_controller(kind, self.space.width, channels=channels, size=size, seed=0)
        conditioned = self.family.controller["conditioned"]
        # The range is in the checkpoint.
        controller = ConditionedController(body, Targets(1.0, 2.0)) if conditioned else body
        graph = self._rebuilding.network(network, controller=controller)
        assert isinstance(graph, MetaGraph)
        return graph, controller


FORMS: Mapping[str, type[Static] | type[Escalating] | type[Controlled]] = {
    "static": Static,
    "exits": Escalating,
    "cascade": Escalating,
    "controller": Controlled,
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
