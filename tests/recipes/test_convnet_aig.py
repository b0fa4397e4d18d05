"""ConvNet-AIG's published settings, and both ways to read gates in one result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archipel.cost import Device
from archipel.recipes.convnet_aig import PRESETS, Settings, run
from archipel.recipes.convnet_aig.settings import Inference
from archipel.recipes.settings import Jobs, Latency
from archipel.recipes.skipping.settings import Controls, Network
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import resnet_flat
from archipel.tasks import load


def test_the_faithful_preset_is_the_released_programs() -> None:
    released = PRESETS["faithful"]
    space = Space(resnet_flat, blocks=released.network.blocks, downsample=released.network.downsample)
    assert len(space.choices) == 54
    gating = released.gating
    assert (gating.epochs, gating.batch, gating.lr, gating.momentum, gating.weight_decay) == (350, 256, 0.1, 0.9, 5e-4)
    assert (gating.targets, gating.strength, gating.cost, gating.gate_lr) == ((0.6,), 2.0, "rate", 1.0)
    assert (gating.hidden, gating.always, gating.decay) == (16, (), "steps")
    assert released.inference.gates == "sampled"


@pytest.mark.parametrize("gates", ["argmax", "sampled"])
def test_both_ways_to_read_gates_are_told(gates: str, arithmetic_table, tmp_path: Path) -> None:
    settings = Settings(
        network=Network(blocks=1, width=0.5),
        gating=replace(PRESETS["digits"].gating, epochs=1, batch=32, targets=(0.5,)),
        inference=Inference(gates=gates),  # type: ignore[arg-type]
        controls=Controls(epochs=1, batch=32, pool=1, shuffles=1),
        latency=Latency(images=1, final_rounds=1, throughput_batch=8),
        jobs=Jobs(workers=1),
    )
    task, device = load("digits", images=120, test_images=40), Device("cpu", 1)
    table = arithmetic_table(open_space(task, resnet_flat, settings.network), device)
    with RunFolder.create(tmp_path / "run", {}, "archipel search") as folder:
        point = run(folder, task, device, resnet_flat, settings, seeds=1, table=table)["points"][0]
    assert point["accuracy"] == point[f"{gates}_accuracy"]
    assert point["table_ms"] == point[f"{gates}_ms"]
    assert point["sampled_ms"]["mean"] != point["argmax_ms"]["mean"]
    assert "sampled with noise, as released" in point["note"]
