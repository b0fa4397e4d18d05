"""Pieces of architectures that are kept, shared and let go; the same answers whatever is there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from archipel.deploy import alone
from archipel.deploy.alone import ControlledAlone
from archipel.deploy.manifest import Point
from archipel.deploy.onnx_scope import Scope
from archipel.deploy.uncut import Uncut, uncut
from archipel.space import Space

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

POINT = Point("A", 1.0)


def network(choose):
    """Three places in a row; only their names count, the graph is written by hand."""
    from torch import nn

    return nn.Sequential(*(choose.subset(name, {"a": nn.Identity, "b": nn.Identity}) for name in "uvw"))


SPACE = Space(network)


def graph() -> Uncut:
    """Six numbers: the signs say which options are taken, and the answer is a number in base 4 that says which were:
    at each place y ← 4y + Σ of (1, 2)."""
    scope = Scope()
    codes = scope.node("Greater", "images", scope.constant(0.0, "float32"))
    y = scope.node("ReduceSum", scope.node("Mul", "images", scope.constant(0.0, "float32")), keepdims=1)
    for name in "uvw":
        options = [
            scope.node("Add", scope.node("Mul", y, scope.constant(half, "float32")), scope.constant(one, "float32"))
            for half, one in ((0.0, 1.0), (0.0, 2.0))
        ]
        taken = scope.node("Sum", *options, scope.constant(np.zeros((1, 1)), "float32"), name=name)
        y = scope.node("Add", scope.node("Mul", y, scope.constant(4.0, "float32")), taken)
    empty = onnx.helper.make_graph([], "", [], [])
    source = onnx.helper.make_model(empty, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    told = {"inputs": ["images"], "codes": codes, "scores": y}
    return Uncut.read(uncut(scope, source, {"images": (1, 6)}, told).SerializeToString())


def every_image() -> np.ndarray:
    """All 27 architectures without an empty place, `[27, 6]`."""
    places = ((1.0, -1.0), (-1.0, 1.0), (1.0, 1.0))
    return np.array([sum(row, ()) for row in itertools.product(places, repeat=3)], np.float32)


def expected(image: np.ndarray) -> float:
    u, v, w = ((image > 0).reshape(3, 2) @ [1, 2]).tolist()
    return 16.0 * u + 4.0 * v + w


def test_every_architecture_answers_as_it_should() -> None:
    images = every_image()
    made = ControlledAlone(graph(), SPACE, 1, images, [POINT])
    for image in (*images, *images[::-1]):
        said = made.answer(image[None], POINT)
        assert said is not None
        assert said[0].tolist() == [[expected(image)]]
        assert (said[1][0] == (image > 0)).all()


@pytest.mark.parametrize(("kept", "pieces"), [(27, 1), (12, 2), (9, 3)])
def test_networks_are_cut_until_what_they_share_can_be_kept(
    kept: int, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "KEPT", kept)
    images = np.concatenate([every_image()] * 2)
    made = ControlledAlone(graph(), SPACE, 1, images, [POINT])
    assert len(made._pieces) == pieces


def test_large_networks_are_kept_in_smaller_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "WEIGHTS", 9 * graph().bytes // 3)
    made = ControlledAlone(graph(), SPACE, 1, np.concatenate([every_image()] * 2), [POINT])
    assert len(made._pieces) == 3, "in which 9 are as large as 3 whole ones"
    assert made._most == 9


def test_when_as_many_are_kept_as_may_be_most_images_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "KEPT", 4)
    monkeypatch.setattr(alone, "SELDOM", 3)
    images = every_image()
    made = ControlledAlone(graph(), SPACE, 1, images[:1], [POINT])
    assert len(made._pieces) == 1, "where all are alike they are not cut"
    given = [made.answer(image[None], POINT) for image in images[:10]]
    assert [said is not None for said in given] == [True] * 4 + [False, False, True, False, False, True]
    assert len(made._kept) == 4
    for image, said in zip(images, given):
        assert said is None or said[0].item() == expected(image)
    assert made.answer(images[3][None], POINT) is not None, "what was used least recently went"
    assert made.answer(images[0][None], POINT) is None
