"""Published tables: the sums of the method's specification, other authors' own totals, and what is refused."""

from __future__ import annotations

import gzip
import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost.additive import AdditiveCost, complexity_cost
from archipel.cost.published import device_figures, published_cost
from archipel.errors import TableError
from archipel.nn import ConvBN
from archipel.nn.blocks import InvertedResidual, Residual, Zero, residual
from archipel.space import Space
from archipel.spaces import NETS, fbnet, proxyless

IMAGE = (3, 224, 224)
ONE_BODY: dict[str, Any] = {"kernels": (3,), "expansions": (3,)}


@pytest.fixture(scope="module")
def tables() -> Path:
    folder = os.environ.get("ARCHIPEL_DATA")
    if not folder:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    return Path(folder) / "hw_latency"


class Block(InvertedResidual):
    """An inverted residual of any inner width, with squeeze-and-excitation where `squeezed` is not 0."""

    def __init__(self, c_in: int, hidden: int, c_out: int, kernel: int, stride: int, act, squeezed: int = 0) -> None:
        squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(hidden, max(1, squeezed), 1),
            nn.ReLU(),
            nn.Conv2d(max(1, squeezed), hidden, 1),
        )
        nn.Sequential.__init__(
            self,
            *([ConvBN(c_in, hidden, act=act)] if hidden != c_in else []),
            ConvBN(hidden, hidden, kernel, stride=stride, groups=hidden, act=act),
            *([Scaled(squeeze)] if squeezed else []),
            ConvBN(hidden, c_out, act=None),
        )


class Scaled(nn.Module):
    def __init__(self, squeeze: nn.Module) -> None:
        super().__init__()
        self.squeeze = squeeze

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.squeeze(x)


def alike(space: Space, option: str, otherwise: str | None = None) -> Architecture:
    """`option` everywhere, or where a block may vanish `otherwise`."""
    return Architecture({c.name: otherwise if otherwise in c.options else option for c in space.choices})


def uniform(space: Space) -> dict[str, torch.Tensor]:
    return {c.name: torch.full((len(c.options),), 1 / len(c.options), dtype=torch.float64) for c in space.choices}


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(proxyless, size=224, classes=1000)


@pytest.fixture(scope="module")
def cost(tables: Path, space: Space) -> AdditiveCost:
    return published_cost(space, str(tables / "proxylessnas_pixel1_lut.json"), IMAGE)


