"""`archipel search trials`: any strategy on any space, every network trained on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.cli.recipe_command import command
from archipel.recipes import trials
from archipel.report.frontier import short_name
from archipel.report.run_folder import interval, point
from archipel.report.theme import kind
from archipel.report.wording import count, duration, percent, spread
from archipel.run.console import table

__all__ = ["search_trials", "show_trials"]


def show_trials(result: Mapping[str, Any]) -> None:
    """Print the networks that were trained again, what each search tried and spent, and alarms."""
    columns = ["network", "validation\naccuracy %", "test\naccuracy %", "table ms\nan image", "MAdds", "parameters"]
    title = f"{result['title']} ({duration(result['seconds'])})"
    table(title, columns, [_row(row) for row in result["points"]])
    rows = [
        [
            str(one["seed"]), str(len(one["trials"])), str(one["given_up"]), str(one["failed"]),
            f"{one['epochs']:.0f}", percent(one["saved"]), f"{one['best']:.1f}",
        ]
        for one in result["searches"]
    ]  # fmt: skip
    heads = [
        "seed", "trials", "given up", "failed", "epochs", "epochs\nsaved", "best trial's\nvalidation\naccuracy %",
    ]  # fmt: skip
    print()
    table(f"Searches by {result['strategy']}", heads, rows)
    print(result["awareness"]["sentence"])
    for network in result["networks"]:
        if network["kind"] == result["method"]:
            print(f"{network['name']}: {network['folder']} (architecture.json, weights.safetensors)")
    for alarm in result["alarms"]:
        print(f"! {alarm['kind']}: {alarm['text']}")


def _row(row: Mapping[str, Any]) -> list[str | None]:
    each = point(row)
    madds, ms = interval(row["madds"]), interval(row["table_ms"])
    return [
        f"{kind(each.kind).label} {short_name(each)}",
        spread(each["val_accuracy"], scale=100),
        spread(each["accuracy"], scale=100),
        None if ms is None else f"{ms.mean:.3g}",
        None if madds is None else count(madds.mean),
        None if each.parameters is None else count(each.parameters),
    ]


search_trials = command(
    trials,
    "Search by trials: a strategy chooses, every network is trained from scratch, its accuracy is told. "
    "The trials are an Optuna study in the run folder, shared by --jobs.workers; what was found is trained again "
    "beside a random architecture.",
    show=show_trials,
)
