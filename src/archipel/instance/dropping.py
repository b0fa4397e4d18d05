"""BlockDrop's two trainings (Wu et al., CVPR 2018, arXiv 1711.08393): a policy that learns which blocks an image can do
without, block by block from the end, and then policy and network together.

Letters: `B` batch, `D` code columns of the space, `K` choices (blocks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from archipel.errors import OptionError
from archipel.instance.alarms import diversity
from archipel.instance.code_cost import CodeCost
from archipel.instance.estimator import advantages, surrogate
from archipel.instance.policy import CodePolicy, Entropy
from archipel.instance.search import mode_codes, recalibrate_along
from archipel.metagraph import MetaGraph, PerInstance
from archipel.progress import SILENT, Bar, Progress
from archipel.sharing.training import Checkpoints, seed_of
from archipel.space import Space
from archipel.tasks.task import Batch, Task

__all__ = ["Curriculum", "DropRow", "DropTraining", "Joint", "Use", "block_use", "drop_reward", "latency_use"]

Use: TypeAlias = Callable[[Tensor], Tensor]
"""Codes `[B, D]` → what of the network they use, `[B]`: 0 with every block left out, 1 with all of them."""

DropRow = dict[str, float]
"""One epoch: epoch, free (blocks that the policy decides), reward, use (sampled), map_use, map_ms, val_accuracy,
distinct, varying_bits; `loss` (cross-entropy) of the joint training."""


def block_use(codes: Tensor) -> Tensor:
    """|u| / K: the share of blocks that are kept."""
    return codes.double().mean(1)


def latency_use(cost: CodeCost) -> Use:
    """lat(u) / B: the share of the milliseconds that choices decide about, B those of the first option everywhere."""
    whole = cost.of(cost.first()) - cost.fixed

    def use(codes: Tensor) -> Tensor:
        return (cost(codes) - cost.fixed) / whole

    return use


def drop_reward(is_correct: Tensor, use: Tensor, penalty: float) -> Tensor:
    """R = 1 − use² where the child's answer is right, −γ where it is wrong. `[B]`

    Args:
        penalty: γ: the larger, the more blocks are kept.
    """
    earned = 1.0 - use**2
    return torch.where(is_correct, earned, torch.full_like(earned, -penalty))


@dataclass(frozen=True)
class Curriculum:
    """The policy alone, the network frozen; each epoch one more block is the policy's to decide, from the end."""

    epochs: int = 20
    batch: int = 64
    lr: float = 1e-3
    """Adam, policy."""
    penalty: float = 1.0
    """Cost γ of a wrong answer."""
    alpha: tuple[float, float] = (0.8, 0.95)
    """Exploration bound α at the first and last epoch: q = αs + (1 − α)(1 − s). Published: 0.8 throughout."""
    beta: float = 0.1
    """Weight of the entropy bonus."""
    entropy: Entropy = "bernoulli"
    """`half` is the released bonus, without the (1 − q) log(1 − q) of a bit."""
    split: Literal["arch", "train"] = "arch"
    """Where the policy learns; on `train`, as released, a trained network is nearly always right."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Joint:
    """Policy and network together."""

    epochs: int = 20
    batch: int = 64
    lr: float = 1e-3
    """Adam, policy and network."""
    lr_decay_epochs: int = 0
    """Learning rate × 0.1 every so many epochs; 0 keeps it."""
    penalties: tuple[float, ...] = (2.0, 5.0)
    """Costs γ of a wrong answer: a training for each, from the same curriculum."""
    alpha: tuple[float, float] = (0.8, 0.98)
    """Exploration bound at the first and last epoch, as in the curriculum."""
    scaling: Literal["mean", "sum"] = "mean"
    """Of the policy's loss over the batch beside the mean cross-entropy; `sum`, as released, couples the policy's
    learning rate to the batch size."""
    recalibrate: bool = True
    """Recompute batch-norm statistics along the policy's own picks before every evaluation."""

    def __post_init__(self) -> None:
        _check(self)
        given = self.penalties
        if not given or len(set(given)) < len(given) or not all(penalty >= 0.0 for penalty in given):
            raise OptionError(f"joint.penalties is {list(given)}; give different numbers of 0 or more, at least one")


def _alpha(options: Curriculum | Joint, epoch: int) -> float:
    first, last = options.alpha
    return first + (last - first) * epoch / max(1, options.epochs - 1)


