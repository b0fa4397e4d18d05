"""The result of a search as one network: a controller and the weights it routes through."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from archipel.instance.policy import CodePolicy
from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn.fold import fold_batch_norm

__all__ = ["InstanceNetwork"]


class InstanceNetwork(nn.Module):
    """y = G(x; m̂(x)): each image through the architecture its controller picks, only that architecture computed.

    For inference: batch norm is folded. A batch is routed through the meta-graph; a single image goes through its
    extracted child, of which the last `children` are kept ready.
    """

    def __init__(self, graph: MetaGraph, controller: nn.Module, *, children: int = 64) -> None:
        super().__init__()
        self.policy = CodePolicy(graph.space)
        self.space = graph.space
        self.graph = fold_batch_norm(graph)
        self.controller = fold_batch_norm(controller)
        self._source = (graph,)  # in a tuple: children are taken from it, but it is no part of this network
        self._capacity = children
        self._children: OrderedDict[tuple[torch.device, bytes], nn.Module] = OrderedDict()
        self.eval()

    def codes(self, inputs: Tensor) -> Tensor:
        """The architectures picked for a batch, `[B, D]`, bool."""
        with torch.no_grad():
            return self.policy.mode(self.controller(inputs))

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` → `[B, classes]`."""
        logits = self.controller(inputs)
        if len(inputs) == 1:
            child: Tensor = self._child(logits)(inputs)
            return child
        return self.graph(inputs, PerInstance(self.policy.mode(logits)))

    def _child(self, logits: Tensor) -> nn.Module:
        key = logits.device, self.policy.raw_mode(logits).numpy().tobytes()
        child = self._children.get(key)
        if child is None:
            architecture = self.space.decode(self.policy.mode(logits)[0])
            (graph,) = self._source
            child = fold_batch_norm(graph.extract(architecture)).to(logits.device)
            self._children[key] = child
            if len(self._children) > self._capacity:
                self._children.popitem(last=False)
        else:
            self._children.move_to_end(key)
        return child
