"""AutoSpace's loop: populations of cells, one a layer, that evolve side by side (arXiv 2103.11833, Figure 2).

Every iteration some cells of each layer are made active, a scorer judges them together, and their scores are written
back. How they are judged is the scorer's affair: by gradient (`archipel.evolve.gradient`), or from a table. `L` layers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Generic, Protocol, TypeVar

from archipel.errors import OptionError
from archipel.evolve.population import Member, Population
from archipel.progress import SILENT, Progress
from archipel.sharing.training import Checkpoints

__all__ = ["Codec", "Evolution", "Outcome", "References", "Scorer", "evolve"]

G = TypeVar("G")


@dataclass(frozen=True)
class References:
    """What the reference cell is used for; each on its own."""

    seed: bool = True
    """It and cells one mutation away from it are in every first population."""
    anchor: bool = True
    """It is one of the active cells always, and its score is the zero of the others'; otherwise their mean is."""
    crossover: bool = True
    """Some children take half of their genes from it."""
    keep: bool = True
    """It is kept at the end, beside the best."""


@dataclass(frozen=True)
class Evolution:
    """How populations evolve. The paper gives none of these numbers but `active`, in a figure; defaults are ours."""

    population: int = 16
    """Cells of each layer (P)."""
    active: int = 4
    """Cells of each layer that are judged together, with the reference where it is the anchor (K)."""
    keep: int = 4
    """Cells of each layer that the space gets, besides the reference."""
    tournament: int = 4
    """Members that each parent is the best of."""
    mutation: float = 0.7
    """How often a parent sends a child instead of being judged again."""
    crossing: float = 0.2
    """How often a child takes half of its genes from the reference."""
    iterations: int = 40
    patience: int = 10
    """Stop when the mean fitness of the cells that would be kept has not risen for so many iterations."""
    visits: int = 2
    """How often a cell must have been judged before it can leave, or be kept before others."""
    momentum: float = 0.5
    """Weight of the newest score in a cell's fitness (m)."""
    apart: int = 2
    """Genes in which kept cells differ at least, if there are enough that do."""
    rescoring: int = 0
    """After the evolution, the 2 · `keep` best cells are judged until each was so often, without mutation."""
    references: References = field(default_factory=References)

    def __post_init__(self) -> None:
        others = self.active - self.references.anchor
        for name, least in (("population", 2), ("keep", 1), ("tournament", 1), ("patience", 1), ("visits", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"evolution.{name} is {getattr(self, name)}; give {least} or more")
        for name in ("iterations", "apart", "rescoring"):
            if getattr(self, name) < 0:
                raise OptionError(f"evolution.{name} is {getattr(self, name)}; give 0 or more")
        for name in ("mutation", "crossing"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise OptionError(f"evolution.{name} is {getattr(self, name):g}; give a share from 0 to 1")
        if not 0.0 < self.momentum <= 1.0:
            raise OptionError(f"evolution.momentum is {self.momentum:g}; give a share above 0, up to 1")
        if others < 1 or self.active < 2:
            raise OptionError(f"evolution.active is {self.active}; give 2 or more")
        if self.population < others:
            raise OptionError(f"evolution.population is {self.population}; give {others} or more, for all active cells")


class Codec(Protocol[G]):
    """Genotypes as plain JSON and back."""

    def to_json(self, genes: G, /) -> Any: ...

    def from_json(self, data: Any, /) -> G: ...


class Scorer(Protocol[G]):
    """Judges the active members of all layers together."""

    def score(
        self, iteration: int, active: Sequence[Sequence[Member[G]]]
    ) -> tuple[list[list[float]], dict[str, float]]:
        """A score for each, larger is better, comparable within a layer only; and figures to show and keep.

        Args:
            iteration: counted from 0: chance may come from the seed and this number alone.
            active: `L` lists; the reference, number 0, is the last of each where it is the anchor.
        """

    def forget(self, members: Sequence[Sequence[Member[G]]]) -> None:
        """Only these, among them the references, may be asked about again."""

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the populations."""

    def restore(self, parts: Mapping[str, Any], members: Sequence[Sequence[Member[G]]]) -> None:
        """Go on from parts that a checkpoint has filled."""


@dataclass(frozen=True)
class Outcome(Generic[G]):
    """What an evolution ends with."""

    kept: list[list[Member[G]]]
    """`L` lists, best first; the reference last where it is kept."""
    populations: list[Population[G]]
    history: list[dict[str, float]]
    """One row an iteration."""

    @property
    def worse_than_reference(self) -> bool:
        """Whether no kept cell of any layer was judged better than its reference."""
        judged = [m.fitness for members in self.kept for m in members if m.number and m.fitness is not None]
        return bool(judged) and max(judged) < 0


def evolve(
    populations: Sequence[Population[G]],
    scorer: Scorer[G],
    settings: Evolution,
    codec: Codec[G],
    *,
    seed: int,
    checkpoint: Checkpoints | None = None,
    progress: Progress = SILENT,
    title: str = "evolution",
) -> Outcome[G]:
    """Evolve all layers to the end, going on from the checkpoint where there is one; one is written after every
    iteration.

    Args:
        populations: `L`, empty ones.
    """
    loop = _Loop(list(populations), scorer, settings, codec, random.Random(seed))
    loop.begin(checkpoint)
    with progress.bar(title, settings.iterations) as bar:
        bar.advance(min(len(loop.history), settings.iterations))
        while (judged := loop.next()) is not None:
            figures = loop.iterate(judged)
            bar.advance(0 if loop.evolved else 1, **figures)
            if checkpoint is not None:
                loop.save(checkpoint)
    references = [population.reference for population in loop.populations]
    kept = [
        [*found, reference] if settings.references.keep else found
        for found, reference in zip(map(loop.kept, loop.populations), references)
    ]
    return Outcome(kept, loop.populations, loop.history)


@dataclass
class _Loop(Generic[G]):
    populations: list[Population[G]]
    scorer: Scorer[G]
    settings: Evolution
    codec: Codec[G]
    rng: random.Random
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    since: int = 0
    """Iterations since `best` rose."""
    evolved: bool = False
    """Only old cells are judged again from here."""

    def begin(self, checkpoint: Checkpoints | None) -> None:
        parts = {name: {} if isinstance(part, dict) else part for name, part in self.scorer.parts().items()}
        if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
            self._restore(kept)
            self.scorer.restore(parts, self._members())
            return
        for population in self.populations:
            population.fill(self.rng, seed=self.settings.references.seed)

    def next(self) -> list[list[Member[G]]] | None:
        """Who is judged now, the reference last where it is the anchor; None at the end."""
        own = self.settings
        if not self.evolved and (len(self.history) >= own.iterations or self.since >= own.patience):
            self.evolved = True
        active = [self._unripe(p) if self.evolved else self._drawn(p) for p in self.populations]
        if self.evolved and not any(active):
            return None
        for members, population in zip(active, self.populations):
            for member in population.ranking() if self.evolved else ():  # a layer that is done waits with the others
                if len(members) < self._count and member not in members and member is not self._anchor(population):
                    members.append(member)
            if self.settings.references.anchor:
                members.append(population.reference)
        return active

    def iterate(self, active: list[list[Member[G]]]) -> dict[str, float]:
        own = self.settings
        scores, figures = self.scorer.score(len(self.history), active)
        for members, values in zip(active, scores, strict=True):
            zero = values[-1] if own.references.anchor else fmean(values)
            for member, value in zip(members, values, strict=True):
                member.judge(value - zero, own.momentum)
        for population in self.populations:
            population.evict(own.visits)
        self.scorer.forget(self._members())
        top = self._top()
        if top is not None and not self.evolved:
            self.since = 0 if top > self.best else self.since + 1
            self.best = max(self.best, top)
        told = {"diversity": fmean(population.diversity for population in self.populations)}
        row = {**figures, **({} if top is None else {"fitness": top})}
        self.history.append({"iteration": len(self.history), "evolved": float(self.evolved), **told, **row})
        return row

    def kept(self, population: Population[G]) -> list[Member[G]]:
        own = self.settings
        besides = [population.reference.genes] if own.references.keep else []
        return population.kept(own.keep, visits=own.visits, apart=own.apart, besides=besides)

    @property
    def _count(self) -> int:
        return self.settings.active - self.settings.references.anchor

    def _anchor(self, population: Population[G]) -> Member[G] | None:
        return population.reference if self.settings.references.anchor else None

    def _drawn(self, population: Population[G]) -> list[Member[G]]:
        """Those who may not leave yet, then by tournament; a parent that was judged before may send a child in its
        place."""
        own, anchor = self.settings, self._anchor(population)
        drawn = population.waiting(own.visits)[: self._count]
        out = [*drawn, *([] if anchor is None else [anchor])]
        while len(drawn) < self._count:
            parent = population.tournament(self.rng, own.tournament, out)
            if parent is None:
                break
            out.append(parent)
            child = None
            if parent.fitness is not None and self.rng.random() < own.mutation:
                child = population.child(parent, self.rng, own.crossing if own.references.crossover else 0.0)
            drawn.append(child or parent)
            out.append(drawn[-1])
        return drawn

    def _unripe(self, population: Population[G]) -> list[Member[G]]:
        """Of the best, those that must be judged again."""
        anchor, own = self._anchor(population), self.settings
        best = [member for member in population.ranking(own.visits) if member is not anchor][: 2 * own.keep]
        return sorted((m for m in best if m.visits < own.rescoring), key=lambda m: m.visits)[: self._count]

    def _top(self) -> float | None:
        """Mean fitness of those that would be kept, over all layers, once each has enough that are ripe."""
        own, means = self.settings, []
        for population in self.populations:
            ripe = [m.rank for m in population.ranking(own.visits) if m.visits >= own.visits and m.number][: own.keep]
            if len(ripe) < own.keep:
                return None
            means.append(fmean(ripe))
        return fmean(means)

    def _members(self) -> list[list[Member[G]]]:
        return [[p.reference, *(m for m in p.members if m is not p.reference)] for p in self.populations]

    # ---- kept on disk -----------------------------------------------------------------------------------------

    def save(self, checkpoint: Checkpoints) -> None:
        version, state, gauss = self.rng.getstate()
        meta = {
            "history": self.history, "best": self.best, "since": self.since, "evolved": self.evolved,
            "chance": [version, list(state), gauss],
            "populations": [
                {
                    "born": p.born,
                    "reference": self._row(p.reference),
                    "members": [m.number if m is p.reference else self._row(m) for m in p.members],
                }
                for p in self.populations
            ],
        }  # fmt: skip
        checkpoint.save(self.scorer.parts(), meta)

    def _row(self, member: Member[G]) -> dict[str, Any]:
        return {**vars(member), "genes": self.codec.to_json(member.genes)}

    def _member(self, row: Mapping[str, Any]) -> Member[G]:
        return replace(Member(**row), genes=self.codec.from_json(row["genes"]))

    def _restore(self, kept: Mapping[str, Any]) -> None:
        self.history, self.best, self.since = kept["history"], kept["best"], kept["since"]
        self.evolved = kept["evolved"]
        version, state, gauss = kept["chance"]
        self.rng.setstate((version, tuple(state), gauss))
        for population, row in zip(self.populations, kept["populations"], strict=True):
            population.born, population.reference = row["born"], self._member(row["reference"])
            population.members = [population.reference if each == 0 else self._member(each) for each in row["members"]]
