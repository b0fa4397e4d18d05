"""The controller's part of an instance-aware search: it learns while the weights stand still.

Two estimators of the gradient of what sampled architectures are worth (`SearchOptions.estimator`): REINFORCE, which
needs only what a child answers and takes, and straight-through Gumbel samples, through which the gradients of the
task's loss and of latency flow. Letters: `B` batch, `D` code columns, `S` samples an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import Targets
from archipel.instance.estimator import advantages, surrogate
from archipel.instance.options import SearchOptions
from archipel.instance.policy import CodePolicy
from archipel.instance.reward import (
    Window,
    constrained_reward,
    excess,
    next_multiplier,
    reward,
    window_penalty,
)
from archipel.metagraph import MetaGraph, PerInstance, Staged
from archipel.progress import Bar
from archipel.sharing.training import seed_of
from archipel.space import Space
from archipel.tasks.task import Batch, Task

__all__ = ["ControllerTraining", "check_estimator", "logits_of"]


def check_estimator(space: Space, options: SearchOptions) -> None:
    """Raises OptionError where the estimator's gradients cannot flow through a space."""
    values = [choice.name for choice in space.choices if choice.kind == "value"]
    if options.estimator == "gumbel" and values:
        raise OptionError(
            f"search.estimator is gumbel, whose gradients flow through modules, and choice '{values[0]}' of space "
            f"'{space.name}' is a value; give search.estimator reinforce"
        )


def logits_of(controller: nn.Module, inputs: Tensor, targets: Tensor | None = None) -> Tensor:
    """Logits `[B, D]` of a controller for a batch.

    Args:
        targets: what a conditioned controller is asked for, milliseconds `[B]`; None for a plain one.
    """
    logits: Tensor = controller(inputs) if targets is None else controller(inputs, targets)
    return logits


