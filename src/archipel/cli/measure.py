"""`archipel latency measure`: whole networks, timed side by side on this device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.network import architecture_for, input_shape, open_space, space_options, title_of
from archipel.cli.output import give
from archipel.cli.overrides import Whole
from archipel.cost import Candidate, madds, measure_networks, parameters
from archipel.errors import OptionError
from archipel.recipes.opening import here
from archipel.report.wording import count, plain
from archipel.run.console import Terminal, table

__all__ = ["measure"]

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def measure(
    *networks: str,
    space: str | None = None,
    architecture: Path | None = None,
    random: Whole | None = None,
    size: Whole | None = None,
    width: float | None = None,
    option: dict[str, str] | None = None,
    batch: Whole = 1,
    device: str = "cpu",
    threads: Whole | None = None,
    rounds: Whole = 50,
    seed: Whole = 0,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Time whole networks by turns in one session, as they would be deployed.

    Args:
        networks: published networks such as mobilenet_v2 or proxyless_cpu, and your own file.py:function.
        space: with --architecture or --random: a network of this space too.
        architecture: a JSON file with the value of every choice.
        random: a random architecture with this seed.
        size: shape all of them for images of this side in pixels.
        width: width multiplier of all.
        option: further options of the networks' functions, such as --option.classes 100.
        batch: images in one forward pass.
        device: cpu, cuda:0, cuda-graphs:0, compile, onnxruntime or your own file.py:function.
        threads: CPU threads; measured and chosen when not given.
        rounds: timed passes of each network.
        seed: draws weights, inputs and the order of measuring.
        quiet: show alarms and the result only.
        json: print the result with all samples as JSON.
    """
    for name, value in (("batch", batch), ("rounds", rounds)):
        if value < 1:
            raise OptionError(f"--{name} is {value}; give at least 1")
    if space is None and (architecture is not None or random is not None):
        raise OptionError("--architecture and --random are of a space; name it with --space")
    names = [*networks, *([space] if space is not None else [])]
    if not names:
        raise OptionError("there is nothing to time; name networks, such as mobilenet_v2, or a --space")
    candidates: dict[str, Candidate] = {}
    for i, name in enumerate(names):
        what = open_space(name, space_options(option, width=width), size=size)
        of_space = i == len(networks)
        chosen = architecture_for(name, what, architecture if of_space else None, random if of_space else None)
        if chosen is None:
            raise OptionError(
                f"'{name}' is a space of many networks; give it as --space with --architecture FILE or --random SEED"
            )
        title = title_of(name, what)
        if title in candidates:
            raise OptionError(f"two networks are called '{title}'; time each name once")
        candidates[title] = Candidate(what.build(chosen), input_shape(what))
    progress = Terminal(quiet=quiet)
    where = here(device, threads, progress)
    timings = measure_networks(candidates, where, batch=batch, rounds=rounds, seed=seed, progress=progress)
    rows: list[dict[str, Any]] = [
        {
            "network": name,
            "ms": timings[name].ms / batch,
            "median_ms": timings[name].median / batch,
            "high_ms": timings[name].high / batch,
            "input_shape": list(candidate.input_shape),
            "parameters": parameters(candidate.network),
            "madds": madds(candidate.network, candidate.input_shape),
            "samples": [ms / batch for ms in timings[name].samples],
        }
        for name, candidate in candidates.items()
    ]
    content = {
        "device": {"name": where.name, "fingerprint": where.fingerprint()},
        "batch": batch,
        "rounds": rounds,
        "unit": "milliseconds an image",
        "networks": rows,
    }

    def person() -> None:
        print(f"Milliseconds an image on {where.describe()}, batch {batch}, {rounds} rounds by turns")
        columns = ["network", "ms", "median", "upper decile", "images", "parameters", "MAdds"]
        cells = [
            [
                row["network"],
                *(plain(row[key], 4) for key in ("ms", "median_ms", "high_ms")),
                "×".join(map(str, row["input_shape"])),
                count(row["parameters"]),
                count(row["madds"]),
            ]
            for row in rows
        ]
        table("", columns, cells)

    give(content, json, person)
