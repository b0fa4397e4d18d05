"""InstaNAS' third stage: the weights follow the frozen controller."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from archipel.instance.conditioned import Targets
from archipel.instance.policy import CodePolicy
from archipel.instance.search import mode_codes, recalibrate_along
from archipel.metagraph import MetaGraph
from archipel.progress import SILENT, Progress
from archipel.sharing.distillation import Distillation
from archipel.sharing.policies import Drawn
from archipel.sharing.training import Checkpoints, Optimisation, train
from archipel.tasks.task import Task

__all__ = ["fine_tune", "picks"]


def picks(
    controller: nn.Module, policy: CodePolicy, targets: Targets | None = None
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """What a controller picks for a batch, as the draw of a path policy: hard, no sampling, no permutation. Only what a
    conditioned one is asked for is drawn, anew for each image."""

    def draw(inputs: Tensor, generator: torch.Generator) -> Tensor:
        asked = None if targets is None else targets.draw(len(inputs), generator)
        return mode_codes(controller, policy, inputs, asked)

    return draw


def fine_tune(
    graph: MetaGraph,
    controller: nn.Module,
    task: Task,
    options: Optimisation,
    *,
    seed: int,
    title: str,
    targets: Targets | None = None,
    distillation: Distillation | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoints | None = None,
    progress: Progress = SILENT,
) -> list[dict[str, float]]:
    """Cross-entropy along the controller's own picks; the controller does not move.

    Args:
        targets: what a conditioned controller is asked for; None for a plain one.
        distillation: soft targets beside the labels.

    Returns:
        One row an epoch.
    """
    controller.eval()
    policy = CodePolicy(graph.space)
    history = train(
        graph,
        task,
        options,
        title=title,
        seed=seed,
        policy=Drawn(picks(controller, policy, targets)),
        distillation=distillation,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    recalibrate_along(graph, controller, policy, task.calibration(2, 256, device=device), targets)
    return history