class ControllerTraining:
    """Trains one controller on a meta-graph's answers.

    Args:
        controller: inputs → logits `[B, D]`.
        cost: milliseconds of codes, controller included.
        targets: what a conditioned controller is asked for; None for a plain one.

    Raises:
        OptionError: the space has `value` choices, and the estimator is Gumbel's.
    """

    def __init__(
        self,
        graph: MetaGraph,
        controller: nn.Module,
        task: Task,
        cost: CodeCost,
        options: SearchOptions,
        *,
        targets: Targets | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        check_estimator(graph.space, options)
        self.graph, self.controller, self.task, self.cost = graph, controller, task, cost
        self.options, self.targets, self.device = options, targets, device
        self.policy = CodePolicy(graph.space)
        self.multiplier = options.multiplier
        self.optimiser = torch.optim.Adam(controller.parameters(), lr=options.lr)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        options = self.options
        loader = self.task.loader(options.controller_split, options.controller_batch, seed=0)
        return options.controller_passes * len(loader)

    def epoch(self, epoch: int, window: Window, done: float, *, seed: int, bar: Bar) -> dict[str, float]:
        """All passes of one epoch.

        Args:
            done: share (0..1) of the search that is behind us.

        Returns:
            reward, positive_share, sampled_ms, sampled_std, entropy; of a constrained reward multiplier.
        """
        options = self.options
        if options.lr_decay_epochs:
            for group in self.optimiser.param_groups:
                group["lr"] = options.lr * 0.1 ** (epoch // options.lr_decay_epochs)
        generator = torch.Generator().manual_seed(seed_of(seed, "architectures"))
        torch.manual_seed(seed)
        earned, cost, spread = [], [], []
        for i in range(options.controller_passes):
            loader = self.task.loader(
                options.controller_split, options.controller_batch, seed=seed_of(seed, i), device=self.device
            )
            for batch in loader:
                rewards, latency, entropy = self._step(batch, window, done, generator)
                earned.append(rewards.flatten())
                cost.append(latency.flatten())
                spread.append(entropy)
                bar.advance()
        rewards, latency = torch.cat(earned), torch.cat(cost)
        constrained = {"multiplier": self.multiplier} if options.reward == "constrained" else {}
        return constrained | {
            "reward": float(rewards.mean()),
            "positive_share": float((rewards > 0).double().mean()),
            "sampled_ms": float(latency.mean()),
            "sampled_std": float(latency.std()),
            "entropy": float(torch.cat(spread).mean()),
        }

    def _step(
        self, batch: Batch, window: Window, done: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step: rewards and latencies of the samples `[S, B]`, entropies `[B]`."""
        options = self.options
        alpha, beta = options.between(options.alpha, done), options.between(options.beta, done)
        self.controller.train()
        targets = None if self.targets is None else self.targets.draw(len(batch.inputs), generator)
        logits = logits_of(self.controller, batch.inputs, targets)
        q = self.policy.probabilities(logits, alpha)
        if options.estimator == "gumbel":
            temperature = options.between(options.temperature, done)
            loss, rewards, latency = self._straight_through(batch, q, window, targets, temperature, generator)
        else:
            loss, rewards, latency = self._reinforced(batch, logits, q, window, targets, generator)
        entropy = self.policy.entropy(q, options.entropy)
        if beta:
            loss = loss - beta * entropy.mean()
        if options.diversity:
            loss = loss - options.diversity * self.policy.information(self._alike(batch.inputs, q, targets, alpha))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        if options.reward == "constrained":
            aim = window.middle if targets is None else targets
            over = excess(self.cost(self.policy.mode(logits)), aim)
            self.multiplier = next_multiplier(self.multiplier, float(over.mean()), options.multiplier_rate)
        return rewards, latency, entropy.detach().cpu()

    def _alike(self, inputs: Tensor, q: Tensor, targets: Tensor | None, alpha: float) -> Tensor:
        """Probabilities `q` were all images asked for the same, so that only the images make them differ."""
        if targets is None:
            return q
        same = targets[:1].expand(len(inputs))
        return self.policy.probabilities(logits_of(self.controller, inputs, same), alpha)

    def _reinforced(
        self,
        batch: Batch,
        logits: Tensor,
        q: Tensor,
        window: Window,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A scalar whose gradient is the REINFORCE estimate, and rewards and latencies of the samples `[S, B]`."""
        options = self.options
        draws = [self.policy.sample(q, generator) for _ in range(options.samples)]
        codes = [draw.codes for draw in draws]
        if options.baseline == "self_critical":
            codes.append(self.policy.mode(logits))
        rewards, latency = self._rewards(batch, torch.stack(codes), window, targets)
        sampled = rewards[: options.samples]
        mode = rewards[options.samples] if len(rewards) > options.samples else None
        advantage = advantages(sampled, options.baseline, mode)
        log_prob = torch.stack([draw.log_prob for draw in draws])
        return surrogate(log_prob, advantage.to(log_prob)), sampled, latency[: options.samples]

    @torch.no_grad()
    def _rewards(
        self, batch: Batch, codes: Tensor, window: Window, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rewards and latencies `[S, B]` of codes `[S, B, D]`: all of them in one routed batch."""
        samples, size, width = codes.shape
        flat = codes.reshape(samples * size, width)
        repeated = _repeated(batch, samples)
        self.graph.eval()
        right = self.graph(repeated.inputs, PerInstance(flat)).argmax(1) == repeated.targets
        latency = self.cost(flat)
        earned = self._earned(right.cpu(), latency, window, targets)
        return earned.reshape(samples, size), latency.reshape(samples, size)

    def _earned(self, right: Tensor, latency: Tensor, window: Window, targets: Tensor | None) -> Tensor:
        """Rewards of answers and latencies `[S · B]`."""
        options = self.options
        signs = {"positive": options.positive, "negative": options.negative}
        window = self._own_window(window, targets, len(right))
        if options.reward == "constrained":
            return constrained_reward(right, latency, window.middle, multiplier=self.multiplier, **signs)
        return reward(right, latency, window, kappa=options.kappa, **signs)

    def _own_window(self, window: Window, targets: Tensor | None, count: int) -> Window:
        """Of `count` samples: their targets' own, where they have targets."""
        if targets is None:
            return window
        assert self.targets is not None
        return self.targets.window(targets.repeat(count // len(targets)))

    def _straight_through(
        self,
        batch: Batch,
        q: Tensor,
        window: Window,
        targets: Tensor | None,
        temperature: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of sampled architectures with its straight-through gradient into q, and rewards and latencies of the
        samples `[S, B]`, as REINFORCE would have seen them.

        What a right answer earns weighs the task's loss, so that bonuses and multipliers mean the same for both
        estimators.
        """
        options, samples = self.options, self.options.samples
        bits = torch.cat([self.policy.relax(q, temperature, generator) for _ in range(samples)])
        repeated = _repeated(batch, samples)
        slices = self.policy.space.slices
        # Evaluation mode: every option runs on every sample, so batch norm in training would be fed (and keep) what an
        # option makes of images that did not take it, and the answer would not be that of the sampled child.
        self.graph.eval()
        with _without_gradients(self.graph):
            output = self.graph(repeated.inputs, Staged(lambda name, _: bits[:, slices[name]]))
        latency = self.cost.through(self.policy.complete(bits))
        own = self._own_window(window, targets, len(bits))
        own = Window(*(end.to(latency) if isinstance(end, Tensor) else end for end in (own.low, own.high)))
        if options.reward == "constrained":
            penalty = self.multiplier * excess(latency, own.middle)
        else:
            penalty = options.positive * window_penalty(latency, own)
        worth = options.positive - options.negative
        loss = worth * self.task.loss(output, repeated)["total"] + penalty.mean()
        right = (output.detach().argmax(1) == repeated.targets).cpu()
        taken = latency.detach().double().cpu()
        earned = self._earned(right, taken, window, targets)
        return loss, earned.reshape(samples, -1), taken.reshape(samples, -1)


def _repeated(batch: Batch, times: int) -> Batch:
    """A batch, so many times in a row."""
    return Batch(*(part.repeat(times, *[1] * (part.dim() - 1)) for part in batch))


@contextmanager
def _without_gradients(graph: nn.Module) -> Iterator[None]:
    """Gradients flow through its modules, none to its parameters."""
    before = [(parameter, parameter.requires_grad) for parameter in graph.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)
