"""The published files, value for value: made-up ones in their form, and the real ones where a user has them."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from archipel.choose import ChildReader
from archipel.cost.complexity import madds, parameters
from archipel.errors import SpaceError
from archipel.evolve.genes import CellGenes
from archipel.evolve.published import groups_from, groups_to, network_from, network_to, space_of_groups
from archipel.space import Space
from archipel.spaces.cell import EDGES, Cell, reference
from archipel.spaces.evolved import Backbone, CellSpace, Kept
from archipel.spaces.proxyless import MACROS


def made_up() -> CellSpace:
    """A network in the published form: cells, residual blocks and absent ones."""
    genes, rng = CellGenes((1, 2, 3, 5), direct=True, mix=True), random.Random(0)
    backbone = Backbone(32, 2, 16, ((24, 2), (24, 1), (24, 1), (40, 2), (40, 1)), 1280, eps=0.006)
    lists = (
        (Kept(genes.sample(rng), 6),),
        (),
        (Kept(reference(), 3),),
        (Kept(genes.sample(rng).with_kernel(9), 3),),
        (),
    )
    return CellSpace(backbone, lists, evidence={"from": "published network"})


def real(name: str) -> Any:
    folder = os.environ.get("ARCHIPEL_DATA")
    path = Path(folder or "") / "autospace" / name
    if not folder or not path.is_file():
        pytest.skip(f"no file autospace/{name} in ARCHIPEL_DATA: the authors' own, which nobody may pass on")
    return json.loads(path.read_text())


class TestMadeUp:
    def test_groups(self) -> None:
        genes, rng = CellGenes((1, 2, 3, 5), direct=True, mix=True), random.Random(0)
        groups = [[genes.sample(rng) for _ in range(3)] for _ in range(2)]
        written = json.loads(json.dumps(groups_to(groups)))
        assert groups_from(written) == groups
        assert groups_to(groups_from(written)) == written

    def test_network(self) -> None:
        space = made_up()
        written = json.loads(json.dumps(network_to(space, classes=7)))
        assert network_from(written) == space
        kinds = [block["mobile_inverted_conv"]["name"] for block in written["blocks"]]
        assert kinds == ["MBInvertedConvLayer", "Motif", "ZeroLayer", "MBInvertedConvLayer", "Motif", "ZeroLayer"]
        assert isinstance(written["blocks"][1]["mobile_inverted_conv"]["build_graph"], str)

    @pytest.mark.parametrize(
        ("path", "value", "said"),
        [
            (("bn", "momentum"), 0.5, "'bn' of the network"),
            (("blocks", 1, "mobile_inverted_conv", "has_se"), True, "'blocks' of the network"),
            (("blocks", 1, "mobile_inverted_conv", "dim_conv_idx"), 9, "'blocks' of the network"),
            (("blocks", 1, "mobile_inverted_conv", "build_graph"), "[[", "no published network"),
            (("blocks", 1, "mobile_inverted_conv", "build_graph"), "__import__('os')", "no published network"),
            (("blocks", 1, "mobile_inverted_conv", "name"), "Other", "a block is a Other"),
            (("first_conv",), None, "no published network"),
            (("more",), 1, "'more' of the network"),
        ],
    )
    def test_what_is_lost_is_told(self, path: tuple[Any, ...], value: Any, said: str) -> None:
        data = json.loads(json.dumps(network_to(made_up())))
        held = data
        for key in path[:-1]:
            held = held[key]
        held[path[-1]] = value
        with pytest.raises(SpaceError, match=said) as caught:
            network_from(data)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "data", [[], {}, {"name": "x", "blocks": []}, {"name": "SuperProxylessNASNets", "blocks": [1]}]
    )
    def test_no_space(self, data: Any) -> None:
        with pytest.raises(SpaceError, match="a published space"):
            groups_from(data)

    def test_a_group_serves_two_blocks(self) -> None:
        groups = [[Cell((5, 1, 5, 1, 1, 5))], [Cell((3, 1, 5, 1, 1, 5))]]
        backbone = Backbone.of(MACROS["compact"])
        with pytest.raises(SpaceError, match="2 groups are given for"):
            space_of_groups(groups, backbone)
        three = Backbone(8, 1, 8, ((8, 1), (8, 1), (16, 2)), 32)
        space = space_of_groups(groups, three, expansions=(2,))
        assert space.blocks[0] == space.blocks[1] != space.blocks[2]
        assert [kept.cell.codes[0] for kept in space.blocks[0]] == [5, 7, 9, 1]
        assert [kept.cell for kept in space.blocks[2]] == [*groups[1], reference()]
        assert Space(space.function).size == 5 * 5 * 2


class TestReal:
    def test_space(self) -> None:
        """The counts of the specification's section 1.2."""
        config = real("search_space.config")
        groups = groups_from(config)
        cells = [cell for group in groups for cell in group]
        assert groups_to(groups) == config
        assert [len(group) for group in groups] == [9] * 11
        assert len(set(cells)) == 65
        counts = {edge: Counter(cell.codes[i] for cell in cells) for i, edge in enumerate(EDGES)}
        assert counts[0, 3] == {1: 99}
        assert counts[0, 1] == {2: 25, 3: 12, 5: 62}
        assert counts[0, 2] == {1: 39, 2: 17, 3: 17, 5: 26}
        assert counts[1, 2] == {2: 34, 3: 10, 5: 55}
        assert counts[1, 3] == {1: 35, 2: 30, 3: 11, 5: 23}
        assert counts[2, 3] == {2: 40, 3: 9, 5: 50}
        assert Counter(cell.dim for cell in cells) == {0: 26, 1: 19, 2: 54}
        assert Counter(cell.mix for cell in cells) == {(0, 0): 62, (0, 1): 10, (1, 0): 12, (1, 1): 15}
        assert len({tuple(group[-3:]) for group in groups}) == 1
        assert len(space_of_groups(groups).blocks) == 21

    def test_network(self) -> None:
        """340 M multiply-adds and 4.3 M parameters are said of it; within 6 %."""
        config = real("net_340M.config")
        kept = network_from(config)
        assert network_to(kept) == config
        space = Space(kept.function, classes=1000, size=224)
        chosen = {choice.name: choice.options[0] for choice in space.choices}
        network = space.read(ChildReader(space.canonical(chosen)), device="meta").eval()
        assert madds(network, (3, 224, 224)) == pytest.approx(340e6, rel=0.06)
        assert parameters(network) == pytest.approx(4.3e6, rel=0.06)