def _check(options: Curriculum | Joint) -> None:
    stage = type(options).__name__.lower()
    for name, least in (("epochs", 0), ("batch", 2)):
        if getattr(options, name) < least:
            raise OptionError(f"{stage}.{name} is {getattr(options, name)}; give {least} or more")
    if not all(0.5 <= a <= 1.0 for a in options.alpha):
        raise OptionError(f"{stage}.alpha is {list(options.alpha)}; give two numbers from 0.5 to 1")
    if not options.lr > 0.0:
        raise OptionError(f"{stage}.lr is {options.lr:g}; give a number above 0")


class DropTraining:
    """One policy and the network whose blocks it leaves out.

    Args:
        graph: of a space of subsets (`require_bits`), trained with everything on.
        controller: inputs → logits `[B, D]`.
        use: what of the network codes use.
        cost: milliseconds of codes, controller included; for the rows only.
    """

    def __init__(
        self,
        graph: MetaGraph,
        controller: nn.Module,
        task: Task,
        use: Use,
        cost: CodeCost,
        *,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.graph, self.controller, self.task, self.use, self.cost = graph, controller, task, use, cost
        self.seed, self.device = seed, device
        self.policy = CodePolicy(graph.space)

    def curriculum(
        self,
        options: Curriculum,
        *,
        checkpoint: Checkpoints | None = None,
        progress: Progress = SILENT,
        title: str = "curriculum",
    ) -> list[DropRow]:
        """Train the policy; in epoch t only the last min(t + 1, K) blocks are its own, all others stay on.

        Returns:
            One row an epoch.
        """
        optimiser = torch.optim.Adam(self.controller.parameters(), lr=options.lr)
        parts = {"controller": self.controller, "optimiser": optimiser}
        self.graph.eval()

        def epoch(number: int, bar: Bar) -> DropRow:
            forced, alpha = forced_columns(self.graph.space, number + 1), _alpha(options, number)
            generator = self._seeded(title, number)
            seen = _Means()
            loader = self.task.loader(
                options.split, options.batch, seed=seed_of(self.seed, title, number), device=self.device
            )
            self.controller.train()
            for batch in loader:
                logits = self.controller(batch.inputs)
                codes, log_prob, q = self.draw(logits, alpha, forced, generator)
                mode = self._mode(logits, forced)
                with torch.no_grad():
                    output = self.graph(batch.inputs, PerInstance(codes))
                    best = self.graph(batch.inputs, PerInstance(mode))
                reward = self._reward(output, codes, batch, options.penalty)
                baseline = self._reward(best, mode, batch, options.penalty)
                entropy = self.policy.entropy(q, options.entropy)
                _step(optimiser, _loss(log_prob, reward, baseline, entropy, options.beta))
                seen.add(reward=reward, use=self.use(codes))
                bar.advance()
            return {"free": float((~forced).sum()), **seen.means(), **self.judged(forced, recalibrate=False)}

        steps = len(self.task.loader(options.split, options.batch, seed=0))
        return _epochs(options.epochs, steps, epoch, parts, checkpoint, progress, title)

    def joint(
        self,
        options: Joint,
        penalty: float,
        *,
        checkpoint: Checkpoints | None = None,
        progress: Progress = SILENT,
        title: str = "joint training",
    ) -> list[DropRow]:
        """Train policy and network with one optimiser: the policy's loss beside the cross-entropy of the sampled
        children. Sampled and MAP children of a batch are judged in training mode, each by its own batch's statistics.

        Returns:
            One row an epoch.
        """
        both = [*self.controller.parameters(), *self.graph.parameters()]
        optimiser = torch.optim.Adam(both, lr=options.lr)
        parts = {"graph": self.graph, "controller": self.controller, "optimiser": optimiser}
        forced = forced_columns(self.graph.space, len(self.graph.space.choices))

        def epoch(number: int, bar: Bar) -> DropRow:
            if options.lr_decay_epochs:
                for group in optimiser.param_groups:
                    group["lr"] = options.lr * 0.1 ** (number // options.lr_decay_epochs)
            generator, alpha = self._seeded(title, number), _alpha(options, number)
            seen = _Means()
            loader = self.task.loader(
                "train", options.batch, seed=seed_of(self.seed, title, number), device=self.device
            )
            self.controller.train()
            self.graph.train()
            for batch in loader:
                logits = self.controller(batch.inputs)
                codes, log_prob, _ = self.draw(logits, alpha, forced, generator)
                mode = self._mode(logits, forced)
                with torch.no_grad():
                    best = self.graph(batch.inputs, PerInstance(mode))
                output = self.graph(batch.inputs, PerInstance(codes))
                reward = self._reward(output, codes, batch, penalty)
                policy = _loss(log_prob, reward, self._reward(best, mode, batch, penalty))
                if options.scaling == "sum":
                    policy = policy * len(codes)
                loss = self.task.loss(output, batch)["total"]
                _step(optimiser, policy + loss)
                seen.add(reward=reward, use=self.use(codes), loss=loss.detach()[None])
                bar.advance()
            return {**seen.means(), **self.judged(forced, recalibrate=options.recalibrate)}

        steps = len(self.task.loader("train", options.batch, seed=0))
        return _epochs(options.epochs, steps, epoch, parts, checkpoint, progress, title)

    def draw(
        self, logits: Tensor, alpha: float, forced: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Codes `[B, D]` drawn within the exploration bound, the log-probability `[B]` of what was drawn freely, and q
        `[B, D]`, constant where it is forced.

        Args:
            forced: columns that are on whatever the policy says, `[D]`.
        """
        q = self.policy.probabilities(logits, alpha)
        q = torch.where(forced.to(q.device), torch.ones_like(q), q)
        draw = self.policy.sample(q, generator)
        return draw.codes | forced, draw.log_prob, q

    def _mode(self, logits: Tensor, forced: Tensor) -> Tensor:
        return self.policy.mode(logits) | forced

    def _reward(self, output: Tensor, codes: Tensor, batch: Batch, penalty: float) -> Tensor:
        is_correct = (output.detach().argmax(1) == batch.targets).cpu()
        return drop_reward(is_correct, self.use(codes), penalty)

    def _seeded(self, title: str, epoch: int) -> torch.Generator:
        torch.manual_seed(seed_of(self.seed, title, epoch, "dropout"))
        return torch.Generator().manual_seed(seed_of(self.seed, title, epoch, "codes"))

    @torch.no_grad()
    def judged(self, forced: Tensor, *, recalibrate: bool) -> DropRow:
        """What the MAP policy does on the validation split."""
        if recalibrate:
            batches = self.task.calibration(2, 256, device=self.device)
            recalibrate_along(self.graph, self.controller, self.policy, batches)
        self.graph.eval()
        metric, found = self.task.metric(), []
        for batch in self.task.loader("val", 256, device=self.device):
            codes = mode_codes(self.controller, self.policy, batch.inputs) | forced
            metric.update(self.graph(batch.inputs, PerInstance(codes)), batch)
            found.append(codes)
        codes = torch.cat(found)
        spread = diversity(codes)
        return {
            "map_use": float(self.use(codes).mean()),
            "map_ms": float(self.cost(codes).mean()),
            "val_accuracy": metric.compute()["score"],
            "distinct": float(spread.distinct),
            "varying_bits": float(spread.varying_bits),
        }


def forced_columns(space: Space, free: int) -> Tensor:
    """The code columns of all but the last `free` choices, `[D]`, bool: what stays on."""
    forced = torch.zeros(space.width, dtype=torch.bool)
    for choice in space.choices[: max(0, len(space.choices) - free)]:
        forced[space.slices[choice.name]] = True
    return forced


def _loss(
    log_prob: Tensor, reward: Tensor, baseline: Tensor, entropy: Tensor | None = None, beta: float = 0.0
) -> Tensor:
    advantage = advantages(reward[None], "self_critical", baseline)
    return surrogate(log_prob[None], advantage.to(log_prob), entropy, beta)


def _step(optimiser: Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


class _Means:
    """Means over an epoch of what is known a sample (or a batch)."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Tensor]] = {}

    def add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._seen.setdefault(name, []).append(value.detach().cpu().double())

    def means(self) -> dict[str, float]:
        return {name: float(torch.cat(values).mean()) for name, values in self._seen.items()}


def _epochs(
    count: int,
    steps: int,
    epoch: Callable[[int, Bar], DropRow],
    parts: dict[str, Any],
    checkpoint: Checkpoints | None,
    progress: Progress,
    title: str,
) -> list[DropRow]:
    """Epochs from where the checkpoint ends, kept one by one."""
    rows: list[DropRow] = []
    if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
        rows = kept["rows"]
    with progress.bar(title, count * steps) as bar:
        bar.advance(len(rows) * steps)
        for number in range(len(rows), count):
            rows.append({"epoch": float(number), **epoch(number, bar)})
            bar.advance(0, accuracy=rows[-1]["val_accuracy"], use=rows[-1]["map_use"])
            if checkpoint is not None:
                checkpoint.save(parts, {"rows": rows})
    return rows
