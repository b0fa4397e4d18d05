"""ProxylessNAS' search: weights learn along sampled paths, gates learn from what the other options would have done.

Cai et al., ICLR 2019 (arXiv 1812.00332), §3.2 and appendix D, and the released program.
Letters: `O` options of a choice, `S` the two options of a `two` step, `M` sampled networks of a REINFORCE step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from archipel.architecture import Architecture
from archipel.choose import Place
from archipel.errors import OptionError
from archipel.gating import kept_buffers
from archipel.metagraph import Gated, MetaGraph, PerInstance, Route, Single
from archipel.nn.blocks import Zero
from archipel.sharing.gates import Gates
from archipel.sharing.signal_to_noise import SignalToNoise
from archipel.tasks.task import Batch, Task

__all__ = ["ArchitectureStep", "Binarisation", "Combine", "ExpectedCost", "Sampled", "adam"]


@dataclass(frozen=True)
class Binarisation:
    """How gates learn."""

    mode: Literal["full_v2", "full", "two", "reinforce"] = "full_v2"
    """`full_v2`: every option is looked at, in the backward pass, with one path's memory; `full`: in the forward
    pass; `two`: two options a choice, of which one runs; `reinforce`: the rewards of sampled networks count."""
    zero_update: Literal["skip", "full"] = "skip"
    """What a choice learns from a step in which `Zero` runs there: nothing, not from the cost either (as released),
    or as from any other option."""
    others: int | None = None
    """`full_v2`, `full`: of the options that do not run, look at so many, drawn anew for each choice and step, and
    weigh them up, so that the gradient is the same in expectation; None: look at all."""
    samples: int = 10
    """`reinforce`: networks a step (M)."""
    baseline: Literal["official", "leave_one_out"] = "official"
    """`reinforce`: a running mean of rewards that takes in the present ones first, or the mean of the others."""
    momentum: float = 0.99
    """`reinforce`, `official`: weight of the present mean reward in the baseline."""
    target: float | None = None
    """`reinforce`: the cost (T) at which the reward is the score, in the cost's unit; None: cost does not count."""
    exponent: float = 0.1
    """`reinforce`: reward = score · (T / cost)^exponent."""

    def __post_init__(self) -> None:
        allowed = {
            "mode": ("full_v2", "full", "two", "reinforce"),
            "zero_update": ("skip", "full"),
            "baseline": ("official", "leave_one_out"),
        }
        for name, options in allowed.items():
            if getattr(self, name) not in options:
                raise OptionError(f"binarisation.{name} is {getattr(self, name)!r}; give one of {', '.join(options)}")
        least = 2 if self.baseline == "leave_one_out" else 1
        if self.samples < least:
            raise OptionError(f"binarisation.samples is {self.samples}; give {least} or more")
        if self.others is not None and (self.others < 1 or self.mode not in ("full_v2", "full")):
            raise OptionError(
                f"binarisation.others is {self.others} in mode {self.mode}; give 1 or more in full_v2 or full, or none"
            )
        if self.target is not None and not self.target > 0.0:
            raise OptionError(f"binarisation.target is {self.target:g}; give a cost above 0")


