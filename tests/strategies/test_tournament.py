"""Tournament evolution: who is a parent, that nobody dies, and which level a mutation changes."""

from __future__ import annotations

from collections import Counter

import pytest

from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces import hierarchical, nasbench201
from archipel.spaces.hierarchical import identity_chain, level
from archipel.strategies import TournamentEvolution

MOTIFS = Space(hierarchical, motifs=3, motif_nodes=3, nodes=3, filters=1)


def changes(one, other) -> list[str]:
    return [name for name in one if one[name] != other[name]]


def test_first_members_come_from_the_chain_of_identities() -> None:
    own = TournamentEvolution(MOTIFS, population=2, mutations=1)
    chain = identity_chain(MOTIFS)
    assert [name for name, value in chain.items() if value == "none"] == [
        "m1.e0_2", "m2.e0_2", "m3.e0_2", "cell.e0_2",
    ]  # fmt: skip
    assert len(changes(own.ask(), chain)) == 1
    far = TournamentEvolution(MOTIFS, population=2, mutations=200)
    assert len(changes(far.ask(), chain)) > 6


def test_children_of_the_best_and_nobody_dies() -> None:
    own = TournamentEvolution(Space(nasbench201), population=4, share=1.0, seed=1)
    best = None
    for i in range(30):
        asked = own.ask()
        if i >= 4:
            assert len(changes(asked, best)) == 1
        own.tell(asked, (-float(i),))
        best = best or asked
    assert len(own.members) == 30


def test_both_levels_change_alike_often() -> None:
    """Nine edges are in motifs, three in the cell: half of the mutations each, within four standard deviations."""
    own, chain = TournamentEvolution(MOTIFS), identity_chain(MOTIFS)
    count = Counter(level(changes(own._mutated(chain), chain)[0]) for _ in range(400))
    assert abs(count[2] - 200) < 4 * 10


def test_mistakes() -> None:
    with pytest.raises(OptionError, match=r"a population of 0, 200 mutations and a share of 0\.05 are given"):
        TournamentEvolution(MOTIFS, population=0)
