"""InstaNAS' second stage: controller and weights trained in turns while the latency window moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.alarms import Alarm, Diversity, diversity, watch
from archipel.instance.code_cost import CodeCost
from archipel.instance.estimator import Baseline, advantages, surrogate
from archipel.instance.policy import CodePolicy, Entropy
from archipel.instance.reward import Window, WindowSchedule, reward
from archipel.metagraph import MetaGraph, PerInstance
from archipel.progress import SILENT, Bar, Progress
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.policies import Drawn
from archipel.sharing.training import Checkpoints, seed_of, weight_epoch
from archipel.tasks.task import Batch, Task

__all__ = ["Search", "SearchOptions", "SearchRow", "mode_codes"]


@dataclass(frozen=True)
class SearchOptions:
    """The search stage. Defaults are ours; the released program's values stand in the `faithful` preset."""

    epochs: int = 30
    batch: int = 64
    """Of the weights."""
    controller_batch: int = 32
    controller_passes: int = 2
    """Passes over the controller's split in each epoch."""
    controller: Literal["light", "resnet"] = "light"
    lr: float = 1e-2
    """Adam, controller."""
    lr_decay_epochs: int = 0
    """Controller's learning rate × 0.1 every so many epochs; 0 keeps it."""
    weight_lr: float = 0.01
    """SGD, weights."""
    weight_momentum: float = 0.9
    weight_decay: float = 1e-4
    positive: float = 30.0
    """Reward of a right answer in the middle of the window (pos_w)."""
    negative: float = 0.0
    """Reward of a wrong answer (neg_w)."""
    kappa: float = 1.0
    alpha: tuple[float, float] = (0.8, 0.98)
    """Exploration bound α at the first and last epoch: q = αp + (1 − α)(1 − p)."""
    beta: tuple[float, float] = (0.4, 0.02)
    """Weight of the entropy bonus β at the first and last epoch."""
    entropy: Entropy = "bernoulli"
    diversity: float = 1.5
    """Weight of the mutual information between image and architecture, against collapse onto one architecture."""
    samples: int = 2
    """Sampled architectures an image and step."""
    baseline: Baseline = "leave_one_out"
    window: Literal["ours", "released"] = "ours"
    controller_split: Literal["arch", "train"] = "arch"
    select_split: Literal["val", "test"] = "val"
    shuffle_policies: bool = True
    """Permute the drawn architectures over the batch while weights are trained."""
    recalibrate: bool = True
    """Recompute batch-norm statistics along the controller's own routes before every evaluation."""
    weights_first: bool = False
    """Skip the controller in the first epoch."""

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("batch", 2),
            ("controller_batch", 2),
            ("controller_passes", 1),
            ("samples", 1),
        ):
            if getattr(self, name) < least:
                raise OptionError(f"search.{name} is {getattr(self, name)}; give {least} or more")
        if self.baseline == "leave_one_out" and self.samples < 2:
            raise OptionError(
                "search.baseline 'leave_one_out' compares samples of one image; give search.samples of 2 or more"
            )
        if not all(0.5 <= a <= 1.0 for a in self.alpha):
            raise OptionError(f"search.alpha is {list(self.alpha)}; give two numbers from 0.5 to 1")

    def between(self, ends: tuple[float, float], done: float) -> float:
        return ends[0] + (ends[1] - ends[0]) * done


SearchRow = dict[str, float]
"""One epoch: window_low, window_high, sampled_ms, sampled_std, map_ms, val_accuracy, running_accuracy, reward,
positive_share, distinct, distinct_share, effective_number, varying_bits, entropy, alpha, bn_drift, loss."""


@torch.no_grad()
def mode_codes(controller: nn.Module, policy: CodePolicy, inputs: Tensor) -> Tensor:
    """Codes of the architectures that a controller picks for a batch, `[B, D]` (evaluation mode)."""
    controller.eval()
    return policy.mode(controller(inputs))


