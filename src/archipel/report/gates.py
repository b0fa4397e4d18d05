"""What the gates came to prefer, layer by layer, and the networks that were read off them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from archipel.report.heat import Cell, HeatTable
from archipel.report.run_folder import RunFolder
from archipel.report.search_run import Derived, Search, Target
from archipel.report.wording import count, listed, percent, plain, plural, ranges

__all__ = ["Block", "Networks", "SeedGates", "gates"]

GAPS = frozenset({"zero", "skip", "none", "identity"})
"""Options that compute nothing: drawn as the line that goes on."""
COLOURS = 8
_SIZE = re.compile(r"k(\d+).*?e(\d+)")


@dataclass(frozen=True)
class Block:
    """One layer of a drawn network. Sizes are shares of the largest, 0 to 1."""

    text: str
    colour: str
    """The palette's name of its option's colour."""
    width: float = 1.0
    height: float = 1.0
    gap: bool = False


@dataclass(frozen=True)
class Networks:
    """Networks side by side: a row a layer, a column a network, None where a layer is not active."""

    caption: str
    head: list[str]
    rows: list[tuple[str, list[Block | None]]]
    figures: list[tuple[str, list[str]]]
    sentence: str


@dataclass(frozen=True)
class SeedGates:
    """One search: its probabilities, and what was derived from them."""

    name: str
    map: HeatTable | None
    networks: Networks | None


def gates(run: RunFolder, found: Sequence[Target]) -> list[SeedGates] | str:
    """Every search that kept its probabilities or networks, or the sentence why none is shown."""
    choices = {
        str(choice["name"]): [str(option) for option in choice.get("options") or []]
        for choice in run.part("space").get("choices") or []
        if isinstance(choice, Mapping) and choice.get("name") is not None
    }
    made = []
    for target in found:
        for search in target.searches:
            name = f"{target.label}, seed {search.seed}"
            mapped = _map(name, search, choices, target.unit)
            networks = _networks(name, search, choices, target.unit)
            if mapped or networks:
                made.append(SeedGates(name, mapped, networks))
    if made:
        return made
    if any(search.probabilities for target in found for search in target.searches):
        return "The run did not record the options of its choices as its gates have them, so they cannot be named."
    return "The run kept neither gates nor derived networks."


def _map(name: str, search: Search, choices: Mapping[str, Sequence[str]], unit: str) -> HeatTable | None:
    fitting = {
        choice: dict(zip(choices[choice], values.tolist(), strict=True))
        for choice, values in search.probabilities.items()
        if len(choices.get(choice, ())) == len(values)
    }
    if not fitting:
        return None
    options = list(dict.fromkeys(option for choice in fitting for option in choices[choice]))
    rows: list[tuple[str, str, list[Cell]]] = []
    for choice, shares in fitting.items():
        takers: dict[str, list[int]] = {}
        for number, each in enumerate(search.derived, 1):
            takers.setdefault(each.architecture.get(choice, ""), []).append(number)
        rows.append((choice, "", [_cell(shares.get(option), takers.get(option, [])) for option in options]))
    sentence = ""
    if search.derived:
        budgets = (f"{number} for {_within(each, unit)}" for number, each in enumerate(search.derived, 1))
        sentence = f"Framed: what the derived networks take, by the number of their budget ({listed(budgets)})."
    if len(fitting) < len(search.probabilities):
        unknown = len(search.probabilities) - len(fitting)
        sentence += f" Left out: {plural(unknown, 'choice')} whose options the recorded space does not have."
    return HeatTable(f"Probability of each option, %: {name}", ["layer", *options], rows, sentence.strip())


def _cell(share: float | None, takers: Sequence[int]) -> Cell:
    if share is None:
        return Cell("")
    return Cell(f"{100 * share:.0f}", min(max(share, 0.0), 1.0), ranges(list(takers)), marked=bool(takers))


def _networks(name: str, search: Search, choices: Mapping[str, Sequence[str]], unit: str) -> Networks | None:
    if not search.derived:
        return None
    layers = [choice for choice in choices if any(choice in each.architecture for each in search.derived)]
    layers += dict.fromkeys(c for each in search.derived for c in each.architecture if c not in choices)
    options = list(dict.fromkeys(option for known in choices.values() for option in known))
    options += dict.fromkeys(o for each in search.derived for o in each.architecture.values() if o not in options)
    blocks = _blocks(options)
    rows = [(layer, [blocks.get(each.architecture.get(layer, "")) for each in search.derived]) for layer in layers]
    sized = any(block.width < 1 or block.height < 1 for block in blocks.values())
    told = ["From the image at the top to the classes at the bottom."]
    if sized:
        told.append("A block is as wide as its expansion and as high as its kernel.")
    if any(block and block.gap for _, line in rows for block in line):
        told.append("A bare line is a layer that was left out.")
    if any((each.candidates or 0) > 1 for each in search.derived):
        told.append("Of the candidates within a budget, the most accurate with the weights of the search was taken.")
    head = [f"{number}: {_within(each, unit)}" for number, each in enumerate(search.derived, 1)]
    return Networks(f"Derived networks: {name}", ["layer", *head], rows, _figures(search.derived, unit), " ".join(told))


def _within(network: Derived, unit: str) -> str:
    return f"≤\u202f{plain(network.budget)}\u202f{unit}"


def _blocks(options: Sequence[str]) -> dict[str, Block]:
    """The look of every option. Sizes are read off names such as `k3e6`, if all but the gaps are named that way."""
    sizes = {option: match.groups() for option in options if (match := _SIZE.search(option))}
    sized = {option for option in options if option not in GAPS} == set(sizes) != set()
    kernels = {option: int(kernel) for option, (kernel, _) in sizes.items()}
    expansions = {option: int(expansion) for option, (_, expansion) in sizes.items()}
    made = {}
    for i, option in enumerate(options):
        look = {}
        if sized and option in sizes:
            look = {
                "width": expansions[option] / max(expansions.values()),
                "height": kernels[option] / max(kernels.values()),
            }
        made[option] = Block(option, f"o{i % COLOURS}", gap=option in GAPS, **look)
    return made


def _figures(derived: Sequence[Derived], unit: str) -> list[tuple[str, list[str]]]:
    """What is known of the networks: by the table, and with the weights of the search."""

    def row(text: Callable[[float], str], values: Iterable[float | None]) -> list[str]:
        return ["–" if value is None else text(value) for value in values]

    rows = [
        ("table, ms" if unit == "ms" else unit, row(plain, (d.cost for d in derived))),
        ("interval", ["–".join(map(plain, d.interval or ())) or "–" for d in derived] if unit == "ms" else []),
        ("log-probability", row(plain, (d.log_probability for d in derived))),
        ("candidates", row(count, (d.candidates for d in derived))),
        ("inherited accuracy", row(percent, (d.inherited_accuracy for d in derived))),
    ]
    return [(name, cells) for name, cells in rows if any(cell != "–" for cell in cells)]
