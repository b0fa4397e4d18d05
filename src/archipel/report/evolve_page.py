"""What the page of an evolved space shows: the cells of every block, and how they came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from archipel.errors import SpaceError
from archipel.report import cells, theme
from archipel.report.curves import Group, Line, Question, panels
from archipel.report.run_folder import RunFolder, interval, is_number
from archipel.report.wording import count, plural
from archipel.spaces.cell import Cell

__all__ = ["WATCHED", "context", "drawn_blocks"]

WATCHED = (
    ("worse than the reference", "no kept cell of any block being judged better than the reference cell of its block"),
)

_AXIS = ("iteration", "iteration")
_QUESTIONS = (
    Question(
        "Fitness",
        "mean fitness of the cells that would be kept",
        (Line("fitness", "kept", "accent"),),
        "How far α of the kept cells is above the reference’s, which is 0; from when on every block has enough cells "
        "that were judged often enough.",
        axis=_AXIS,
    ),
    Question(
        "Cost",
        "million multiply-adds, expected",
        (Line("madds_m", "mixture", "accent"), Line("budget_m", "budget", "soft", "--")),
        "Multiply-adds expected of the mixture at the end of each iteration, beside the budget where there is one.",
        axis=_AXIS,
    ),
    Question(
        "Loss",
        "loss",
        (Line("loss", "weights", "accent"), Line("alpha_loss", "α, with the penalty", "ink", "--")),
        "Mean of each iteration: of the weights on one split, of α with the penalty on another.",
        axis=_AXIS,
    ),
    Question(
        "Diversity",
        "genes",
        (Line("diversity", "populations", "accent"),),
        "Genes in which two members of a population differ, in the mean over all pairs and blocks.",
        axis=_AXIS,
    ),
)
_SIZES = ((1060.0, 300.0), (340.0, 300.0))


@dataclass(frozen=True)
class DrawnCell:
    """One cell on the page."""

    name: str
    picture: Markup
    facts: str
    reference: bool


@dataclass(frozen=True)
class Evolved:
    """One seed’s space."""

    name: str
    blocks: list[tuple[str, str, list[DrawnCell]]]
    """(name, remark, cells)."""
    populations: theme.Panel | None
    curves: list[theme.Panel]
    file: str


def context(run: RunFolder) -> dict[str, Any]:
    """What `evolve.html.j2` needs."""
    spaces = [_evolved(i, space) for i, space in enumerate(run.rows("spaces"))]
    told = run.part("madds")
    return {
        "template": "evolve.html.j2",
        "frontier": None,
        "fidelity": None,
        "points": None,
        "headline": _headline(run, told),
        "without_verdict": _verdict(run.rows("spaces")),
        "nav": [("cells", "Cells"), ("evolution", "Evolution")],
        "watched": WATCHED,
        "watched_when": "at the end of the evolution",
        "cell_legend": cells.LEGEND,
        "spaces": spaces,
        "groups": [Group(each.name, each.curves) for each in spaces if each.curves],
    }


def _headline(run: RunFolder, told: Mapping[str, Any]) -> list[str]:
    found = {kind: interval(told.get(kind)) for kind in ("evolved", "random", "reference")}
    costs = {kind: value.mean for kind, value in found.items() if value}
    sentences = []
    if rows := run.rows("spaces"):
        blocks = [block for block in rows[0].get("blocks") or [] if block]
        if blocks:
            lists = sorted({len(block) for block in blocks})
            each = str(lists[0]) if len(lists) == 1 else f"{lists[0]} to {lists[-1]}"
            sentences.append(f"{plural(len(rows), 'space')} of {plural(len(blocks), 'block')}, {each} cells each.")
    if len(costs) == 3:
        sentences.append(
            f"A network of kept cells costs {count(costs['evolved'])} multiply-adds in the mean, one of random cells "
            f"{count(costs['random'])}, that of reference cells {count(costs['reference'])}."
        )
    return sentences


def _verdict(spaces: Sequence[Mapping[str, Any]]) -> str:
    judged = [
        cell["fitness"]
        for space in spaces
        for block in space.get("blocks") or []
        for cell in block
        if not cell.get("reference") and is_number(cell.get("fitness"))
    ]
    if not judged:
        return "No cell was judged."
    better = sum(fitness > 0 for fitness in judged)
    return (
        f"Of {len(judged)} kept cells {better} were judged better than the reference cell of their block. What the "
        "space is worth beside the random one of the same size, a comparison of networks trained from each says "
        "(archipel space compare)."
    )


def _evolved(number: int, space: Mapping[str, Any]) -> Evolved:
    history = [row for row in space.get("history") or [] if isinstance(row, Mapping)]
    keys = dict.fromkeys(key for row in history for key in row)
    curves: dict[str, list[Any]] = {key: [row.get(key) for row in history] for key in keys}
    curves["madds_m"] = [v / 1e6 if is_number(v) else None for v in curves.get("madds", [])]
    begun = next((row["iteration"] for row in history if row.get("evolved")), None)
    if is_number(budget := space.get("budget_madds")):
        curves["budget_m"] = [budget / 1e6] * len(history)
    made = panels(
        [curves],
        _QUESTIONS,
        f"evolution-{number}",
        chosen={} if begun is None else {"re-scoring": float(begun)},
    )
    name = f"Seed {space.get('seed', number)}"
    return Evolved(name, drawn_blocks(space), _populations(number, space), made, str(space.get("evolved", "")))


def drawn_blocks(space: Mapping[str, Any]) -> list[tuple[str, str, list[DrawnCell]]]:
    """(name, remark, cells) of every block."""
    return [
        (f"b{place}", _remark(block), [_drawn(cell) for cell in block if isinstance(cell, Mapping)])
        for place, block in enumerate(space.get("blocks") or [], 1)
    ]


def _remark(block: Sequence[Mapping[str, Any]]) -> str:
    costs = [cell["madds"] for cell in block if is_number(cell.get("madds"))]
    return f"{count(min(costs))} to {count(max(costs))} multiply-adds" if costs else ""


def _drawn(cell: Mapping[str, Any]) -> DrawnCell:
    try:
        picture = cells.draw(Cell.from_matrix(cell.get("matrix")))
    except SpaceError:
        picture = Markup("")
    fitness, visits = cell.get("fitness"), cell.get("visits")
    told = [f"F {fitness:+.3f}".replace("-", "−")] if is_number(fitness) else []
    told += [f"judged {visits} ×"] if visits else []
    told += [count(cell["madds"])] if is_number(cell.get("madds")) else []
    return DrawnCell(str(cell.get("cell", "")), picture, " · ".join(told), bool(cell.get("reference")))


def _populations(number: int, space: Mapping[str, Any]) -> theme.Panel | None:
    """Fitness of every member at the end, block by block."""
    blocks = [
        [(m["fitness"], bool(m.get("kept"))) for m in members if is_number(m.get("fitness"))]
        for members in space.get("populations") or []
    ]
    if not any(blocks):
        return None
    sentence = (
        "Fitness of every cell of the last populations, one column a block: large dots are kept, 0 is the reference. "
        "Values of different blocks cannot be compared."
    )
    pictures = []
    for size in _SIZES:
        palette = theme.SENTINEL
        fig = theme.figure(*size)
        ax = theme.axes(fig, palette, left=46, right=14, top=26, bottom=40)
        for place, members in enumerate(blocks, 1):
            for kept, colour, side in ((False, "faint", 14.0), (True, "accent", 34.0)):
                values = np.array([fitness for fitness, is_kept in members if is_kept == kept])
                ax.scatter(np.full(len(values), place), values, s=side, color=palette[colour], linewidths=0, zorder=3)
        ax.axhline(0.0, color=palette["soft"], linewidth=1.0, linestyle="--", zorder=2)
        ax.set_xlim(0.4, len(blocks) + 0.6)
        step = max(1, len(blocks) // (7 if size[0] < 500 else 22))
        places = list(range(1, len(blocks) + 1, step))
        ax.set_xticks(places, [f"b{place}" for place in places])
        ax.set_title("fitness", loc="left", fontsize=11, color=palette["soft"], pad=8)
        pictures.append(
            theme.page_svg(fig, name=f"populations-{number}-{size[0]:.0f}", label=f"Populations: {sentence}")
        )
    return theme.Panel("Populations", pictures[0], sentence, pictures[1])
