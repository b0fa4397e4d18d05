"""The contract of ledgers, held against each."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.evaluators import Objective
from archipel.space import Space
from archipel.trials import Ledger, MemoryLedger, StudyLedger


def three(choose: Choose) -> nn.Module:
    return nn.Sequential(choose.op("op", dict.fromkeys("abc", nn.Identity)))


SPACE = Space(three)
A, B, C = SPACE


@pytest.fixture(params=["memory", "study", "study alone"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "memory":
        return MemoryLedger()
    return StudyLedger(tmp_path / "study.db", SPACE, [Objective("accuracy")], alone=request.param == "study alone")


class TestEveryLedger:
    def test_keeps_what_was_found(self, ledger: Ledger) -> None:
        assert ledger.known(A) is None
        assert ledger.claim(A, most=None)
        first = ledger.finish(A, {"accuracy": 91.5}, 2.0)
        assert ledger.claim(B, most=None)
        second = ledger.fail(B, "does not train", 0.5)
        assert [ledger.known(A), ledger.known(B), ledger.known(C)] == [first, second, None]
        assert list(ledger.trials()) == [first, second]
        assert ledger.spent() == (2, 2.5)
        assert (first.number, first.architecture, first.metrics) == (0, A, {"accuracy": 91.5})
        assert (second.metrics, second.error) == (None, "does not train")

    def test_gives_an_architecture_to_one_only(self, ledger: Ledger) -> None:
        assert ledger.claim(A, most=None)
        ledger.finish(A, {"accuracy": 1.0}, 0.0)
        assert not ledger.claim(A, most=None)
        assert not ledger.claim(Architecture(op="a"), most=None), "equal architectures are one"

    def test_gives_out_no_more_than_the_budget(self, ledger: Ledger) -> None:
        for architecture in (A, B):
            assert ledger.claim(architecture, most=2)
            ledger.finish(architecture, {"accuracy": 1.0}, 0.0)
        assert not ledger.claim(C, most=2)
        assert ledger.claim(C, most=3)

    def test_nobody_else_is_at_it(self, ledger: Ledger) -> None:
        assert ledger.abandoned() is None
        assert list(ledger.news()) == []


def test_keys_are_canonical(small_space: Space) -> None:
    ledger = MemoryLedger()
    for architecture in small_space:
        assert ledger.claim(architecture, most=None)
        ledger.finish(architecture, {}, 0.0)
    assert all(ledger.known(small_space.canonical(dict(a))) is not None for a in small_space)
