"""Train one network and judge it: what every static baseline and every found architecture comes down to."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost.complexity import madds, parameters
from archipel.cost.device import Device
from archipel.deploy.manifest import Family, Network, Point
from archipel.errors import RunError
from archipel.nn.layout import channels_last
from archipel.progress import SILENT, Progress
from archipel.recipes.deployable import manifest_for, measured_ms
from archipel.run.environment import environment
from archipel.run.folder import RunFolder
from archipel.sharing import Optimisation, evaluate, train
from archipel.sharing.training import seed_of
from archipel.space import Space
from archipel.tasks.classification import Classification
from archipel.tasks.task import Task

__all__ = ["leave_manifest", "train_network", "trained_network"]

_WEIGHTS = "weights.safetensors"


def train_network(
    folder: RunFolder,
    task: Task,
    device: Device,
    space: Space,
    architecture: Architecture,
    optimisation: Optimisation,
    *,
    name: str | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train `space.build(architecture)` on `task` and keep it in `folder`; a stopped training goes on.

    Writes `architecture.json`, `weights.safetensors` and `metrics.json`. The last epoch's weights are kept (with
    `optimisation.ema` their running average), so that the validation score stays an honest one; test is read once, at
    the end.

    Args:
        name: what the result calls the network; the space's name if not given.

    Returns:
        What `metrics.json` holds: `parameters`, `madds` of one image, `val` and `test` metrics, the
        `history` of all epochs, `seconds` of the last uninterrupted piece.
    """
    if (done := folder.stage_done("training")) is not None:
        return done
    begin = time.monotonic()
    torch.manual_seed(seed_of(seed, "weights"))
    network = space.build(architecture).to(device.torch_device)
    folder.write_json("architecture.json", architecture.to_json())

    def validate(epoch: int) -> dict[str, float]:  # noqa: ARG001
        return {"val_accuracy": evaluate(network, task, "val", device=device.torch_device).score}

    with device.use():
        history = train(
            network,
            task,
            optimisation,
            title="training",
            seed=seed,
            device=device.torch_device,
            checkpoint=folder.checkpoint("training"),
            progress=progress,
            validate=validate,
        )
        folder.write_tensors(_WEIGHTS, network.state_dict(), {"space": space.name, "epochs": optimisation.epochs})
        val, test = (evaluate(network, task, split, device=device.torch_device).metrics for split in ("val", "test"))
    result = {
        "schema": 1,
        "title": f"{name or space.name} on {task.spec.name}",
        "command": folder.command,
        "parameters": parameters(network),
        "madds": madds(network, task.spec.input_shape),
        "val": val,
        "test": test,
        "history": history,
        "seconds": time.monotonic() - begin,
        "environment": environment(),
    }
    folder.write_json("metrics.json", result)
    return folder.mark_done("training", result)


def leave_manifest(
    folder: RunFolder, task: Classification, device: Device, space: Space, architecture: Architecture, named: str
) -> None:
    """Write `deploy.json`, by which `archipel.load` has a finished training's network answer. How long it takes is
    measured here, once.

    Args:
        named: what `archipel.spaces.resolve` finds the space's function by.
    """
    timing = folder.stage_done("timing")
    if timing is None:
        network = channels_last(trained_network(folder, space, architecture), device.torch_device)
        timing = folder.mark_done("timing", measured_ms({"ms": network}, task, device))
    own = Network(named, space.options, _WEIGHTS, space.name, architecture=architecture.to_json())
    family = Family(space.name, 0, "static", (own,), (Point(None, timing["ms"]),))
    about = {"name": device.name, "threads": device.threads, "batch": 1}
    title = folder.read_json("metrics.json")["title"]
    manifest_for(task, title, about, [family]).write(folder)


def trained_network(folder: RunFolder, space: Space, architecture: Architecture) -> nn.Module:
    """The network of a finished training with its weights, on the CPU, in evaluation mode.

    Raises:
        RunError: the training has not ended, or its weights are damaged or another network's.
    """
    if folder.stage_done("training") is None:
        raise RunError(f"the training in {folder.path} has not ended; continue it first, with --resume {folder.path}")
    network = space.build(architecture)
    tensors, _ = folder.read_tensors(_WEIGHTS)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in tensors.items()}:
        raise RunError(f"{folder.path / _WEIGHTS} holds another network's weights")
    network.load_state_dict(tensors)
    return network.eval()
