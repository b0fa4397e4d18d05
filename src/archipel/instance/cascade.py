"""A cascade: a cheap network answers, and the images that it is unsure of go on to the next, dearer one.

Doubt is 1 − the largest softmax probability after temperature scaling, one temperature a stage; an image whose doubt is
above the stage's threshold goes on. (The margin between the two largest probabilities would do as well; this is the one
that reads as a probability of being wrong.) Instead of the doubt it may be the gain that is expected from going on
(`archipel.instance.escalation`). Temperatures and thresholds come from images that no stage was trained on.

In a committee (Wang et al., ICLR 2022, arXiv 2012.01988) a stage does not answer alone: the probabilities of all stages
that looked at the image are averaged, which costs nothing and is a better answer where the stages err apart.

The stages may be the exits of one network (`archipel.nn.exits`): each then goes on from what the one before has
computed.

Letters: `B` images of a batch, `N` validation images, `S` stages.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.escalation import Gain, doubt, doubt_of_one
from archipel.nn.exits import Exits
from archipel.nn.fold import fold_for_inference
from archipel.rows import rows_of

__all__ = ["Answer", "Cascade", "CascadePoint", "answers", "frontier", "joined", "sweep", "temperature_for", "within"]

EVERYTHING, NOTHING = -1e9, 1e9
"""Thresholds at which all images go on, and none does: doubts and gains lie between."""
COMBINATIONS = 4096
"""Most combinations of thresholds that a sweep looks at."""
WIDEST = 16.0
"""Temperatures lie between 1/16 and 16: a split without a mistake would ask for 0."""


_Urge: TypeAlias = Callable[[Sequence[float], float], float]
_Stage: TypeAlias = tuple[nn.Module, nn.Module, float, float | None, _Urge]


class Answer(NamedTuple):
    """What a cascade says of a batch."""

    output: Tensor
    """`[B, classes]`: logits over the temperature of the stage that answered; of a committee the logarithms of its
    probabilities."""
    stage: Tensor
    """`[B]`, int64: which stage answered."""
    ms: Tensor
    """`[B]`, float64: milliseconds of all stages that looked at the image."""


class Cascade(nn.Module):
    """Each image's answer is that of the first stage whose doubt is at most its threshold, or of the last.

    Any networks with the same classes can be stages: children of a meta-graph, networks of their own. For inference:
    batch norm is folded. In a batch the unsure rows are gathered, the next stage runs on them alone, and its answers
    are scattered back; a single image leaves with the first stage that is sure.

    Args:
        stages: `[B, C, H, W]` → `[B, classes]`, from cheap to dear; or the exits of one network.
        thresholds: of the doubt or the gain, one for each stage but the last.
        costs_ms: milliseconds an image that each stage adds.
        temperatures: what each stage's logits are divided by; all 1 if not given.
        committee: whether an answer is the mean of the probabilities of all stages that looked at the image.
        gains: of each stage but the last, what decides instead of the doubt.

    Raises:
        OptionError: the numbers do not fit the stages, or a temperature is not above 0.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module] | Exits,
        *,
        thresholds: Sequence[float],
        costs_ms: Sequence[float],
        temperatures: Sequence[float] | None = None,
        committee: bool = False,
        gains: Sequence[Gain] | None = None,
    ) -> None:
        super().__init__()
        count = len(stages)
        temperatures = temperatures or [1.0] * count
        if not count or (len(thresholds), len(costs_ms), len(temperatures)) != (count - 1, count, count):
            raise OptionError(
                f"a cascade of {count} stages needs one threshold less, and as many costs and temperatures; it was "
                f"given {len(thresholds)}, {len(costs_ms)} and {len(temperatures)}"
            )
        if gains is not None and len(gains) != count - 1:
            raise OptionError(f"a cascade of {count} stages needs {count - 1} gains; {len(gains)} are given")
        if min(temperatures) <= 0.0:
            raise OptionError(f"a temperature of a cascade is {min(temperatures):g}; give numbers above 0")
        trunks: Sequence[nn.Module] = [nn.Identity()] * count
        if isinstance(stages, Exits):
            trunks, stages = list(stages.trunks), list(stages.heads)
        self.trunks = nn.ModuleList(fold_for_inference(trunk) for trunk in trunks)
        self.stages = nn.ModuleList(fold_for_inference(stage) for stage in stages)
        self.thresholds = tuple(thresholds)
        self.temperatures = tuple(temperatures)
        self.costs_ms = tuple(costs_ms)
        self.committee = committee
        self.gains = None if gains is None else nn.ModuleList(gains)
        self._row = self._in_a_row()
        self.eval()

    def at(self, thresholds: Sequence[float]) -> Cascade:
        """The same stages, weights shared, under other thresholds: another point of the cascade's frontier.

        Raises:
            OptionError: there are not as many as before.
        """
        if len(thresholds) != len(self.thresholds):
            raise OptionError(f"the cascade has {len(self.thresholds)} thresholds; {len(thresholds)} are given")
        moved = copy.copy(self)
        moved.thresholds = tuple(thresholds)
        moved._row = moved._in_a_row()
        return moved

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` → `[B, classes]`: see `Answer.output`."""
        if len(inputs) == 1 and not torch.is_grad_enabled():  # changing the mode takes as long as a small layer
            return self._of_one(inputs)[0]
        with torch.no_grad():
            return self._of_one(inputs)[0] if len(inputs) == 1 else self._of_many(inputs)

    def _of_many(self, inputs: Tensor) -> Tensor:
        answers = self._answers(inputs)
        _, output = next(answers)
        for rows, own in answers:
            output = own if rows is None else output.index_copy_(0, rows, own)
        return output

    @torch.no_grad()
    def answer(self, inputs: Tensor) -> Answer:
        """As `forward`, with who answered and what that cost."""
        output, stage = None, torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
        if len(inputs) == 1:
            output, stage[:] = self._of_one(inputs)
        else:
            for number, (rows, own) in enumerate(self._answers(inputs)):
                if output is None or rows is None:
                    output, stage[:] = own, number
                else:
                    output.index_copy_(0, rows, own)
                    stage[rows] = number
        assert output is not None
        spent = torch.tensor(self.costs_ms, dtype=torch.float64, device=inputs.device).cumsum(0)
        return Answer(output, stage, spent[stage])

    def urge(self, number: int, answers: Tensor) -> Tensor:
        """What is held against a stage's threshold, of its answers `[B, classes]` → `[B]`."""
        if self.gains is None:
            return doubt(answers)
        decided: Tensor = self.gains[number](answers)
        return decided

    def _of_one(self, image: Tensor) -> tuple[Tensor, int]:
        """The answer of a batch of one, and the stage that gave it: `_answers` with next to nothing between layers."""
        x, before = image, None
        for number, (trunk, stage, temperature, threshold, urge) in enumerate(self._row):
            x = trunk(x)
            answer: Tensor = stage(x)
            if self.committee:
                answer = before = joined(before, answer / temperature, number)
                temperature = 1.0
            if threshold is None or urge(answer.tolist()[0], temperature) <= threshold:
                return answer / temperature, number
        raise AssertionError("the last stage has no threshold")

    def _in_a_row(self) -> list[_Stage]:
        """What `_of_one` goes through: a module's own modules are slow to ask for."""
        thresholds, urges = (*self.thresholds, None), (*self.urges, doubt_of_one)
        return list(zip(self.trunks, self.stages, self.temperatures, thresholds, urges, strict=True))

    @property
    def urges(self) -> list[_Urge]:
        """Of each stage but the last, what is held against its threshold, of a single answer in plain numbers."""
        if self.gains is None:
            return [doubt_of_one] * len(self.thresholds)
        return [gain.of_one for gain in self.gains if isinstance(gain, Gain)]

    @torch.no_grad()
    def every_answer(self, inputs: Tensor) -> Tensor:
        """What each stage would answer each image, `[S, B, classes]`, whether it gets there or not."""
        found, x = [], inputs
        for trunk, stage in zip(self.trunks, self.stages):
            x = trunk(x)
            found.append(stage(x))
        return answers(found, self.temperatures, committee=self.committee)

    def upto(self, number: int) -> nn.Module:
        """All that runs for an image that a stage answers, as one network without decisions: `[B, C, H, W]` → logits
        `[number + 1, B, classes]`, weights shared."""
        return _Whole(Exits(list(self.trunks)[: number + 1], list(self.stages)[: number + 1])).eval()

    def _answers(self, inputs: Tensor) -> Iterator[tuple[Tensor | None, Tensor]]:
        """Of each stage that runs: the rows it runs on (None: all), and the answer for them as of now."""
        rows, mine, before = None, inputs, None
        stages = zip(self.trunks, self.stages, self.temperatures, (*self.thresholds, None))
        for number, (trunk, stage, temperature, threshold) in enumerate(stages):
            mine = trunk(mine)
            answer = stage(mine) / temperature
            if self.committee:
                answer = joined(before, answer, number)
            yield rows, answer
            if threshold is None:
                return
            before = answer
            unsure = (self.urge(number, answer) > threshold).nonzero()[:, 0]
            if not len(unsure):
                return
            if len(unsure) < len(mine):
                rows = unsure if rows is None else rows[unsure]
                mine, before = rows_of(mine, unsure), answer[unsure]


class _Whole(nn.Module):
    def __init__(self, exits: Exits) -> None:
        super().__init__()
        self.exits = exits

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack(self.exits.answers(inputs))


def joined(before: Tensor | None, scaled: Tensor, count: int) -> Tensor:
    """Logarithms of a committee's mean probabilities, `[B, classes]`, once the next member's logits are there.

    Args:
        before: the same of the `count` members so far.
    """
    own = scaled.log_softmax(1)
    if before is None:
        return own
    return torch.logaddexp(before + math.log(count), own) - math.log(count + 1)


def answers(logits: Sequence[Tensor], temperatures: Sequence[float], *, committee: bool = False) -> Tensor:
    """What each stage of a cascade answers the images that get to it, `[S, N, classes]`, as `Answer.output`.

    Args:
        logits: of each stage for all images, `[N, classes]`.
    """
    scaled = [z / temperature for z, temperature in zip(logits, temperatures)]
    if committee:
        together: list[Tensor] = []
        for number, own in enumerate(scaled):
            together.append(joined(together[-1] if together else None, own, number))
        scaled = together
    return torch.stack(scaled)


def temperature_for(logits: Tensor, targets: Tensor) -> float:
    """The temperature T at which softmax(z/T) has the least cross-entropy (temperature scaling, Guo et al., ICML 2017).

    The cross-entropy is convex in 1/T, so it has one minimum in log T, which a golden-section search finds.

    Args:
        logits, targets: `[N, classes]` and `[N]`, of images that the network was not trained on.

    Raises:
        OptionError: there are no images.
    """
    if not len(targets):
        raise OptionError("a temperature is found on validation images; there are none")
    logits, targets = logits.double(), targets.to(logits.device)

    def loss(position: float) -> float:
        return float(nn.functional.cross_entropy(logits / math.exp(position), targets))

    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = -math.log(WIDEST), math.log(WIDEST)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(40):  # 5.5 · 0.618^40 = 2e-8 in log T
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return math.exp((low + high) / 2.0)


@dataclass(frozen=True)
class CascadePoint:
    """What a cascade does with the validation images under some thresholds."""

    thresholds: tuple[float, ...]
    accuracy: float
    ms: float
    """Milliseconds of the mean image."""
    shares: tuple[float, ...]
    """Of the images, answered by each stage."""


def sweep(urges: Tensor, correct: Tensor, costs_ms: Sequence[float]) -> list[CascadePoint]:
    """Every point that moving the thresholds gives, by rising latency.

    Thresholds stand half-way between neighbouring urges. Two stages have as many points as there are different urges,
    and one more; of three and more, and where there are more than 4,096, evenly spread thresholds are combined.

    Args:
        urges: `[S - 1, N]`, of the stages but the last (`Cascade.urge`), for all images whether they would get there or
            not.
        correct: `[S, N]`, bool, whether each stage's answer is right.
        costs_ms: milliseconds an image that each stage adds.

    Raises:
        OptionError: there are no images.
    """
    if not correct.shape[1]:
        raise OptionError("the thresholds of a cascade are found on validation images; there are none")
    urges, correct = urges.double().cpu(), correct.cpu()
    most = max(2, int(COMBINATIONS ** (1.0 / max(1, len(urges))) + 1e-9))
    spent = torch.tensor(costs_ms, dtype=torch.float64).cumsum(0)
    found = []
    for thresholds in itertools.product(*(_between(row, most) for row in urges)):
        goes_on = torch.ones(correct.shape[1], dtype=torch.bool)
        right, share = 0, []
        for stage, threshold in enumerate((*thresholds, float("inf"))):
            unsure = goes_on & (urges[stage] > threshold) if stage < len(urges) else torch.zeros_like(goes_on)
            answers = goes_on & ~unsure
            right += int((answers & correct[stage]).sum())
            share.append(float(answers.double().mean()))
            goes_on = unsure
        ms = float((torch.tensor(share, dtype=torch.float64) * spent).sum())
        found.append(CascadePoint(thresholds, right / correct.shape[1], ms, tuple(share)))
    return sorted(found, key=lambda point: (point.ms, -point.accuracy))


def _between(urges: Tensor, most: int) -> list[float]:
    """At most `most` thresholds that divide the urges differently, the two that do not divide them included."""
    known = urges.unique()
    inner = ((known[1:] + known[:-1]) / 2.0).tolist()
    every = [EVERYTHING, *inner, NOTHING]
    if len(every) <= most:
        return every
    return [every[round(i * (len(every) - 1) / (most - 1))] for i in range(most)]


def frontier(points: Sequence[CascadePoint]) -> list[CascadePoint]:
    """The points that none equals or beats in both accuracy and latency, from fast to slow."""
    kept: list[CascadePoint] = []
    for point in sorted(points, key=lambda p: (p.ms, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def within(points: Sequence[CascadePoint], target_ms: float) -> CascadePoint:
    """The most accurate point of at most `target_ms` for the mean image; of equals the fastest.

    Raises:
        OptionError: none is as fast.
    """
    able = [point for point in points if point.ms <= target_ms]
    if not able:
        fastest = min((point.ms for point in points), default=float("nan"))
        raise OptionError(
            f"no thresholds meet {target_ms:g} ms an image; the cascade's fastest point takes {fastest:.3g}"
        )
    return max(able, key=lambda point: (point.accuracy, -point.ms))