class TestPixel1:
    """Section 2.1 of the method's specification."""

    @pytest.mark.parametrize(
        ("option", "ms"),
        [
            ("k3e3", 76.048),
            ("k3e6", 136.466),
            ("k5e3", 87.720),
            ("k5e6", 158.953),
            ("k7e3", 103.666),
            ("k7e6", 191.030),
        ],
    )
    def test_sums(self, cost: AdditiveCost, option: str, ms: float) -> None:
        assert cost.of(alike(cost.space, option)) == pytest.approx(ms, abs=1e-3)

    def test_fixed_rows_and_zero(self, cost: AdditiveCost) -> None:
        assert cost.base == pytest.approx(11.3642, abs=1e-4)
        assert cost.of(alike(cost.space, "k3e3", "zero")) == pytest.approx(29.609, abs=1e-3)
        for choice in cost.space.choices:
            if "zero" in choice.options:
                assert cost.columns[cost.space.slices[choice.name]][-1] == 0.0

    def test_expectation_and_its_gradient(self, cost: AdditiveCost) -> None:
        logits = {name: torch.zeros_like(p).requires_grad_() for name, p in uniform(cost.space).items()}
        expected = cost.expected({name: logit.softmax(0) for name, logit in logits.items()})
        assert expected.item() == pytest.approx(113.988, abs=1e-3)
        expected.backward()
        for block in ("b10", "b11", "b12"):  # the 14×14×80 blocks that may vanish
            gradient = logits[block].grad
            assert gradient is not None
            vector = [-0.122622, 0.109969, -0.081882, 0.197155, -0.028484, 0.311536, -0.385672]
            assert gradient.tolist() == pytest.approx(vector, abs=1e-6)

    def test_expected_multiply_adds(self, space: Space) -> None:
        cost = complexity_cost(space, "madds", IMAGE)
        assert cost.expected(uniform(space)).item() == pytest.approx(373_300_544, abs=1e-4)
        for option, count in (("k3e3", 257_422_208), ("k7e6", 606_590_720)):
            assert cost.of(alike(space, option)) == count

    def test_at_certainty_it_is_the_derived_networks_cost(self, cost: AdditiveCost) -> None:
        architecture = cost.space.sample(random.Random(0))
        one_hot = {
            c.name: torch.tensor([float(option == architecture[c.name]) for option in c.options])
            for c in cost.space.choices
        }
        assert cost.expected(one_hot).item() == pytest.approx(cost.of(architecture), abs=1e-9)

    def test_the_published_network_with_its_first_stage_narrowed(self, cost: AdditiveCost) -> None:
        assert cost.of(NETS["proxyless_mobile"].architecture) == pytest.approx(82.5, abs=0.05)

    def test_a_hole_is_named_and_never_filled(self, tables: Path) -> None:
        net = NETS["proxyless_mobile"]
        path = str(tables / "proxylessnas_pixel1_lut.json")
        with pytest.raises(TableError, match=r"no entry 'expanded_conv-input:112x112x16-output:56x56x32-expand:3-"):
            published_cost(Space(net.function, **net.options, **ONE_BODY), path, IMAGE)
        with pytest.raises(TableError, match="no entry 'Logits-input:7x7x1280-output:10' of space 'proxyless'"):
            published_cost(Space(proxyless, size=224, classes=10, **ONE_BODY), path, IMAGE)

    def test_an_entry_that_three_blocks_share_errs_three_times(self, cost: AdditiveCost, tables: Path) -> None:
        entries = json.loads((tables / "proxylessnas_pixel1_lut.json").read_text())

        def error(key: str) -> float:
            entry = entries[key]
            return max(entry["var"], math.sqrt(entry["var"])) / math.sqrt(entry["count"])

        variance = 0.0
        for key in entries:
            if "expand:3-kernel:3" in key:  # the fixed block, expansion 1, comes below
                shared = 3 if "idskip:1" in key else 1
                variance += (shared * error(key)) ** 2
            if not key.startswith("expanded") or "expand:1-kernel:3" in key:
                variance += error(key) ** 2
        low, high = cost.interval(alike(cost.space, "k3e3"), 0.6826894921370859)  # one standard deviation
        assert (high - low) / 2 == pytest.approx(variance**0.5, rel=1e-6)


class TestNote10:
    def test_a_specialised_network_costs_what_its_authors_say(self, tables: Path) -> None:
        """Named 30 ms by its authors, who chose it by these tables."""
        nets = json.loads(gzip.decompress((tables / "ofa_specialized_nets.json.gz").read_bytes()))
        net = nets["note10_lat-30ms_top1-78.4_finetune-75"]
        size = net["run"]["image_size"]
        space = Space(once_for_all, net=net["net"])
        for spec in ("ofa_note10_lut.json", f"ofa_note10_lut.json:{size}"):
            cost = published_cost(space, str(tables / spec), (3, size, size))
            assert cost.of({}) == pytest.approx(29.965346, abs=1e-6)
            assert round(cost.of({})) == net["cost"]
            low, high = cost.interval({}, 0.95)
            assert 0 < high - low < 1

    def test_an_image_size_without_a_table_is_named(self, tables: Path) -> None:
        space = Space(proxyless, size=224, classes=1000, **ONE_BODY)
        with pytest.raises(TableError, match=r"has no device '220' .*did you mean '2"):
            published_cost(space, str(tables / "ofa_note10_lut.json"), (3, 220, 220))
        with pytest.raises(TableError, match="no entry"):
            published_cost(space, str(tables / "ofa_note10_lut.json:224"), IMAGE)


