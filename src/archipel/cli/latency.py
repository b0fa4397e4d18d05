"""`archipel latency build|check|show`: tables of what every part of a space costs on this device."""

# Annotations are real objects here, because one is made from the settings of a table.

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from archipel import cost
from archipel.cli.network import input_shape, open_space, space_options
from archipel.cli.output import facts, give, quoted
from archipel.cli.overrides import Whole, given, overriding
from archipel.cost import Device, Fidelity, LatencyTable, TableSettings
from archipel.errors import OptionError
from archipel.recipes.opening import here, open_task, stored
from archipel.report.wording import plain
from archipel.run.atomic import storage_error
from archipel.run.config import merge
from archipel.run.console import Terminal, table
from archipel.spaces import SPACES

__all__ = ["build", "check", "show"]

_SETTINGS = TableSettings()
_OVERRIDES = overriding(_SETTINGS)
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def build(
    *,
    space: str = "instanas",
    data: str | None = None,
    size: Whole | None = None,
    width: float | None = None,
    option: dict[str, str] | None = None,
    batch: Whole = 1,
    device: str = "cpu",
    threads: Whole | None = None,
    seed: Whole = 0,
    out: Path | None = None,
    quiet: Flag = False,
    json: Flag = False,
    settings: Annotated[_OVERRIDES, Parameter(name="*")] = _OVERRIDES(),  # type: ignore[valid-type]  # noqa: B008
) -> None:
    """Measure the latency table of a search space on this device.

    Args:
        space: a search space or your own function, file.py:function.
        data: shape the space for this data set.
        size: shape the space for images of this side in pixels.
        width: width multiplier.
        option: further options of the space's function, such as --option.macro cifar.
        batch: images in one forward pass.
        device: cpu, cuda:0, cuda-graphs:0, compile, onnxruntime or your own file.py:function.
        threads: CPU threads; measured and chosen when not given.
        seed: draws the networks that are measured.
        out: the table's file; SPACE-DEVICE-bBATCH.json if not given.
        quiet: show alarms and the result only.
        json: print the table's fidelity as JSON.
        settings: of the measurement.
    """
    progress = Terminal(quiet=quiet)
    if batch < 1:
        raise OptionError(f"--batch is {batch}; give at least 1")
    chosen = merge(_SETTINGS, given(settings), source="the command line")
    task = open_task(data, size=size, seed=seed, progress=progress) if data is not None else None
    what = open_space(space, space_options(option, width=width), task=task, size=size)
    where = here(device, threads, progress)
    file = out or Path(f"{what.name}-{_short(where.name)}-b{batch}.json")
    if file.exists():
        raise OptionError(f"{file} exists; name another file with --out, or delete it")
    if not file.absolute().parent.is_dir():
        raise OptionError(f"the folder of {file} does not exist; make it first")
    made = cost.build(
        what,
        where,
        input_shape=task.spec.input_shape if task else input_shape(what),
        batch=batch,
        settings=chosen,
        seed=seed,
        progress=progress,
    )
    try:
        made.save(file)
    except OSError as error:
        raise storage_error(file, error) from error

    def person() -> None:
        print(made.fidelity.sentence())
        print(f"Table: {file}")

    give({"table": str(file), "fidelity": made.fidelity.to_json()}, json, person)


def _short(device: str) -> str:
    """`cuda:0` as `cuda0`, `path/to/phone.py:milliseconds` as `phone-milliseconds`."""
    return Path(device).name.replace(".py:", "-").replace(":", "")


def check(
    file: Path,
    *,
    space: str | None = None,
    data: str | None = None,
    children: Whole = 30,
    drawn: Literal["uniform", "spread"] = "uniform",
    rounds: Whole = 100,
    seed: Whole = 1,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Measure fresh random networks and compare them with what a table predicts.

    Args:
        file: the table.
        space: where the table is of your own space: its file.py:function.
        data: where that space has no parameter for the classes: the data set it was made for.
        children: how many networks.
        drawn: uniform over the space, or spread over the latencies it reaches.
        rounds: timed passes of each; fewer where they would take longer than a minute.
        seed: draws the networks.
        quiet: show alarms and the result only.
        json: print error, rank correlation and interval coverage as JSON.
    """
    if children < 2:
        raise OptionError(f"--children is {children}; give at least 2, two can be ordered")
    if rounds < 1:
        raise OptionError(f"--rounds is {rounds}; give at least 1")
    progress = Terminal(quiet=quiet)
    content = stored(file)
    name, options = content["space"]["name"], content["space"]["options"]
    if space is None and name not in SPACES:
        raise OptionError(f"{file} is of the space '{name}', which is yours; name it with --space FILE.py:{name}")
    task = open_task(data, progress=progress) if data is not None else None
    fingerprint = content["device"]["fingerprint"]
    where = Device.parse(content["device"]["name"], fingerprint.get("threads"))
    what = open_space(space or name, options, task=task)
    found = cost.check(
        LatencyTable.load(file, space=what, device=where),
        where,
        networks=children,
        drawn=drawn,
        rounds=rounds,
        seed=seed,
        progress=progress,
    )
    give({"table": str(file), **found.to_json()}, json, lambda: print(found.sentence()))


def show(file: Path, *, json: Flag = False) -> None:
    """Show what a latency table holds: its device, its fidelity and its dearest entries.

    Args:
        file: the table.
        json: print the whole table as JSON.
    """
    content = stored(file)
    give(content, json, lambda: _show(file, content))


def _show(file: Path, content: dict[str, Any]) -> None:
    device = content["device"]["fingerprint"]
    controller = content.get("controller_ms")
    facts(
        f"{file}",
        [
            ("space", content["space"]["name"]),
            ("options", ", ".join(f"{name} {value}" for name, value in content["space"]["options"].items()) or None),
            ("device", ", ".join(str(value) for value in device.values())),
            ("input", "×".join(map(str, content["input_shape"]))),
            ("batch", content["batch"]),
            ("measured", content["date"]),
            ("entries", len(content["units"])),
            ("fixed part", f"{plain(content['base']['ms'])} ms"),
            ("controller", None if controller is None else f"{plain(controller)} ms"),
            ("check it", f"archipel latency check {quoted(file)}"),
        ],
    )
    print(Fidelity.from_json(content["fidelity"]).sentence())
    print()
    dearest = sorted(content["units"].items(), key=lambda item: -item[1]["ms"])
    rows = [[key, plain(unit["ms"]), plain(unit["spread"])] for key, unit in dearest[:20]]
    more = f" (the 20 dearest of {len(dearest)})" if len(dearest) > 20 else ""
    table(f"Entries{more}", ["entry", "ms", "±"], rows)
