"""An evaluator that trains: the network of an architecture, alone and from scratch."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from archipel.architecture import Architecture
from archipel.cost.complexity import madds, parameters
from archipel.errors import EvaluationError
from archipel.evaluators.evaluator import SECONDS, Metrics, Objective
from archipel.evaluators.stopping import NEVER, Curve, Stopping, rule
from archipel.progress import SILENT, Progress
from archipel.sharing.evaluation import evaluate
from archipel.sharing.training import Optimisation, seed_of, train
from archipel.space import Space
from archipel.tasks.task import Task

__all__ = ["Trained", "curve_of"]

ACCURACY, LOSS = "valid_accuracy", "train_loss"


class Trained:
    """Trains on `train`, scores on `val`; nothing of it reads `test`.

    Metrics: `valid_accuracy`, the task's score in per cent; `madds` of one input, `parameters`, those of `costs`; the
    `epochs` it was trained for, and the wall-clock `seconds` it took. Weights and batches come from the seed and the
    architecture alone, so it comes to the same in whatever order it is tried.

    With `stopping`, a training that is not worth it is given up, and its `valid_accuracy` is what the rule says that it
    would come to. Each epoch has metrics of its own then, `valid_accuracy_1`, `train_loss_1` and so on: rules go by
    those of earlier trials.

    Args:
        space: of whole networks for the task, as `task.space` makes them.
        objectives: the score alone if not given; `Objective("madds", maximise=False)` beside it, say.
        costs: further metrics by name, such as a latency table's `predict`.
        past: metrics of the earlier trials, where a ledger keeps them; else this evaluator's own are remembered.
    """

    def __init__(
        self,
        space: Space,
        task: Task,
        options: Optimisation,
        *,
        objectives: Sequence[Objective] = (Objective("valid_accuracy"),),
        device: torch.device | str = "cpu",
        seed: int = 0,
        progress: Progress = SILENT,
        costs: Mapping[str, Callable[[Architecture], float]] | None = None,
        stopping: Stopping = NEVER,
        past: Callable[[], Iterable[Metrics | None]] | None = None,
    ) -> None:
        self.space, self.task, self.options = space, task, options
        self.objectives = tuple(objectives)
        self.device, self.seed, self.progress = device, seed, progress
        self.costs = dict(costs or {})
        images = task.splits["val"] if task.spec.score == "accuracy" else None
        self.rule = rule(stopping, seed=seed, objectives=len(self.objectives), images=images)
        self._own: list[Metrics] = []
        self.past = past or (lambda: self._own)

    def __call__(self, architecture: Architecture, /) -> Metrics:
        begin = time.perf_counter()
        torch.manual_seed(seed_of(self.seed, "weights", architecture.key))
        network = self.space.build(architecture).to(self.device)
        costs = {
            "madds": float(madds(network, self.task.spec.input_shape)),
            "parameters": float(parameters(network)),
            **{name: cost(architecture) for name, cost in self.costs.items()},
        }
        known = () if self.rule is None else self.past()
        past = [curve for metrics in known if metrics is not None and (curve := self._curve(metrics)) is not None]
        predicted: float | None = None

        def given_up(history: Sequence[Mapping[str, float]]) -> bool:
            nonlocal predicted
            if self.rule is not None and math.isfinite(history[-1]["loss"]):
                now = self._curve(costs | _epochs(history))
                predicted = None if now is None else self.rule.given_up(past, now, self.options.epochs)
            return predicted is not None

        def score(_: int) -> dict[str, float]:
            return {ACCURACY: 100 * evaluate(network, self.task, "val", device=self.device).score}

        history = train(
            network,
            self.task,
            self.options,
            title=f"training {architecture.key}",
            seed=seed_of(self.seed, "training", architecture.key),
            device=self.device,
            progress=self.progress,
            validate=None if self.rule is None else score,
            until=None if self.rule is None else given_up,
        )
        if history and not math.isfinite(history[-1]["loss"]):
            raise EvaluationError(f"training {architecture!r} diverged (loss {history[-1]['loss']})")
        metrics = {
            ACCURACY: score(0)[ACCURACY] if predicted is None else predicted,
            **costs,
            "epochs": float(len(history)),
            **(_epochs(history) if self.rule else {}),
            SECONDS: time.perf_counter() - begin,
        }
        self._own.append(metrics)
        return metrics

    def _curve(self, metrics: Metrics) -> Curve | None:
        """The training that metrics tell of, None where its epochs were not scored."""
        scores, losses = curve_of(metrics), curve_of(metrics, LOSS)
        features = tuple(math.log10(1 + metrics[name]) for name in ("madds", "parameters"))
        costs = tuple(-objective.score(metrics) for objective in self.objectives[1:])
        return Curve(features, scores, losses, costs) if scores else None


def curve_of(metrics: Metrics, name: str = ACCURACY) -> tuple[float, ...]:
    """The score, or the training loss, of each epoch, where metrics of `Trained` have them."""
    names = itertools.takewhile(metrics.__contains__, (f"{name}_{t}" for t in itertools.count(1)))
    return tuple(metrics[epoch] for epoch in names)


def _epochs(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    scores = {f"{ACCURACY}_{t}": row[ACCURACY] for t, row in enumerate(history, 1)}
    return scores | {f"{LOSS}_{t}": row["loss"] for t, row in enumerate(history, 1)}
