"""`archipel search blockdrop` and `archipel search convnet_aig`: networks that leave out blocks image by image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.cli.frontier import show_result
from archipel.cli.recipe_command import command
from archipel.recipes import blockdrop, convnet_aig
from archipel.report.run_folder import interval
from archipel.report.tables import difference
from archipel.report.wording import spread
from archipel.run.console import table

__all__ = ["search_blockdrop", "search_convnet_aig", "show_skipping"]


def show_skipping(result: Mapping[str, Any]) -> None:
    """Print the frontier, then what each variant's choice of blocks was worth, and how gates may be read."""
    show_result(result)
    points = {(row["kind"], row["name"]): row for row in result["points"]}
    blocks = len(result["space"]["choices"])
    rows = [
        [
            row["name"],
            spread(interval(points[result["method"], row["name"]].get("kept"))),
            spread(interval(row["accuracy"]), scale=100),
            spread(interval(row["shuffled"]), scale=100),
            *(difference(interval(row[key])) for key in ("difference", "static_difference", "random_difference")),
        ]
        for row in result["awareness"]["rows"]
    ]
    columns = [
        "variant", f"blocks kept\nof {blocks}", "own\naccuracy %", "shuffled\naccuracy %", "own −\nshuffled",
        "own −\nstatic", "own −\nrandom",
    ]  # fmt: skip
    print()
    table("What choosing blocks by the image was worth (points of test accuracy)", columns, rows)
    for row in result["points"]:
        if row.get("note"):
            print(f"{row['name']}: {row['note']}")


search_blockdrop = command(
    blockdrop,
    "Learn which blocks of a residual network each image can do without. "
    "Trains the network, then a policy network by policy gradient, then both together, and compares with static and "
    "random networks of equal cost and with the whole network.",
    show=show_skipping,
)

search_convnet_aig = command(
    convnet_aig,
    "Train a network whose every block has a gate that decides whether to run it. "
    "Trains network and gates together for each target rate, and compares with static and random networks of equal "
    "cost and with the whole network.",
    show=show_skipping,
)