class Search:
    """One search with one controller seed.

    Args:
        graph: pre-trained meta-graph; its weights are trained further.
        controller: inputs → logits `[B, D]`.
        cost: milliseconds of codes, controller included.
        window: how the latency window moves.
        keep: called after every epoch with its number, to put the epoch's controller and weights aside.
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
        self.device = device
        self.keep = keep
        self.policy = CodePolicy(graph.space)
        self.controller_optimiser = torch.optim.Adam(controller.parameters(), lr=options.lr)
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
            "controller_optimiser": self.controller_optimiser,
            "weight_optimiser": self.weight_optimiser,
        }
        rows: list[SearchRow] = []
        alarms: list[Alarm] = []
        if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
            rows = kept["rows"]
            alarms = [Alarm(**alarm) for alarm in kept["alarms"]]
        epochs = self.options.epochs
        steps = self._controller_steps() + len(self.task.loader("train", self.options.batch, seed=0))
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

    def _controller_steps(self) -> int:
        options = self.options
        return options.controller_passes * len(
            self.task.loader(options.controller_split, options.controller_batch, seed=0)
        )

    def _window(self, done: float, last: SearchRow | None) -> Window:
        """The schedule's window; `ours` never leaves what the controller samples behind: its upper end stays at
        least a standard deviation above the last epoch's mean, where most samples still earn something."""
        window = self.window.at(done)
        if self.options.window == "released" or last is None or math.isnan(last["sampled_ms"]):
            return window
        return Window(window.low, max(window.high, last["sampled_ms"] + last["sampled_std"]))

    def _epoch(self, epoch: int, bar: Bar, last: SearchRow | None) -> tuple[SearchRow, list[Alarm]]:
        done = epoch / max(1, self.options.epochs - 1)
        window = self._window(done, last)
        alpha = self.options.between(self.options.alpha, done)
        row: SearchRow = {"epoch": epoch, "window_low": window.low, "window_high": window.high, "alpha": alpha}
        if epoch == 0 and self.options.weights_first:
            bar.advance(self._controller_steps())
            nothing = float("nan")
            row |= {"reward": 0.0, "positive_share": 1.0, "sampled_ms": nothing, "sampled_std": nothing}
            row["entropy"] = nothing
        else:
            row |= self._controller_epoch(epoch, window, alpha, self.options.between(self.options.beta, done), bar)
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
            positive_share=row["positive_share"],
            running_accuracy=row["running_accuracy"],
            recalibrated_accuracy=row["val_accuracy"],
        )
        return row, found

    def _controller_epoch(self, epoch: int, window: Window, alpha: float, beta: float, bar: Bar) -> SearchRow:
        options = self.options
        if options.lr_decay_epochs:
            for group in self.controller_optimiser.param_groups:
                group["lr"] = options.lr * 0.1 ** (epoch // options.lr_decay_epochs)
        seed = seed_of(self.seed, "controller", epoch)
        generator = torch.Generator().manual_seed(seed_of(seed, "architectures"))
        torch.manual_seed(seed)
        earned, cost, spread = [], [], []
        for i in range(options.controller_passes):
            loader = self.task.loader(
                options.controller_split, options.controller_batch, seed=seed_of(seed, i), device=self.device
            )
            for batch in loader:
                rewards, latency, entropy = self._controller_step(batch, window, alpha, beta, generator)
                earned.append(rewards.flatten())
                cost.append(latency.flatten())
                spread.append(entropy)
                bar.advance()
        rewards, latency = torch.cat(earned), torch.cat(cost)
        return {
            "reward": float(rewards.mean()),
            "positive_share": float((rewards > 0).double().mean()),
            "sampled_ms": float(latency.mean()),
            "sampled_std": float(latency.std()),
            "entropy": float(torch.cat(spread).mean()),
        }

    def _controller_step(
        self, batch: Batch, window: Window, alpha: float, beta: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the controller: rewards and latencies of the samples `[S, B]`, entropies `[B]`."""
        options = self.options
        self.controller.train()
        logits = self.controller(batch.inputs)
        q = self.policy.probabilities(logits, alpha)
        draws = [self.policy.sample(q, generator) for _ in range(options.samples)]
        codes = [draw.codes for draw in draws]
        if options.baseline == "self_critical":
            codes.append(self.policy.mode(logits))
        rewards, latency = self._rewards(batch, torch.stack(codes), window)
        sampled = rewards[: options.samples]
        mode = rewards[options.samples] if len(rewards) > options.samples else None
        advantage = advantages(sampled, options.baseline, mode)
        entropy = self.policy.entropy(q, options.entropy)
        log_prob = torch.stack([draw.log_prob for draw in draws])
        loss = surrogate(log_prob, advantage.to(log_prob), entropy, beta)
        if options.diversity:
            loss = loss - options.diversity * self.policy.information(q)
        self.controller_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.controller_optimiser.step()
        return sampled, latency[: options.samples], entropy.detach().cpu()

    @torch.no_grad()
    def _rewards(self, batch: Batch, codes: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Rewards and latencies `[S, B]` of codes `[S, B, D]`: all of them in one routed batch."""
        samples, size, width = codes.shape
        flat = codes.reshape(samples * size, width)
        self.graph.eval()
        inputs = batch.inputs.repeat(samples, *[1] * (batch.inputs.dim() - 1))
        right = self.graph(inputs, PerInstance(flat)).argmax(1) == batch.targets.repeat(samples)
        latency = self.cost(flat)
        options = self.options
        earned = reward(
            right.cpu(), latency, window, positive=options.positive, negative=options.negative, kappa=options.kappa
        )
        return earned.reshape(samples, size), latency.reshape(samples, size)

    @torch.no_grad()
    def _draw(self, inputs: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
        self.controller.eval()
        q = self.policy.probabilities(self.controller(inputs), alpha)
        codes = self.policy.sample(q, generator).codes
        # Weights must not come to rely on which image gets which architecture: the controller still changes.
        return codes[torch.randperm(len(codes), generator=generator)] if self.options.shuffle_policies else codes

    def _judge(self) -> dict[str, Any]:
        accuracy, codes = self._accuracy()
        running = accuracy
        if self.options.recalibrate:
            recalibrate_along(self.graph, self.controller, self.policy, self._calibration())
            accuracy, codes = self._accuracy()
        spread = diversity(codes)
        return {
            "val_accuracy": accuracy,
            "running_accuracy": running,
            "bn_drift": accuracy - running,
            "map_ms": float(self.cost(codes).mean()),
            "distinct": spread.distinct,
            "distinct_share": spread.distinct_share,
            "effective_number": spread.effective,
            "varying_bits": spread.varying_bits,
            "spread": spread,
        }

    def _calibration(self) -> Iterable[Tensor]:
        return self.task.calibration(2, 256, device=self.device)

    @torch.no_grad()
    def _accuracy(self) -> tuple[float, Tensor]:
        self.graph.eval()
        metric, codes = self.task.metric(), []
        for batch in self.task.loader(self.options.select_split, 256, device=self.device):
            own = mode_codes(self.controller, self.policy, batch.inputs)
            metric.update(self.graph(batch.inputs, PerInstance(own)), batch)
            codes.append(own)
        return metric.compute()["score"], torch.cat(codes)


def recalibrate_along(graph: MetaGraph, controller: nn.Module, policy: CodePolicy, batches: Iterable[Tensor]) -> None:
    """Batch-norm statistics of a meta-graph along the routes that a controller picks."""
    recalibrate(graph, batches, lambda inputs: PerInstance(mode_codes(controller, policy, inputs)))
