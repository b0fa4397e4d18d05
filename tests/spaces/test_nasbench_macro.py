"""NAS-Bench-Macro: the benchmark's own parameters and multiply-adds."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import ChildReader
from archipel.cost import madds, parameters
from archipel.nn import Residual
from archipel.space import Space
from archipel.spaces import nasbench_macro

OPTIONS = ("Identity", "MB3_K3", "MB6_K5")

# Code → (parameters, multiply-adds), as the benchmark lists them.
PUBLISHED = {"00000000": (387_882, 7_713_280), "00000001": (791_594, 14_115_328)}


def network(code: str) -> nn.Module:
    architecture = Architecture({f"l{i}": OPTIONS[int(digit)] for i, digit in enumerate(code)})
    return Space(nasbench_macro).read(ChildReader(architecture), device="meta").eval()


def test_size() -> None:
    space = Space(nasbench_macro)
    assert [choice.name for choice in space.choices] == [f"l{i}" for i in range(8)]
    assert all(choice.options == OPTIONS for choice in space.choices)
    assert space.size == 6_561


@pytest.mark.parametrize("code", PUBLISHED)
def test_published_totals(code: str) -> None:
    assert (parameters(network(code)), madds(network(code), (3, 32, 32))) == PUBLISHED[code]


def test_the_table_of_the_benchmark() -> None:
    folder = os.environ.get("ARCHIPEL_DATA")
    if folder is None:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    table = np.load(Path(folder) / "nasbench_macro/nasbench_macro.npz")
    for row in random.Random(0).sample(range(6_561), 6):
        found = network("".join(map(str, table["arch"][row])))
        assert parameters(found) == table["params"][row]
        assert madds(found, (3, 32, 32)) == table["flops"][row]


def test_an_absent_layer_is_the_identity_or_a_projection() -> None:
    torch.manual_seed(0)
    absent = Space(nasbench_macro, width=0.25).build({f"l{i}": "Identity" for i in range(8)})
    layers = list(absent)[1:9]
    assert [isinstance(layer, nn.Identity) for layer in layers] == [i not in (0, 2, 5) for i in range(8)]
    assert all((layers[i](torch.randn(2, layers[i][0].in_channels, 4, 4)) < 0).any() for i in (0, 2, 5))
    present = Space(nasbench_macro, width=0.25).build({f"l{i}": "MB3_K3" for i in range(8)})
    assert [isinstance(layer, Residual) for layer in list(present)[1:9]] == [i not in (0, 2, 5) for i in range(8)]
