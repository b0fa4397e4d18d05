"""A cascade as one ONNX graph: who answers is decided inside it.

Each stage stands in a branch of the one before. The rows that are unsure are gathered, the next stage runs on them
alone, and its answers are scattered back; where no row is unsure the branch is not taken, so that a single image runs
nothing behind the stage that answers it. Thresholds are an input: they move the graph along the cascade's frontier.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from archipel.deploy.onnx_scope import Scope
from archipel.deploy.uncut import uncut
from archipel.instance.cascade import Cascade, joined
from archipel.instance.escalation import Gain, doubt
from archipel.nn.onnx_model import Known, Part, onnx_parts

__all__ = ["routed_cascade", "uncut_cascade"]

_CHANNELS_LAST, _CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class _Stage(nn.Module):
    """One stage: what it passes on, its answer as of now, and what is held against its threshold.

    Args:
        number: from 0; a committee joins its answer with those of so many stages before.
    """

    def __init__(self, cascade: Cascade, number: int) -> None:
        super().__init__()
        self.trunk = cascade.trunks[number]
        self.head = cascade.stages[number]
        self.gain = None if cascade.gains is None or number == len(cascade.gains) else cascade.gains[number]
        self.temperature = cascade.temperatures[number]
        self.number = number
        self.committee = cascade.committee
        self.last = number == len(cascade.stages) - 1

    def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, ...]:
        maps = self.trunk(x)
        answer = self.head(maps) / self.temperature
        if self.committee:
            answer = joined(before, answer, self.number)
        if self.last:
            return (answer,)
        if not isinstance(self.gain, Gain):
            return answer, doubt(answer), maps
        weights, bias = self.gain.weights, self.gain.bias
        return answer, answer.topk(len(weights), 1).values @ weights + bias, maps  # `gain`, in fewer operations


def routed_cascade(cascade: Cascade, input_shape: tuple[int, int, int], *, known: Known | None = None) -> Any:
    """Inputs `images` `[B, C, H, W]` and `thresholds` `[S - 1]`; outputs `scores` `[B, classes]`, as `Answer.output`,
    and `stage` `[B]`, int64, which stage answered.

    Args:
        cascade: on the CPU.
        input_shape: `(C, H, W)`.
        known: what was exported before, see `onnx_parts`.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        Exception: see `archipel.nn.onnx_model`.
    """
    from onnx import TensorProto, helper

    parts = _parts(cascade, input_shape, known, dynamic=True)
    last = len(parts) - 1
    kinds = [TensorProto.FLOAT, TensorProto.INT64]

    def go(scope: Scope, number: int, taken: str, before: str) -> tuple[str, str]:
        """A stage and all behind it: names of answers, and of how many stages further each was given.

        Next to a small network each operation counts: it takes as long as a twentieth of one.
        """
        given = [taken, before] if before else [taken]
        answer, *further = scope.run(parts[number], *given)
        if number == last:
            rows = scope.node("Shape", answer, end=1)
            zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
            return answer, scope.node("ConstantOfShape", rows, value=zero)
        urge, maps = further
        threshold = scope.node("Gather", "thresholds", scope.constant(number, "int64"))
        unsure = scope.node("Greater", urge, threshold)
        passed = scope.node("Cast", unsure, to=TensorProto.INT64)

        # Where the head reads maps channels last, they are laid out so anyway, and need not be in a second way.
        turned = scope.turned(maps, _CHANNELS_LAST)

        def onwards(inner: Scope) -> list[str]:
            rows = inner.rows(unsure)
            before = inner.node("GatherND", answer, rows) if cascade.committee else ""
            more = inner.node("GatherND", turned or maps, rows)
            if turned:
                more = inner.node("Transpose", more, perm=_CHANNELS_FIRST)
            better, further = go(inner, number + 1, more, before)
            return [
                inner.node("ScatterND", answer, rows, better),
                inner.node("ScatterND", passed, rows, further, reduction="add"),
            ]

        anyone = scope.node("Cast", scope.node("ReduceMax", passed, keepdims=0), to=TensorProto.BOOL)
        answered = scope.branch(anyone, onwards, lambda _: [answer, passed], kinds)
        return answered[0], answered[1]

    whole = Scope()
    scores, stage = go(whole, 0, "images", "")
    return whole.model(
        parts[0].source,
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *input_shape]),
            helper.make_tensor_value_info("thresholds", TensorProto.FLOAT, [last]),
        ],
        {
            "scores": (scores, helper.make_tensor_value_info("", TensorProto.FLOAT, ["batch", None])),
            "stage": (stage, helper.make_tensor_value_info("", TensorProto.INT64, ["batch"])),
        },
    )


def uncut_cascade(cascade: Cascade, input_shape: tuple[int, int, int], *, known: Known | None = None) -> Any:
    """All stages for one image, none of them in a branch, to be cut into pieces: `Uncut.told` names of each what it
    `takes`, its `answer` `[1, classes]`, as `Answer.output`, and what it `passes` on. Arguments as of `routed_cascade`.
    """
    whole, rows = Scope(), []
    takes = ["images"]
    for part in _parts(cascade, input_shape, known, dynamic=False):
        answer, *further = whole.run(part, *takes)
        passes = further[-1:]
        rows.append({"takes": takes, "answer": answer, "passes": passes})
        takes = [*passes, answer] if cascade.committee else passes
    return uncut(whole, part.source, {"images": (1, *input_shape)}, {"stages": rows})


@torch.no_grad()
def _parts(cascade: Cascade, input_shape: tuple[int, int, int], known: Known | None, *, dynamic: bool) -> list[Part]:
    taken, before = torch.zeros(1, *input_shape), None
    pairs: list[tuple[nn.Module, tuple[Tensor, ...]]] = []
    for number in range(len(cascade.stages)):
        stage = _Stage(cascade, number).eval()
        inputs = (taken,) if before is None or not cascade.committee else (taken, before)
        pairs.append((stage, inputs))
        if not stage.last:
            before, _, taken = stage(*inputs)
    return onnx_parts(pairs, dynamic=dynamic, known=known)
