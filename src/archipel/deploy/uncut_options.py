"""A controller and the meta-graph it picks architectures of as one ONNX graph for one image, every option in it and no
branch, to be cut into the pieces of one architecture (`archipel.deploy.uncut`).

Letters: `D` code columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn

from archipel.deploy.apart import Apart, Called, Module, apart
from archipel.deploy.onnx_scope import Scope
from archipel.deploy.uncut import uncut
from archipel.metagraph import MetaGraph
from archipel.nn.onnx_model import Known

__all__ = ["uncut_options"]


def uncut_options(
    graph: MetaGraph, controller: nn.Module, input_shape: tuple[int, int, int], *, known: Known | None = None
) -> Any:
    """Input `images` `[1, C, H, W]`, and of a conditioned controller `target_ms` `[1]`; `Uncut.told` names the `inputs`
    of the controller, its `codes` `[1, D]`, and the `scores` `[1, classes]`.

    Arguments, result and errors as of `archipel.deploy.routed_options.routed_options`.
    """
    pieces = apart(graph, controller, input_shape, dynamic=False, known=known)
    inputs: dict[str, tuple[int, ...]] = {"images": (1, *input_shape)}
    if pieces.conditioned:
        inputs["target_ms"] = (1,)
    whole = Scope()
    codes, _ = whole.run(pieces.deciding, *inputs)
    scores = _run(whole, pieces, pieces.root, "images")
    told = {"inputs": list(inputs), "codes": codes, "scores": scores}
    return uncut(whole, pieces.deciding.source, inputs, told)


def _run(scope: Scope, pieces: Apart, one: Module, x: str) -> str:
    """A module on the tensor `x`; gives the name of its output."""

    def filled(called: Called) -> tuple[Callable[..., str], int]:
        return lambda *reached: _place(scope, pieces, called, reached), called.reached

    (y,) = scope.run(pieces.of(one), x, holes=[filled(called) for called in one.places])
    return y


def _place(scope: Scope, pieces: Apart, called: Called, reached: Sequence[str]) -> str:
    """All options side by side, and behind them what stands in for an empty selection."""
    choice = called.choice
    given = [
        _run(scope, pieces, option, reached[number if choice.kind == "inputs" else 0])
        for number, option in enumerate(called.options)
    ]
    if called.empty is None:
        given.append(scope.constant(np.zeros((1, *called.shape)), "float32"))
    else:
        given.append(_run(scope, pieces, called.empty, reached[0]))
    return scope.node("Mean" if choice.mean else "Sum", *given, name=choice.name)
