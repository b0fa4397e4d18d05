"""The result of a search as one network: a controller and the weights it routes through."""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.batch_cost import BatchCost
from archipel.instance.conditioned import ConditionedController
from archipel.instance.executors import execute
from archipel.instance.policy import CodePolicy
from archipel.metagraph import MetaGraph
from archipel.nn.fold import fold_for_inference

__all__ = ["InstanceNetwork"]


class InstanceNetwork(nn.Module):
    """y = G(x; m̂(x)): each image through the architecture its controller picks, only that architecture computed.

    For inference: batch norm is folded. A batch is routed through the meta-graph, in the way that `routing` says takes
    least, or by gathering; a single image goes through its extracted child, of which the last `children` are kept
    ready. With a conditioned controller every call says how long an image may take.
    """

    def __init__(
        self, graph: MetaGraph, controller: nn.Module, *, children: int = 64, routing: BatchCost | None = None
    ) -> None:
        super().__init__()
        self.routing = routing
        self.policy = CodePolicy(graph.space)
        self.space = graph.space
        folded = fold_for_inference(graph)
        assert isinstance(folded, MetaGraph)  # a copy
        self.graph = folded
        self.controller = fold_for_inference(controller)
        self._source = (graph,)  # in a tuple: children are taken from it, but it is no part of this network
        self._capacity = children
        self._children: OrderedDict[tuple[torch.device, bytes], nn.Module] = OrderedDict()
        self.eval()

    def at(self, target_ms: float) -> InstanceNetwork:
        """Of a conditioned controller: the network for one target, weights and children shared, with the plain
        controller that it then has.

        Raises:
            OptionError: the controller is a plain one.
        """
        if not isinstance(self.controller, ConditionedController):
            raise OptionError(f"target_ms {target_ms:g} is given, and the controller is a plain one")
        moved = copy.copy(self)
        moved._modules = dict(self._modules)
        moved.controller = self.controller.at(target_ms).eval()
        return moved

    @torch.no_grad()
    def codes(self, inputs: Tensor, target_ms: float | Tensor | None = None) -> Tensor:
        """The architectures picked for a batch, `[B, D]`, bool. Arguments as of `forward`."""
        return self.policy.mode(self._logits(inputs, target_ms))

    @torch.no_grad()
    def forward(self, inputs: Tensor, target_ms: float | Tensor | None = None) -> Tensor:
        """`[B, C, H, W]` → `[B, classes]`.

        Args:
            target_ms: milliseconds an image, controller included, that a conditioned controller aims at: one for all,
                or `[B]`. A plain controller takes none.

        Raises:
            OptionError: it is missing, or given to a plain controller.
        """
        return self._routed(inputs, self._logits(inputs, target_ms))

    @torch.no_grad()
    def answer(self, inputs: Tensor, target_ms: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, with the architectures that answered, `[B, D]`, bool, canonical."""
        logits = self._logits(inputs, target_ms)
        return self._routed(inputs, logits), self.policy.mode(logits)

    def _routed(self, inputs: Tensor, logits: Tensor) -> Tensor:
        if len(inputs) == 1:
            child: Tensor = self._child(logits)(inputs)
            return child
        codes = self.policy.mode(logits)
        return execute(self.graph, inputs, codes, "gathered" if self.routing is None else self.routing.cheapest(codes))

    def _logits(self, inputs: Tensor, target_ms: float | Tensor | None) -> Tensor:
        if isinstance(self.controller, ConditionedController) != (target_ms is not None):
            raise OptionError(
                f"target_ms is {'missing' if target_ms is None else 'given'}, and the controller is "
                f"{'conditioned on it' if target_ms is None else 'a plain one'}"
            )
        if target_ms is None:
            logits: Tensor = self.controller(inputs)
        else:
            logits = self.controller(inputs, torch.as_tensor(target_ms).to(inputs).expand(len(inputs)))
        return logits

    def _child(self, logits: Tensor) -> nn.Module:
        key = logits.device, self.policy.raw_mode(logits).numpy().tobytes()
        child = self._children.get(key)
        if child is None:
            architecture = self.space.decode(self.policy.mode(logits)[0])
            (graph,) = self._source
            child = fold_for_inference(graph.extract(architecture)).to(logits.device)
            self._children[key] = child
            if len(self._children) > self._capacity:
                self._children.popitem(last=False)
        else:
            self._children.move_to_end(key)
        return child
