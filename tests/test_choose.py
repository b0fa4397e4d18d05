"""`Elastic` numbers and the modules a child is made of; mistakes in a space function are in test_space.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import ChildReader, Elastic, Recorder, Select, Sum
from archipel.errors import SpaceError


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class TestElastic:
    def test_arithmetic_follows_the_numbers(self, recorder: Recorder) -> None:
        a, b = recorder.value("a", [4, 8]), recorder.value("b", [1, 3])
        cases = {
            "a+b": (a + b, lambda x, y: x + y),
            "1+a-2": (1 + a - 2, lambda x, y: 1 + x - 2),  # noqa: ARG005
            "20-a": (20 - a, lambda x, y: 20 - x),  # noqa: ARG005
            "a*b//2": (a * b // 2, lambda x, y: x * y // 2),
            "3*a": (3 * a, lambda x, y: 3 * x),  # noqa: ARG005
            "100//a": (100 // a, lambda x, y: 100 // x),  # noqa: ARG005
            "(a*b)*(a+b)": ((a * b) * (a + b), lambda x, y: (x * y) * (x + y)),
            "a*b - a": (a * b - a, lambda x, y: x * y - x),
        }
        for name, (expression, plain) in cases.items():
            expected = {(x, y): plain(x, y) for x in (4, 8) for y in (1, 3)}
            assert {(x, y): expression.at({"a": x, "b": y}) for x, y in expected} == expected, name
            assert expression.values == tuple(sorted(set(expected.values()))), name
            assert expression.max == max(expected.values()), name

    def test_the_same_arithmetic_in_a_child_is_of_plain_numbers(self) -> None:
        reader = ChildReader(Architecture(a=4, b=3))
        assert reader.value("a", [4, 8]) * reader.value("b", [1, 3]) // 2 == 6

    def test_it_equals_itself_only(self, recorder: Recorder) -> None:
        a, b = recorder.value("a", [4, 8]), recorder.value("b", [1, 3])
        same = a
        assert a == same
        assert not a != same  # noqa: SIM202
        for compare in (lambda: a == b, lambda: a != b, lambda: 4 == a, lambda: a in [b]):  # noqa: SIM300
            with pytest.raises(SpaceError, match="still open"):
                compare()

    @pytest.mark.parametrize("use", [int, round, lambda v: v / 2, lambda v: 2 / v, lambda v: v % 2, list, str.__mul__])
    def test_what_needs_the_number_now_is_refused(self, recorder: Recorder, use) -> None:
        value = recorder.value("width", [2, 4])
        with pytest.raises(SpaceError, match="value 'width' is still open"):
            use("ab", value) if use is str.__mul__ else use(value)

    def test_an_expression_names_all_its_choices(self, recorder: Recorder) -> None:
        with pytest.raises(SpaceError, match="value 'a' and 'b' is still open"):
            bool(recorder.value("a", [1, 2]) + recorder.value("b", [1, 2]))

    def test_depth_of_an_expression(self, recorder: Recorder) -> None:
        depth = recorder.value("depth", [1, 2]) * 2 - 1  # 1 or 3 layers
        with depth.above(2):
            recorder.op("late", {"a": nn.Identity})
        assert recorder.choices["late"].parent == "depth"
        assert recorder.choices["late"].when == frozenset([2])
        both = depth + recorder.value("more", [0, 1])
        with pytest.raises(SpaceError, match="an expression of 'depth' and 'more'; a depth is one"):
            both.above(0).__enter__()

    def test_repr(self, recorder: Recorder) -> None:
        assert repr(recorder.value("w", [4, 2])) == "Elastic(2, 4)"
        assert isinstance(recorder.value("w", [4, 2]), Elastic)


class TestChildModules:
    X = torch.tensor([2.0])

    def test_sum(self) -> None:
        assert Sum({"a": nn.Identity(), "b": nn.ReLU()})(self.X).item() == 4
        assert Sum({"a": nn.Identity()})(self.X) is self.X

    def test_select(self) -> None:
        tensors = [torch.tensor([1.0]), torch.tensor([10.0]), torch.tensor([100.0])]
        assert Select({"0": nn.Identity(), "2": nn.Identity()})(tensors).item() == 101


class TestLabelsOfEmpty:
    @pytest.mark.parametrize(
        ("options", "empty", "label"),
        [
            (["a"], None, None),
            (["a"], "a", "a"),
            (["a"], nn.Identity, "identity"),
            (["a"], lambda: nn.Identity(), "empty"),
            (["identity"], nn.Identity, "empty"),
            (["empty"], lambda: nn.Identity(), "(empty)"),
        ],
    )
    def test_it_never_reads_as_an_option_that_it_is_not(self, recorder: Recorder, options, empty, label) -> None:
        recorder.subset("s", dict.fromkeys(options, nn.Identity), empty=empty)
        choice = recorder.choices["s"]
        assert choice.empty == label
        assert choice.allows_empty == callable(empty)
