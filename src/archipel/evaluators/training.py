"""An evaluator that trains: the network of an architecture, alone and from scratch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import torch

from archipel.architecture import Architecture
from archipel.cost.complexity import madds, parameters
from archipel.errors import EvaluationError
from archipel.evaluators.evaluator import SECONDS, Metrics, Objective
from archipel.evaluators.learning_curves import CurveStopping, Stopping
from archipel.progress import SILENT, Progress
from archipel.sharing.evaluation import evaluate
from archipel.sharing.training import Optimisation, seed_of, train
from archipel.space import Space
from archipel.tasks.task import Task

__all__ = ["Trained"]


class Trained:
    """Trains on `train`, scores on `val`; nothing of it reads `test`.

    Metrics: `valid_accuracy`, the task's score in per cent; `madds` of one input, `parameters`, the `epochs` it was
    trained for, and the wall-clock `seconds` it took. Weights and batches come from the seed and the architecture
    alone, so it comes to the same in whatever order it is tried.

    With `stopping`, a training that will not beat the best is given up, and its `valid_accuracy` is what it was
    predicted to come to. What that is depends on what was tried before, in this process.

    Args:
        space: of whole networks for the task, as `task.space` makes them.
        objectives: the score alone if not given; `Objective("madds", maximise=False)` beside it, say.
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
        stopping: Stopping | None = None,
    ) -> None:
        self.space, self.task, self.options = space, task, options
        self.objectives = tuple(objectives)
        self.device, self.seed, self.progress = device, seed, progress
        self.stopping = None if stopping is None else CurveStopping(stopping, seed=seed)

    def __call__(self, architecture: Architecture, /) -> Metrics:
        begin = time.perf_counter()
        torch.manual_seed(seed_of(self.seed, "weights", architecture.key))
        network = self.space.build(architecture).to(self.device)
        costs = {
            "madds": float(madds(network, self.task.spec.input_shape)),
            "parameters": float(parameters(network)),
        }
        features = [math.log10(1 + cost) for cost in costs.values()]
        predicted: float | None = None

        def given_up(history: Sequence[Mapping[str, float]]) -> bool:
            nonlocal predicted
            if self.stopping is not None and math.isfinite(history[-1]["loss"]):
                predicted = self.stopping.given_up(features, _curve(history), self.options.epochs)
            return predicted is not None

        def score(_: int) -> dict[str, float]:
            return {"valid_accuracy": 100 * evaluate(network, self.task, "val", device=self.device).score}

        history = train(
            network,
            self.task,
            self.options,
            title=f"training {architecture.key}",
            seed=seed_of(self.seed, "training", architecture.key),
            device=self.device,
            progress=self.progress,
            validate=None if self.stopping is None else score,
            until=None if self.stopping is None else given_up,
        )
        if history and not math.isfinite(history[-1]["loss"]):
            raise EvaluationError(f"training {architecture!r} diverged (loss {history[-1]['loss']})")
        if predicted is None:
            predicted = score(0)["valid_accuracy"]
            if self.stopping is not None:
                self.stopping.learn(features, _curve(history))
        return {
            "valid_accuracy": predicted,
            **costs,
            "epochs": float(len(history)),
            SECONDS: time.perf_counter() - begin,
        }


def _curve(history: Sequence[Mapping[str, float]]) -> list[float]:
    return [row["valid_accuracy"] for row in history]
