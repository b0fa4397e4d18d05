"""Every way of running a mixed batch gives what each image's own child gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.errors import OptionError
from archipel.instance.executors import EXECUTORS, execute, groups_of, segments
from archipel.metagraph import MetaGraph, Single
from archipel.sharing.policies import draw_codes
from archipel.space import Space


def batch_of(space: Space, size: int = 9, pool: int = 5) -> torch.Tensor:
    chance = torch.Generator().manual_seed(0)
    codes = draw_codes(space, pool, 0.5, chance)
    return codes[torch.randint(pool, (size,), generator=chance)]


@pytest.mark.parametrize("name", EXECUTORS)
def test_each_row_is_its_childs_output(name: str, graph: MetaGraph) -> None:
    """Conditional choices, sums, averages, empty selections, cells and sizes."""
    codes = batch_of(graph.space)
    x = torch.randn(len(codes), 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        together = execute(graph, x, codes, name)
        alone = torch.cat([graph(x[i : i + 1], Single(graph.space.decode(code))) for i, code in enumerate(codes)])
    assert together.allclose(alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", EXECUTORS)
def test_channels_last_too(name: str, enliven) -> None:
    graph = enliven(MetaGraph(Space(chain))).to(memory_format=torch.channels_last)
    codes = batch_of(graph.space)
    x = torch.randn(len(codes), 3, 8, 8).double()
    with torch.no_grad():
        plain = execute(graph, x, codes, "gathered")
        laid = execute(graph, x.contiguous(memory_format=torch.channels_last), codes, name)
    assert laid.allclose(plain)


class Counting(nn.Module):
    """The images that it has been given, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return x


def chain(choose) -> nn.Module:
    options = {"a": Counting, "b": Counting}
    return nn.Sequential(Counting(), choose.op("l0", options), nn.Sequential(Counting(), choose.op("l1", options)))


def counted(name: str, codes: list[str]) -> list[list[int]]:
    """What each module of `chain` was called with: stem, l0 a, l0 b, middle, l1 a, l1 b."""
    space = Space(chain)
    graph = MetaGraph(space)
    rows = torch.stack([space.encode({"l0": first, "l1": second}) for first, second in codes])
    execute(graph, torch.randn(len(codes), 1), rows, name)
    return [module.calls for module in graph.modules() if isinstance(module, Counting)]


class TestWhatRuns:
    CODES = ("aa", "ba", "ab", "aa")

    def test_gathered_runs_each_option_once(self) -> None:
        assert counted("gathered", list(self.CODES)) == [[4], [3], [1], [4], [3], [1]]

    def test_grouped_runs_each_architecture_once(self) -> None:
        stem, a0, b0, middle, a1, b1 = counted("grouped", list(self.CODES))
        assert sorted(stem) == sorted(middle) == [1, 1, 2]
        assert (sorted(a0), b0, sorted(a1), b1) == ([1, 2], [1], [1, 2], [1])

    def test_prefix_runs_what_is_still_agreed_on_together(self) -> None:
        stem, a0, b0, middle, a1, b1 = counted("prefix", list(self.CODES))
        assert (stem, a0, b0, sorted(middle)) == ([4], [3], [1], [1, 3])
        assert (sorted(a1), b1) == ([1, 2], [1])

    def test_masked_runs_what_any_takes_on_all(self) -> None:
        assert counted("masked", list(self.CODES)) == [[4], [4], [4], [4], [4], [4]]
        assert counted("masked", ["aa", "ba"]) == [[2], [2], [2], [2], [2], []]

    @pytest.mark.parametrize("name", EXECUTORS)
    def test_where_all_agree_each_is_one_pass(self, name: str) -> None:
        assert counted(name, ["ab"] * 3) == [[3], [3], [], [3], [], [3]]


def test_segments_open_plain_sequences_only() -> None:
    space = Space(chain)
    found = segments(MetaGraph(space))
    assert [segment.columns.tolist() for segment in found] == [[], [0, 1], [], [2, 3]]


def test_groups_are_equal_rows_in_order() -> None:
    codes = torch.tensor([[1, 0], [0, 1], [1, 0]], dtype=torch.bool)
    assert sorted(rows.tolist() for rows in groups_of(codes)) == [[0, 2], [1]]
    assert [rows.tolist() for rows in groups_of(codes[:, :0])] == [[0, 1, 2]]


def test_an_unknown_one_is_named() -> None:
    space = Space(chain)
    with pytest.raises(OptionError, match=r"there is no executor 'gatherd' .*did you mean 'gathered'"):
        execute(MetaGraph(space), torch.zeros(1, 1), batch_of(space, 1), "gatherd")  # type: ignore[arg-type]