class ExpectedCost(Protocol):
    """A cost that is a sum over choices (`archipel.cost.additive`)."""

    def expected(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """Its expectation under independent choices, a scalar; differentiable."""

    def of(self, architecture: Architecture) -> float: ...


class Combine(Protocol):
    """A loss form (`archipel.sharing.penalty`)."""

    def __call__(self, loss: Tensor, expected: Tensor, /) -> Tensor:
        """One scalar of the task's loss and the expected cost; differentiable in both."""


class Sampled:
    """The path policy of weight steps: children drawn from the gates as they are.

    Args:
        each: one child for every `batch`, as ProxylessNAS has it; or for every `image`, so that a step trains nearly
            every option, each on the images that drew it, for the time of one child.
    """

    def __init__(self, gates: Gates, each: Literal["batch", "image"] = "batch") -> None:
        self.gates = gates
        self.each = each

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Route:  # noqa: ARG002
        if self.each == "image":
            return PerInstance(self.gates.codes(generator, len(batch.inputs)))
        return Single(self.gates.sample(generator))


def adam(gates: Gates, lr: float = 1e-3) -> Optimizer:
    """The optimiser that gates need: without momentum (β₁ = 0) and weight decay, an option with gradient 0 stays
    where it is, and options that were not sampled keep their probabilities."""
    return Adam(gates.parameters(), lr=lr, betas=(0.0, 0.999), weight_decay=0.0)


@dataclass(frozen=True)
class _Drawn:
    """What one gradient step is about, by open choice."""

    active: dict[str, int]
    """Position of the option that runs."""
    probabilities: dict[str, Tensor]
    """`[O]` of every choice of the space; over `S`, and 0 elsewhere, in a `two` step."""
    observed: dict[str, tuple[str, ...]] | None = None
    weights: dict[str, Tensor] | None = None
    """`[O]`: the inverse of each option's probability of being looked at."""


class ArchitectureStep:
    """One step of the gates on one batch. Weights, and all buffers of the meta-graph, stay as they are.

    The gradient of α is p_i (u_i − Σ_j p_j u_j) with u = ∂L/∂g (eq. 4), and what `combine` passes on of the expected
    cost. In a `two` step p and the expectation are over two options, and nothing but their shares of their common
    probability changes. For REINFORCE the gradient is −(1/M) Σ_m (R_m − b) ∇ log p(m).

    Args:
        optimiser: as `adam` makes it: over the gates' parameters and no others.
        cost: None: the loss is the task's alone.
        combine: the loss form; needed where there is a cost and a gradient.

    Raises:
        OptionError: the optimiser's parameters are not the gates', or it would move options that were not looked at; a
            cost without a loss form (REINFORCE: without a target), or the reverse.
    """

    def __init__(
        self,
        graph: MetaGraph,
        gates: Gates,
        optimiser: Optimizer,
        settings: Binarisation | None = None,
        *,
        cost: ExpectedCost | None = None,
        combine: Combine | None = None,
    ) -> None:
        self.settings = settings or Binarisation()
        _check_optimiser(optimiser, gates, graph)
        _check_cost(self.settings, cost, combine)
        self.graph = graph
        self.gates = gates
        self.optimiser = optimiser
        self.cost = cost
        self.combine = combine
        self._options = {choice.name: choice.options for choice in graph.space.choices}
        self._zeros = {
            (place.choice.name, name)
            for place in graph.modules()
            if isinstance(place, Place)
            for name, option in place.options.items()
            if isinstance(option, Zero)
        }
        self._signal = SignalToNoise(sum(len(alpha) for alpha in gates.alphas))
        self._baseline = torch.full((), float("nan"), dtype=torch.float64)

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs besides gates and optimiser: the tensors themselves, to be restored in place."""
        return {**self._signal.state, "baseline": self._baseline}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, own in self.state_dict().items():
            own.copy_(state[name])

    def __call__(self, batch: Any, task: Task, generator: torch.Generator) -> dict[str, float]:
        """
        Args:
            batch: of the architecture's split, as `task` yields it.
            generator: the only source of chance, but for dropout.

        Returns:
            `loss`, the task's; `objective`, which goes down, or for REINFORCE `reward`, which goes up; of the gates
            afterwards `entropy`, `confidence` and, where there is a cost, `expected_cost` (under all of p) and
            `argmax_cost`; `signal_to_noise` of the gradient.
        """
        self.graph.train()
        self.optimiser.zero_grad(set_to_none=True)
        drawn: _Drawn | None = None
        with kept_buffers(self.graph), _frozen(self.graph):
            if self.settings.mode == "reinforce":
                figures = self._reinforce(batch, task, generator)
            else:
                drawn = self._two(generator) if self.settings.mode == "two" else self._full(generator)
                figures = self._gradients(batch, task, drawn)
        if drawn is not None and self.settings.mode == "two":
            self._rescaled_step(drawn)
        else:
            self.optimiser.step()
        return figures | self._figures()

    # ---- what is drawn ------------------------------------------------------------------------------------------

    def _full(self, generator: torch.Generator) -> _Drawn:
        active = {name: first for name, (first,) in self.gates.draw(generator).items()}
        if self.settings.others is None:
            return _Drawn(active, self.gates.probabilities())
        observed, weights = {}, {}
        for name, position in active.items():
            options = self._options[name]  # of which Zero, whose u is known, is looked at without being run
            pool = [i for i, o in enumerate(options) if i != position and (name, o) not in self._zeros]
            taken = [pool[i] for i in torch.randperm(len(pool), generator=generator)[: self.settings.others].tolist()]
            observed[name] = tuple(options[i] for i in (position, *taken))
            weights[name] = torch.ones(len(options), dtype=torch.float64)
            weights[name][pool] = len(pool) / max(1, len(taken))
        return _Drawn(active, self.gates.probabilities(), observed, weights)

    def _two(self, generator: torch.Generator) -> _Drawn:
        active, observed, probabilities = {}, {}, self.gates.probabilities()
        logits = self.gates.logits
        for name, pair in self.gates.draw(generator, 2).items():
            q = logits[name][pair].softmax(0)
            which = torch.rand((), dtype=torch.float64, generator=generator) >= q[0].detach().cpu()
            active[name] = pair[int(which)]
            observed[name] = tuple(self._options[name][i] for i in pair)
            probabilities[name] = torch.zeros_like(logits[name]).index_put((torch.tensor(pair),), q)
        return _Drawn(active, probabilities, observed)

    # ---- gradients ----------------------------------------------------------------------------------------------

    def _gradients(self, batch: Any, task: Task, drawn: _Drawn) -> dict[str, float]:
        """Leaves the gradient of α with every choice that learns from this step."""
        assignment = Architecture(self.gates.assignment(drawn.active))
        running = self.graph.space.canonical(assignment)
        learning = {name: alpha for name, alpha in self.gates.logits.items() if self._learns(name, running)}
        like = next(self.graph.parameters(), batch.inputs)
        leaves = {name: _leaf(len(alpha), like) for name, alpha in learning.items()}
        observed = drawn.observed and {name: drawn.observed[name] for name in learning}
        route = Gated(assignment, leaves, observed, recompute=self.settings.mode == "full_v2")
        loss = task.loss(self.graph(batch.inputs, route), batch)["total"]
        objective = loss
        if self.cost is not None and self.combine is not None:
            objective = self.combine(loss, self.cost.expected(drawn.probabilities).to(loss.device))
        if learning:
            found = torch.autograd.grad(objective, [*leaves.values(), *learning.values()], allow_unused=True)
            for (name, alpha), u, own in zip(learning.items(), found, found[len(learning) :]):
                p = drawn.probabilities[name].detach()
                s = u.to(p) * drawn.weights[name] if drawn.weights else u.to(p)
                alpha.grad = p * (s - (p * s).sum()) + (0.0 if own is None else own)
        return {"loss": float(loss.detach()), "objective": float(objective.detach())}

    def _learns(self, name: str, running: Architecture) -> bool:
        if name not in running:
            return False
        return self.settings.zero_update == "full" or (name, running[name]) not in self._zeros

    def _rescaled_step(self, drawn: _Drawn) -> None:
        """A step after which the two options of each choice have the common probability they had before."""
        assert drawn.observed is not None
        logits = self.gates.logits
        pairs = {n: [self._options[n].index(option) for option in pair] for n, pair in drawn.observed.items()}
        with torch.no_grad():
            before = {name: logits[name][pair].logsumexp(0) for name, pair in pairs.items()}
            self.optimiser.step()
            for name, pair in pairs.items():
                logits[name][pair] -= logits[name][pair].logsumexp(0) - before[name]

    def _reinforce(self, batch: Any, task: Task, generator: torch.Generator) -> dict[str, float]:
        sampled = [self.gates.sample(generator) for _ in range(self.settings.samples)]
        rewarded = [self._rewarded(batch, task, architecture) for architecture in sampled]
        rewards, losses = torch.tensor(rewarded, dtype=torch.float64).unbind(1)
        mean = rewards.mean()
        if self.settings.baseline == "official":
            known = mean if self._baseline.isnan() else self._baseline
            self._baseline.copy_(known + self.settings.momentum * (mean - known))
            advantage = rewards - self._baseline
        else:
            advantage = (rewards - mean) * len(rewards) / (len(rewards) - 1)
        log_prob = torch.stack([self.gates.log_prob(architecture) for architecture in sampled])
        (-(advantage.to(log_prob) * log_prob).mean()).backward()
        return {"loss": float(losses.mean()), "reward": float(mean)}

    @torch.no_grad()
    def _rewarded(self, batch: Any, task: Task, architecture: Architecture) -> tuple[float, float]:
        """(reward, loss) of a sampled network, with the batch's own statistics."""
        output = self.graph(batch.inputs, Single(architecture))
        metric = task.metric()
        metric.update(output, batch)
        reward = metric.compute()["score"]
        if self.cost is not None and self.settings.target is not None:
            reward *= (self.settings.target / self.cost.of(architecture)) ** self.settings.exponent
        return reward, float(task.loss(output, batch)["total"])

    def _figures(self) -> dict[str, float]:
        gradient = [torch.zeros_like(a) if a.grad is None else a.grad for a in self.gates.alphas]
        figures = {
            "entropy": self.gates.entropy(),
            "confidence": self.gates.confidence(),
            "signal_to_noise": self._signal.update(torch.cat(gradient).detach().cpu()),
        }
        if self.cost is not None:
            with torch.no_grad():
                figures["expected_cost"] = float(self.cost.expected(self.gates.probabilities()))
            figures["argmax_cost"] = self.cost.of(self.gates.argmax())
        return figures


def _leaf(options: int, like: Tensor) -> Tensor:
    """Gates where the graph is, in float32 at least."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.zeros(options, dtype=dtype, device=like.device, requires_grad=True)


@contextmanager
def _frozen(graph: nn.Module) -> Iterator[None]:
    """No weight asks for a gradient meanwhile: what only they would need is neither kept nor computed."""
    trained = [weight for weight in graph.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def _check_optimiser(optimiser: Optimizer, gates: Gates, graph: MetaGraph) -> None:
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    weights = held & {id(p) for p in graph.parameters()}
    if weights or held != {id(alpha) for alpha in gates.parameters()}:
        what = f"{len(weights)} weights of the meta-graph" if weights else f"{len(held)} parameters"
        raise OptionError(
            f"the architecture's optimiser holds {what}, not just the {len(gates.alphas)} of the gates; "
            "make it with `adam(gates)`"
        )
    for group in optimiser.param_groups:
        momentum, decay = group.get("betas", [group.get("momentum", 0.0)])[0], group.get("weight_decay", 0.0)
        if momentum or decay:
            raise OptionError(
                f"the architecture's optimiser has momentum {momentum:g} and weight decay {decay:g}, which move "
                "options that a step did not look at; set both to 0, as `adam(gates)` does"
            )


def _check_cost(settings: Binarisation, cost: ExpectedCost | None, combine: Combine | None) -> None:
    by_reward = settings.mode == "reinforce"
    what = "binarisation.target" if by_reward else "a loss form (`combine`)"
    if (cost is None) != ((settings.target if by_reward else combine) is None):
        missing, given = ("a cost", what) if cost is None else (what, "a cost")
        raise OptionError(f"mode {settings.mode} is given {given}, but not {missing}; give both or none")
