"""Networks that can answer early: what their trunks share, and what each exit is alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.cost import madds, parameters
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph
from archipel.nn.exits import Exits
from archipel.space import Space
from archipel.spaces import mobilenet_exits

SHAPE = (3, 32, 32)


def networks(macro: str = "cifar") -> list[nn.Module]:
    torch.manual_seed(0)
    space = Space(mobilenet_exits, macro=macro, width=0.25, size=32, classes=5)
    graph = MetaGraph(space)
    return [graph.extract(architecture) for architecture in space]


class TestOf:
    def test_every_exit_is_the_network_it_was(self) -> None:
        children = networks()
        exits = Exits.of(children)
        x = torch.randn(4, *SHAPE)
        for module in (exits, *children):
            module.eval()
        assert len(exits) == len(children) == 3
        answers = exits.answers(x)
        for number, child in enumerate(children):
            torch.testing.assert_close(answers[number], child(x))
            torch.testing.assert_close(exits.child(number)(x), child(x))
        torch.testing.assert_close(exits(x), answers[-1])

    def test_what_is_shared_is_there_once(self) -> None:
        """Each exit adds its head, and the layers since the one before."""
        children = networks()
        exits = Exits.of(children)
        alone = [parameters(child) for child in children]
        heads = [parameters(head) for head in exits.heads]
        assert parameters(exits) == alone[-1] + heads[0] + heads[1] < sum(alone)
        spent = [madds(exits.child(number), SHAPE) for number in range(3)]
        assert spent == sorted(spent) == [madds(child, SHAPE) for child in children]

    def test_networks_that_share_nothing_have_trunks_that_do_nothing_but_the_last(self) -> None:
        torch.manual_seed(0)
        first, second = (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)) for _ in range(2))
        exits = Exits.of([first, second])
        assert [len(trunk) for trunk in exits.trunks] == [0, 1]
        x = torch.randn(5, 3)
        torch.testing.assert_close(exits.answers(x)[0], first(x))
        torch.testing.assert_close(exits.answers(x)[1], second(x))

    def test_one_that_turns_off_before_the_one_before_is_said(self) -> None:
        shared, own = nn.Linear(3, 3), [nn.Linear(3, 3) for _ in range(3)]
        rows = [(shared, own[0]), (shared, own[1]), (own[2], own[1])]
        networks = [nn.Sequential(*row) for row in rows]
        with pytest.raises(SpaceError, match="network 2 of 3 shares 0 layers"):
            Exits.of(networks)

    def test_a_head_behind_every_trunk(self) -> None:
        with pytest.raises(SpaceError, match="2 and 1"):
            Exits([nn.Identity(), nn.Identity()], [nn.Identity()])
