"""`Elastic` numbers; how layers take them is in nn/test_elastic.py, mistakes in a space function in test_space.py."""

from __future__ import annotations

import pytest
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import ChildReader, Recorder
from archipel.elastic_value import Elastic
from archipel.errors import SpaceError


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_arithmetic_follows_the_numbers(recorder: Recorder) -> None:
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


def test_the_same_arithmetic_in_a_child_is_of_plain_numbers() -> None:
    reader = ChildReader(Architecture(a=4, b=3))
    assert reader.value("a", [4, 8]) * reader.value("b", [1, 3]) // 2 == 6


def test_it_equals_itself_only(recorder: Recorder) -> None:
    a, b = recorder.value("a", [4, 8]), recorder.value("b", [1, 3])
    same = a
    assert a == same
    assert not a != same  # noqa: SIM202
    for compare in (lambda: a == b, lambda: a != b, lambda: 4 == a, lambda: a in [b]):  # noqa: SIM300
        with pytest.raises(SpaceError, match="still open"):
            compare()


@pytest.mark.parametrize("use", [int, round, lambda v: v / 2, lambda v: 2 / v, lambda v: v % 2, list, str.__mul__])
def test_what_needs_the_number_now_is_refused(recorder: Recorder, use) -> None:
    value = recorder.value("width", [2, 4])
    with pytest.raises(SpaceError, match="value 'width' is still open"):
        use("ab", value) if use is str.__mul__ else use(value)


def test_an_expression_names_all_its_choices(recorder: Recorder) -> None:
    with pytest.raises(SpaceError, match="value 'a' and 'b' is still open"):
        bool(recorder.value("a", [1, 2]) + recorder.value("b", [1, 2]))


def test_depth_of_an_expression(recorder: Recorder) -> None:
    depth = recorder.value("depth", [1, 2]) * 2 - 1  # 1 or 3 layers
    with depth.above(2):
        recorder.op("late", {"a": nn.Identity})
    assert recorder.choices["late"].parent == "depth"
    assert recorder.choices["late"].when == frozenset([2])
    both = depth + recorder.value("more", [0, 1])
    with pytest.raises(SpaceError, match="an expression of 'depth' and 'more'; a depth is one"):
        both.above(0).__enter__()


def test_repr(recorder: Recorder) -> None:
    assert repr(recorder.value("w", [4, 2])) == "Elastic(2, 4)"
    assert isinstance(recorder.value("w", [4, 2]), Elastic)
