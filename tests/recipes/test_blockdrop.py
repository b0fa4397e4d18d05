"""BlockDrop's published settings, and its policy network."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from archipel.cost import madds, parameters
from archipel.recipes.blockdrop import PRESETS
from archipel.recipes.blockdrop.stages import new_policy
from archipel.space import Space
from archipel.spaces import resnet_flat


def test_the_faithful_preset_is_the_released_programs() -> None:
    released = PRESETS["faithful"]
    space = Space(resnet_flat, blocks=released.network.blocks, downsample=released.network.downsample)
    assert len(space.choices) == 54
    first, second = released.curriculum, released.joint
    assert (first.epochs, first.batch, first.lr, first.penalty) == (5000, 2048, 1e-3, 1.0)
    assert (first.alpha, first.beta, first.entropy) == ((0.8, 0.8), 0.1, "half")
    assert (second.epochs, second.batch, second.lr, second.lr_decay_epochs) == (2000, 256, 1e-4, 1600)
    assert (second.penalties, second.alpha, second.scaling) == ((10.0,), (0.8, 0.8), "sum")
    assert released.backbone.keep_final == 1.0
    assert (released.policy.kind, released.policy.use) == ("resnet", "blocks")


def test_the_published_policy_network_has_a_block_a_stage() -> None:
    study = SimpleNamespace(
        task=SimpleNamespace(spec=SimpleNamespace(input_shape=(3, 32, 32))),
        space=Space(resnet_flat, blocks=18),
        settings=PRESETS["faithful"],
        seed_of=lambda *_: 0,
        on_device=lambda module: module,
    )
    policy = new_policy(study, 0)  # type: ignore[arg-type]
    assert policy(torch.zeros(2, 3, 32, 32)).shape == (2, 54)
    # Stem, three blocks of two 3×3 convolutions, batch norms, linear 64 → 54.
    convolutions = 3 * 16 * 9 + 9 * (2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    assert parameters(policy) == convolutions + 2 * (16 * 3 + 32 * 2 + 64 * 2) + 65 * 54
    # The policy is about 5 % of the network it decides about.
    with torch.device("meta"):
        whole = study.space.build(study.space.unrank(study.space.size - 1))
    assert 0.04 < madds(policy, (3, 32, 32)) / madds(whole, (3, 32, 32)) < 0.06
