"""Networks of a run, from the plain values of its manifest and the weights in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.deploy.manifest import Manifest, Network
from archipel.errors import OptionError, RunError
from archipel.metagraph import MetaGraph
from archipel.nn.exits import Exits
from archipel.nn.layout import channels_last
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import resolve
from archipel.tasks.head import space_for

__all__ = ["Rebuilding", "weights_file"]


def weights_file(folder: RunFolder, network: Network) -> Path:
    """Where a network's weights are: in a checkpoint of the run, or in a file with nothing else."""
    return folder.path / network.weights if _alone(network) else folder.checkpoint(network.weights).path


def _alone(network: Network) -> bool:
    return network.weights.endswith(".safetensors")


class Rebuilding:
    """Builds networks of a run and loads their weights."""

    def __init__(self, folder: RunFolder, manifest: Manifest, device: torch.device) -> None:
        self.folder, self.manifest, self.device = folder, manifest, device
        self._spaces: dict[str, Space] = {}

    def space(self, network: Network) -> Space:
        """The same for all networks of it. Raises SpaceError where its definition is no more."""
        key = json.dumps([network.space, network.options])
        if key not in self._spaces:
            self._spaces[key] = space_for(self.manifest.spec, resolve(network.space), **network.options)
        return self._spaces[key]

    def network(self, network: Network, **beside: nn.Module) -> nn.Module:
        """A plain network, `Exits`, or a meta-graph, in evaluation mode; what else its checkpoint holds is loaded into
        `beside`.

        Raises:
            RunError: the weights are missing, damaged, or of another network.
        """
        made = self.built(network)
        self._load(network, {network.part: made, **beside})
        if isinstance(made, Exits) and network.leaves is not None:
            made = made.child(network.leaves)
        for module in (made, *beside.values()):
            self.placed(module)
        return made

    def built(self, network: Network) -> nn.Module:
        """With fresh weights."""
        space = self.space(network)
        if network.exits:
            graph = MetaGraph(space)
            return Exits.of([graph.extract(Architecture.from_json(one)) for one in network.exits])
        if network.architecture is None:
            return MetaGraph(space)
        return space.build(space.canonical(Architecture.from_json(network.architecture)))

    def _load(self, network: Network, parts: Mapping[str, nn.Module]) -> None:
        path = weights_file(self.folder, network)
        if not path.is_file():
            raise OptionError(f"{path} is missing: the weights of {network.name} were removed from the run")
        if not _alone(network):
            self.folder.checkpoint(network.weights).load(parts)
            return
        tensors, _ = self.folder.read_tensors(network.weights)
        (made,) = parts.values()
        try:
            made.load_state_dict(tensors)
        except RuntimeError as error:
            raise RunError(f"{path} holds another network's weights") from error

    def placed(self, module: nn.Module) -> nn.Module:
        """On the device, in the memory layout convolutions are fastest in, in evaluation mode."""
        return channels_last(module, self.device).eval()
