"""The settings of the search stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from archipel.errors import OptionError, did_you_mean
from archipel.instance.estimator import Baseline
from archipel.instance.policy import Entropy

__all__ = ["Estimator", "SearchOptions"]

Estimator: TypeAlias = Literal["reinforce", "gumbel"]


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
    conditioned: bool = False
    """Tell the controller how long the architecture may take, another target for each image: one search, then one
    fine-tuning, give all variants, and the found network can be asked for any latency."""
    cost: Literal["table", "routed"] = "table"
    """What an image's latency is, in rewards, budgets and targets: that of its architecture in the latency table; or
    its share of a gathered batch of `latency.throughput_batch` images, in which an option that few take costs them
    more."""
    reward: Literal["window", "constrained"] = "window"
    """What latency earns: most in the middle of a window, or nothing, and above the target a price that rises until
    the target is met. Conditioned, every image has its own window round its target; else the target is the middle."""
    multiplier: float = 30.0
    """λ at the beginning: what twice the target costs (`constrained`)."""
    multiplier_rate: float = 0.2
    """How fast λ rises while the picks exceed their targets; 0 keeps it."""
    positive: float = 30.0
    """Reward of a right answer, in the middle of the window (pos_w)."""
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
    estimator: Estimator = "reinforce"
    """How the controller learns: from what samples earn; or from gradients through them (straight-through Gumbel), of
    the task's loss and of the latency above the target, for which every option runs on every image."""
    baseline: Baseline = "leave_one_out"
    """What rewards are compared with (`reinforce`)."""
    temperature: tuple[float, float] = (1.0, 0.5)
    """Of the soft samples that the gradients are of, at the first and last epoch (`gumbel`)."""
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
        known = get_args(Estimator)
        if self.estimator not in known:
            raise OptionError(
                f"search.estimator is '{self.estimator}'; choose from {', '.join(known)}"
                f"{did_you_mean(self.estimator, known)}"
            )
        if self.estimator == "reinforce" and self.baseline == "leave_one_out" and self.samples < 2:
            raise OptionError(
                "search.baseline 'leave_one_out' compares samples of one image; give search.samples of 2 or more"
            )
        if self.multiplier <= 0.0 or self.multiplier_rate < 0.0:
            raise OptionError(
                f"search.multiplier is {self.multiplier:g} and search.multiplier_rate {self.multiplier_rate:g}; give a "
                "number above 0 and one from 0"
            )
        if not all(t > 0.0 for t in self.temperature):
            raise OptionError(f"search.temperature is {list(self.temperature)}; give two numbers above 0")
        if self.estimator == "gumbel" and not self.positive > max(0.0, self.negative):
            raise OptionError(
                f"search.positive is {self.positive:g} and search.negative {self.negative:g}, and their difference "
                "weighs the loss of search.estimator gumbel; give a positive above 0 and above the negative"
            )
        if not all(0.5 <= a <= 1.0 for a in self.alpha):
            raise OptionError(f"search.alpha is {list(self.alpha)}; give two numbers from 0.5 to 1")

    def between(self, ends: tuple[float, float], done: float) -> float:
        return ends[0] + (ends[1] - ends[0]) * done