def once_for_all(choose, *, net: dict[str, Any]) -> nn.Module:  # noqa: ARG001
    """A network from Once-for-All's own configuration."""
    acts = {"relu": nn.ReLU, "h_swish": nn.Hardswish}
    layers: list[nn.Module] = [ConvBN(3, net["first_conv"]["out_channels"], 3, stride=2, act=nn.Hardswish)]
    for block in net["blocks"]:
        m = block["mobile_inverted_conv"]
        hidden = m["mid_channels"] or round(m["in_channels"] * m["expand_ratio"])
        squeezed = hidden // 4 if m["use_se"] else 0
        shape = (m["in_channels"], hidden, m["out_channels"], m["kernel_size"], m["stride"])
        made = Block(*shape, acts[m["act_func"]], squeezed)
        layers.append(made if block["shortcut"] is None else Residual(made))
    last, mix = net["final_expand_layer"], net["feature_mix_layer"]
    c, wide, mixed = last["in_channels"], last["out_channels"], mix["out_channels"]
    return nn.Sequential(
        *layers,
        ConvBN(c, wide, act=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(wide, mixed, 1, bias=False),
        nn.Hardswish(),
        nn.Flatten(),
        nn.Linear(mixed, 1000),
    )


@pytest.fixture(scope="module")
def fbnet_space() -> Space:
    return Space(fbnet)


class TestFbnet:
    @pytest.mark.parametrize("device", ["pixel3", "raspi4", "eyeriss", "fpga"])
    def test_it_gives_the_measured_networks_back(self, tables: Path, fbnet_space: Space, device: str) -> None:
        cost = published_cost(fbnet_space, f"{tables / 'fbnet_lut_derived.json'}:{device}", (3, 32, 32))
        assert cost.name == device
        measured = device_figures(tables / "help_fbnet.npz")[device]
        with np.load(tables / "help_fbnet.npz") as file:
            operations, names = file["arch_ops"], [name.decode() for name in file["op_names"]]
        for i in range(0, 5000, 500):
            chosen = {f"l{layer}": names[op] for layer, op in enumerate(operations[i])}
            assert cost.of(chosen) == pytest.approx(float(measured[i]), rel=1e-5)

    def test_devices_are_listed_and_the_nearest_named(self, tables: Path, fbnet_space: Space) -> None:
        path = tables / "fbnet_lut_derived.json"
        with pytest.raises(TableError, match=r"no device 'pixel4' \(.*raspi4.*\); did you mean 'pixel3'"):
            published_cost(fbnet_space, f"{path}:pixel4", (3, 32, 32))
        with pytest.raises(TableError, match=r"is of several devices .* write '.*json:pixel3'"):
            published_cost(fbnet_space, str(path), (3, 32, 32))
        with pytest.raises(TableError, match="give space 'fbnet'"):
            published_cost(TestWithoutTheData().small(), f"{path}:pixel3", (3, 32, 32))


class TestTfnas:
    def test_blocks_are_looked_up_by_inner_channels_and_negatives_are_nothing(self, tables: Path) -> None:
        def two(choose) -> nn.Module:
            swish, relu = nn.SiLU, nn.ReLU
            first = {
                "narrow": lambda: Block(16, 4, 24, 3, 2, relu),
                "wide": lambda: Block(16, 96, 24, 3, 2, relu),
                "squeezed": lambda: Block(16, 96, 24, 5, 2, relu, squeezed=32),
            }
            rest = {"k5": lambda: Block(40, 120, 40, 5, 1, swish, squeezed=40), "none": Zero}
            return nn.Sequential(
                ConvBN(3, 16, 3, stride=2),
                choose.op("first", first),
                Block(24, 72, 40, 3, 2, swish),
                residual(choose.op("rest", rest)),
            )

        document = json.loads(gzip.decompress((tables / "tfnas_lut.json.gz").read_bytes()))
        space = Space(two)
        for device in ("gpu", "cpu"):
            cost = published_cost(space, f"{tables / 'tfnas_lut.json.gz'}:{device}", IMAGE)

            def entry(name: str, hidden: int, table=document[device]) -> float:
                row = table[f"MBInvertedResBlock_{name}"]
                return row["latency_ms"][row["mid_channels"].index(hidden)]

            assert entry("112_16_0_24_k3_s2_relu", 4) < 0
            expected = [
                0.0,
                entry("112_16_0_24_k3_s2_relu", 96),
                entry("112_16_32_24_k5_s2_relu", 96),
                entry("28_40_40_40_k5_s1_swish", 120),
                0.0,
            ]
            assert cost.columns.tolist() == pytest.approx(expected)
            assert cost.base == pytest.approx(document[device]["base"])


def test_figures_of_tabular_spaces(tables: Path) -> None:
    help_ = device_figures(tables / "help_nasbench201.npz")
    assert len(help_) == 27
    assert help_["pixel3"].shape == (15625,)
    own = device_figures(tables / "hw_nasbench201_cifar10.npz")
    assert {"pixel3_latency_ms", "eyeriss_energy_mj", "fpga_energy_mj"} <= own.keys()
    assert "cifar10_test_acc_seed888" not in own
    np.testing.assert_allclose(help_["pixel3"], own["pixel3_latency_ms"], rtol=1e-5)
    np.testing.assert_allclose(own["fpga_energy_mj"], 7 * own["fpga_latency_ms"], rtol=1e-9)


ROWS = {
    "Conv-input:9x9x3-output:5x5x4": 1.0,
    "expanded_conv-input:5x5x4-output:5x5x4-expand:2-kernel:3-stride:1-idskip:1": 2.0,
    "expanded_conv-input:5x5x4-output:5x5x4-expand:3-kernel:3-stride:1-idskip:1": 3.0,
    "Conv_1-input:5x5x4-output:5x5x8": 0.5,
    "Logits-input:5x5x8-output:10": 0.25,
}


class TestWithoutTheData:
    """The same on tables of a few lines."""

    def small(self) -> Space:
        def tiny(choose) -> nn.Module:
            options = {"e2": lambda: InvertedResidual(4, 4, expand=2), "e3": lambda: InvertedResidual(4, 4, expand=3)}
            return nn.Sequential(
                ConvBN(3, 4, 3, stride=2),
                residual(choose.op("l0", {**options, "zero": Zero})),
                ConvBN(4, 8),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(8, 10),
            )

        return Space(tiny)

    def write(self, path: Path, rows: dict[str, float]) -> str:
        path.write_text(json.dumps({key: {"count": 4, "mean": ms, "var": 0.04} for key, ms in rows.items()}))
        return str(path)

    def test_odd_sizes_come_from_the_pass_and_not_from_the_stride(self, tmp_path: Path) -> None:
        cost = published_cost(self.small(), self.write(tmp_path / "t.json", ROWS), (3, 9, 9))
        assert cost.name == "pixel1"
        assert cost.base == 1.75
        assert cost.columns.tolist() == [2.0, 3.0, 0.0]
        assert cost.errors is not None
        assert cost.errors.norm(dim=0).tolist() == pytest.approx([0.1 * 3**0.5, 0.1, 0.1, 0.0])

    @pytest.mark.parametrize("key", ROWS)
    def test_every_missing_entry_is_named(self, tmp_path: Path, key: str) -> None:
        rows = {name: ms for name, ms in ROWS.items() if name != key}
        with pytest.raises(TableError, match=f"no entry '{key}' of space 'tiny'"):
            published_cost(self.small(), self.write(tmp_path / "t.json", rows), (3, 9, 9))

    def test_what_is_no_table_is_refused_in_a_line(self, tmp_path: Path) -> None:
        space, path = self.small(), tmp_path / "t.json"
        with pytest.raises(TableError, match=r"there is no table '.*t\.json'; give FILE or FILE:DEVICE"):
            published_cost(space, str(path), (3, 9, 9))
        path.write_text("{")
        with pytest.raises(TableError, match="cannot be read"):
            published_cost(space, f"{path}:pixel1", (3, 9, 9))
        for document in ("[]", "{}", '{"a": 1}', '{"a": {"b": 1}}'):
            path.write_text(document)
            with pytest.raises(TableError, match="of no kind known here"):
                published_cost(space, str(path), (3, 9, 9))
        with pytest.raises(TableError, match=r"no device 'pixel2'.*did you mean 'pixel1'"):
            published_cost(space, f"{self.write(path, ROWS)}:pixel2", (3, 9, 9))
        path.write_bytes(b"no archive")
        with pytest.raises(TableError, match=r"is no \.npz file"):
            device_figures(path)
        with pytest.raises(TableError, match="there is no table"):
            device_figures(tmp_path / "absent.npz")
