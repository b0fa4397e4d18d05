"""`archipel evolve`: a space of cells, evolved on your images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.cli.recipe_command import command
from archipel.recipes import autospace
from archipel.report.wording import count, duration
from archipel.run.console import table

__all__ = ["evolve", "show_spaces"]


def show_spaces(result: Mapping[str, Any]) -> None:
    """Print what each block of each space can be, then what its networks cost and where the file is."""
    for space in result["spaces"]:
        rows = [
            [
                f"b{place}" if i == 0 else "",
                f"{cell['cell']}{' (reference)' if cell['reference'] else ''}",
                None if cell["fitness"] is None else f"{cell['fitness']:+.3f}",
                str(cell["visits"]),
                count(cell["madds"]),
            ]
            for place, cells in enumerate(space["blocks"], 1)
            for i, cell in enumerate(cells)
        ]
        title = f"{result['title']}, seed {space['seed']} ({duration(result['seconds'])})"
        table(title, ["block", "cell", "fitness", "times judged", "MAdds"], rows)
        madds = space["madds"]
        print(
            f"A network of kept cells: {count(madds['evolved'])} multiply-adds in the mean; of random ones "
            f"{count(madds['random'])}; of the reference {count(madds['reference'])}."
        )
        print(f"{len(space['history'])} iterations. The space: {space['evolved']}; a random one: {space['random']}.")
    for alarm in result["alarms"]:
        print(f"! {alarm['kind']}: {alarm['text']}")


evolve = command(
    autospace,
    "Evolve the search space itself: for every block a list of cells, small graphs of operators. "
    "Populations of cells evolve side by side, judged by gradient beside MobileNetV2's block; the best of each are a "
    "space for --space of the other commands.",
    show=show_spaces,
)
