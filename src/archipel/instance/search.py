"""InstaNAS' second stage: controller and weights trained in turns while the latency window moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from archipel.instance.alarms import Alarm, Diversity, diversity, watch
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import Targets
from archipel.instance.controller_training import ControllerTraining, logits_of
from archipel.instance.options import SearchOptions
from archipel.instance.policy import CodePolicy
from archipel.instance.reward import Window, WindowSchedule
from archipel.metagraph import MetaGraph, PerInstance
from archipel.progress import SILENT, Bar, Progress
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.policies import Drawn
from archipel.sharing.training import Checkpoints, seed_of, weight_epoch
from archipel.tasks.task import Task

__all__ = ["Search", "SearchRow", "mode_codes"]


SearchRow = dict[str, float]
"""One epoch: window_low, window_high, sampled_ms, sampled_std, map_ms, val_accuracy, running_accuracy, reward,
positive_share, distinct, distinct_share, effective_number, varying_bits, entropy, alpha, bn_drift, loss; with a
constrained reward multiplier; of a conditioned controller fast_ms and slow_ms, what it picks for the faster and the
slower half of its targets, and window_low and window_high are the ends of their range."""


@torch.no_grad()
def mode_codes(controller: nn.Module, policy: CodePolicy, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
    """Codes of the architectures that a controller picks for a batch, `[B, D]` (evaluation mode).

    Args:
        targets: what a conditioned controller is asked for, milliseconds `[B]`.
    """
    controller.eval()
    return policy.mode(logits_of(controller, inputs, targets))


class Search:
    """One search with one controller seed.

    Args:
        graph: pre-trained meta-graph; its weights are trained further.
        controller: inputs → logits `[B, D]`.
        cost: milliseconds of codes, controller included.
        window: how the latency window moves; not looked at if the controller is conditioned.
        targets: what a conditioned controller is asked for; None for a plain one.
        keep: called after every epoch with its number, to put the epoch's controller and weights aside.

    Raises:
        OptionError: gradients of `options.estimator` cannot flow through the space.
    """

    def __init__(
        self,
        graph: MetaGraph,
        controller: nn.Module,
        task: Task,
        cost: CodeCost,
        window: WindowSchedule,
        options: SearchOptions,
        *,
        seed: int,
        targets: Targets | None = None,
        device: torch.device | str = "cpu",
        keep: Callable[[int], None] | None = None,
    ) -> None:
        self.graph = graph
        self.controller = controller
        self.task = task
        self.cost = cost
        self.window = window
        self.options = options
        self.seed = seed
        self.targets = targets
        self.device = device
        self.keep = keep
        self.training = ControllerTraining(graph, controller, task, cost, options, targets=targets, device=device)
        self.policy = self.training.policy
        self.weight_optimiser = torch.optim.SGD(
            graph.parameters(),
            lr=options.weight_lr,
            momentum=options.weight_momentum,
            weight_decay=options.weight_decay,
            nesterov=options.weight_momentum > 0,
        )

    def run(
        self, *, checkpoint: Checkpoints | None = None, progress: Progress = SILENT, title: str = "search"
    ) -> tuple[list[SearchRow], list[Alarm]]:
        """All epochs, going on from the checkpoint where there is one.

        Returns:
            One row an epoch, and the alarms.
        """
        parts = {
            "graph": self.graph,
            "controller": self.controller,
            "controller_optimiser": self.training.optimiser,
            "weight_optimiser": self.weight_optimiser,
        }
        rows: list[SearchRow] = []
        alarms: list[Alarm] = []
        if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
            rows = kept["rows"]
            self.training.multiplier = rows[-1].get("multiplier", self.training.multiplier)
            alarms = [Alarm(**alarm) for alarm in kept["alarms"]]
        epochs = self.options.epochs
        steps = self.training.steps + len(self.task.loader("train", self.options.batch, seed=0))
        with progress.bar(title, epochs * steps) as bar:
            bar.advance(len(rows) * steps)
            for epoch in range(len(rows), epochs):
                row, found = self._epoch(epoch, bar, rows[-1] if rows else None)
                for alarm in found:
                    if not any(a.kind == alarm.kind for a in alarms):  # said once, kept always
                        progress.alarm(f"{alarm.kind} in epoch {epoch} of {title}: {alarm.text}")
                rows.append(row)
                alarms += found
                if self.keep is not None:
                    self.keep(epoch)
                if checkpoint is not None:
                    checkpoint.save(parts, {"rows": rows, "alarms": [alarm.to_json() for alarm in alarms]})
                bar.advance(0, accuracy=row["val_accuracy"], ms=row["map_ms"], distinct=row["distinct"])
        return rows, alarms

    def _window(self, done: float, last: SearchRow | None) -> Window:
        """The schedule's window; `ours` never leaves what the controller samples behind: its upper end stays at
        least a standard deviation above the last epoch's mean, where most samples still earn something."""
        if self.targets is not None:
            return Window(self.targets.low, self.targets.high)
        window = self.window.at(done)
        follows = self.options.window == "ours" and self._learns_in_windows()
        if not follows or last is None or math.isnan(last["sampled_ms"]):
            return window
        return Window(window.low, max(window.high, last["sampled_ms"] + last["sampled_std"]))

    def _learns_in_windows(self) -> bool:
        """Whether samples outside a window teach nothing; otherwise they are told by how much they exceed their
        target."""
        return self.options.reward == "window" and not self._learns_through_modules()

    def _learns_through_modules(self) -> bool:
        return self.options.estimator == "gumbel"

    def _recalibrate_along_draws(self, alpha: float, seed: int) -> None:
        """Statistics of the last evaluation are those of the controller's picks; of an option that few images pick they
        are of these images, or old. Gradients flow through every option on every image."""
        generator = torch.Generator().manual_seed(seed_of(seed, "statistics"))
        recalibrate(self.graph, self._calibration(), lambda inputs: PerInstance(self._draw(inputs, alpha, generator)))

    def _epoch(self, epoch: int, bar: Bar, last: SearchRow | None) -> tuple[SearchRow, list[Alarm]]:
        done = epoch / max(1, self.options.epochs - 1)
        window = self._window(done, last)
        alpha = self.options.between(self.options.alpha, done)
        ends = {"window_low": float(window.low), "window_high": float(window.high)}
        row: SearchRow = {"epoch": epoch, **ends, "alpha": alpha}
        if epoch == 0 and self.options.weights_first:
            bar.advance(self.training.steps)
            nothing = float("nan")
            row |= {"reward": 0.0, "positive_share": 1.0, "sampled_ms": nothing, "sampled_std": nothing}
            row["entropy"] = nothing
        else:
            seed = seed_of(self.seed, "controller", epoch)
            if self._learns_through_modules() and self.options.recalibrate:
                self._recalibrate_along_draws(alpha, seed)
            row |= self.training.epoch(epoch, window, done, seed=seed, bar=bar)
        row |= weight_epoch(
            self.graph,
            self.task,
            self.weight_optimiser,
            policy=Drawn(lambda inputs, generator: self._draw(inputs, alpha, generator)),
            batch_size=self.options.batch,
            seed=seed_of(self.seed, "weights", epoch),
            device=self.device,
            bar=bar,
        )
        judged = self._judge()
        spread: Diversity = judged.pop("spread")
        row |= judged
        found = watch(
            stage="search",
            seed=self.seed,
            epoch=epoch,
            spread=spread,
            positive_share=row["positive_share"] if self._learns_in_windows() else 1.0,
            running_accuracy=row["running_accuracy"],
            recalibrated_accuracy=row["val_accuracy"],
        )
        return row, found

    @torch.no_grad()
    def _draw(self, inputs: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
        self.controller.eval()
        targets = None if self.targets is None else self.targets.draw(len(inputs), generator)
        q = self.policy.probabilities(logits_of(self.controller, inputs, targets), alpha)
        codes = self.policy.sample(q, generator).codes
        # Weights must not come to rely on which image gets which architecture: the controller still changes.
        return codes[torch.randperm(len(codes), generator=generator)] if self.options.shuffle_policies else codes

    def _judge(self) -> dict[str, Any]:
        accuracy, codes, asked = self._accuracy()
        running = accuracy
        if self.options.recalibrate:
            recalibrate_along(self.graph, self.controller, self.policy, self._calibration(), self.targets)
            accuracy, codes, asked = self._accuracy()
        spread, latency = diversity(codes), self.cost(codes)
        halves = {}
        if self.targets is not None:
            fast = asked < (self.targets.low + self.targets.high) / 2.0
            halves = {"fast_ms": float(latency[fast].mean()), "slow_ms": float(latency[~fast].mean())}
        return halves | {
            "val_accuracy": accuracy,
            "running_accuracy": running,
            "bn_drift": accuracy - running,
            "map_ms": float(latency.mean()),
            "distinct": spread.distinct,
            "distinct_share": spread.distinct_share,
            "effective_number": spread.effective,
            "varying_bits": spread.varying_bits,
            "spread": spread,
        }

    def _calibration(self) -> Iterable[Tensor]:
        return self.task.calibration(2, 256, device=self.device)

    @torch.no_grad()
    def _accuracy(self) -> tuple[float, Tensor, Tensor]:
        """Score, codes `[N, D]`, and what was asked for, `[N]` (empty of a plain controller)."""
        self.graph.eval()
        metric, codes, asked = self.task.metric(), [], [torch.empty(0)]
        for batch in self.task.loader(self.options.select_split, 256, device=self.device):
            targets = None if self.targets is None else self.targets.spread(len(batch.inputs))
            own = mode_codes(self.controller, self.policy, batch.inputs, targets)
            metric.update(self.graph(batch.inputs, PerInstance(own)), batch)
            codes.append(own)
            asked += [] if targets is None else [targets]
        return metric.compute()["score"], torch.cat(codes), torch.cat(asked)


def recalibrate_along(
    graph: MetaGraph,
    controller: nn.Module,
    policy: CodePolicy,
    batches: Iterable[Tensor],
    targets: Targets | None = None,
) -> None:
    """Batch-norm statistics of a meta-graph along the routes that a controller picks, of a conditioned one over all
    that it may be asked for."""

    def route(inputs: Tensor) -> PerInstance:
        asked = None if targets is None else targets.spread(len(inputs))
        return PerInstance(mode_codes(controller, policy, inputs, asked))

    recalibrate(graph, batches, route)
