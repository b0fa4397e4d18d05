"""Pieces of a graph: what some tensors need of others, of options those that are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from archipel.deploy.onnx_scope import Scope
from archipel.deploy.uncut import Stretch, Uncut, uncut

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def in_a_row() -> Uncut:
    """y = 2x; y ← Σ of (y + 1, y + 10), or 0; y ← y + mean of (2y, 3y), or y; y − 5. With tensor names told."""
    scope = Scope()

    def number(value: float) -> str:
        return scope.constant([value], "float32")

    begun = scope.node("Mul", "images", number(2.0))
    first = scope.node(
        "Sum",
        *(scope.node("Add", begun, number(value)) for value in (1.0, 10.0)),
        scope.constant([[0.0, 0.0]], "float32"),
        name="first",
    )
    second = scope.node("Mean", *(scope.node("Mul", first, number(v)) for v in (2.0, 3.0)), first, name="second")
    added = scope.node("Add", first, second)
    scores = scope.node("Sub", added, number(5.0))
    empty = onnx.helper.make_graph([], "", [], [])
    source = onnx.helper.make_model(empty, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    told = {"begun": begun, "first": first, "added": added, "scores": scores}
    return Uncut.read(uncut(scope, source, {"images": (1, 2)}, told).SerializeToString())


def ran(content: bytes, **given: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: np.array(next(iter(given.values())), np.float32)})
    return answer


def taking(**bits: Sequence[int]) -> Callable[[str], Sequence[bool]]:
    return lambda choice: [bool(bit) for bit in bits[choice]]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((1, 0), (1, 0), 3 * 3 - 5),
        ((0, 1), (0, 1), 4 * 12 - 5),
        ((1, 1), (1, 1), 15 + 37.5 - 5),  # Σ = 3 + 12, mean of 30 and 45
        ((0, 0), (1, 1), -5),
        ((1, 0), (0, 0), 3 + 3 - 5),
    ],
)
def test_an_architecture_is_what_it_takes(first: tuple[int, int], second: tuple[int, int], expected: float) -> None:
    graph = in_a_row()
    content = graph.piece(["images"], [graph.told["scores"]], taking(first=first, second=second))
    assert ran(content, images=[[1.0, 1.0]]).tolist() == [[expected, expected]]
    kinds = Counter(node.op_type for node in onnx.load_model_from_string(content).graph.node)
    others = 1 if sum(first) else 0  # y = 2x, of which nothing is needed where the first choice is empty
    assert kinds["Mul"] == others + sum(second) + (sum(second) > 1), "what is not taken is not there"


def test_a_piece_begins_where_it_is_told_to() -> None:
    graph = in_a_row()
    content = graph.piece([graph.told["first"]], [graph.told["scores"]], taking(second=(1, 0)))
    assert ran(content, first=[[1.0, 2.0]]).tolist() == [[-2.0, 1.0]]
    assert len(onnx.load_model_from_string(content).graph.initializer) == 2, "weights of others are not in it"


def test_a_network_in_a_row_is_cut_where_one_tensor_is_all_that_goes_on() -> None:
    graph = in_a_row()
    told = graph.told
    assert graph.stretches("images", told["scores"]) == [
        Stretch(told["first"], ("first",)),
        Stretch(told["scores"], ("second",)),
    ], "not behind the second choice, which the first one's answer passes by"
    assert graph.stretches("images", told["begun"]) == [Stretch(told["begun"], ())]
    assert graph.kind(told["added"]) == ((1, 2), np.float32)
