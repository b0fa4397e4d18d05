"""What recipes leave for those who use their networks, where they have no more to say of them than their costs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from archipel.cost import Device, measure
from archipel.deploy.manifest import Family, Manifest
from archipel.tasks.classification import Classification

__all__ = ["manifest_for", "measured_ms"]

_ROUNDS = 20


def manifest_for(task: Classification, title: str, device: Mapping[str, Any], families: Sequence[Family]) -> Manifest:
    """A run's `deploy.json`.

    Args:
        device: `name` and `threads` at least.
        families: what the run reports first comes first.
    """
    return Manifest(
        title=title,
        task=task.spec.name,
        input_shape=task.spec.input_shape,
        classes=task.spec.classes,
        mean=tuple(task.mean.tolist()),
        std=tuple(task.std.tolist()),
        device=device,
        families=tuple(families),
    )


def measured_ms(networks: Mapping[str, nn.Module], task: Classification, device: Device) -> dict[str, float]:
    """Milliseconds of one image alone, by turns, of networks that no latency table knows."""
    images = next(iter(task.loader("val", 1, device=device.torch_device))).inputs
    calls = {name: device.call(network, images) for name, network in networks.items()}
    times = measure(calls, device, rounds=_ROUNDS, rng=random.Random(0), title="timing")
    return {name: timing.ms for name, timing in times.items()}
