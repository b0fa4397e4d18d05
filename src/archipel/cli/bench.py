"""`archipel bench`: which strategy finds how much, on benchmarks whose truth is known."""

# Annotations are real objects here, because one is made from the recipe's settings.

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.cli.output import command_line, give, quoted
from archipel.cli.overrides import Whole, given, overriding
from archipel.cli.resuming import resumed
from archipel.errors import ArchipelError, OptionError, RunError
from archipel.recipes.bench import DEFAULT, TWO, Settings, bench, problems
from archipel.report import write as write_report
from archipel.run.atomic import StorageError
from archipel.run.config import from_dict, merge, to_dict
from archipel.run.console import Terminal, table
from archipel.run.folder import RunFolder

__all__ = ["Bench", "run_bench", "show_bench"]

_SETTINGS = Settings()
_OVERRIDES = overriding(_SETTINGS)
_AGAIN = "archipel bench --resume"


@dataclass(frozen=True)
class Bench:
    """What a comparison is asked to do; its `config.yaml`."""

    benchmark: str
    data: str
    recipe: str = "bench"
    strategies: tuple[str, ...] = DEFAULT
    images: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    seeds: int = 20
    seed: int = 0
    settings: Settings = _SETTINGS

    @classmethod
    def of(cls, folder: RunFolder) -> "Bench":
        """Read back from a run folder.

        Raises:
            RunError: the folder is another kind of run.
        """
        if folder.config.get("recipe") != cls.recipe:
            raise RunError(f"{folder.path} compares no strategies; see 'archipel show {quoted(folder.path)}'")
        return from_dict(cls, folder.config, source=str(folder.path / "config.yaml"))


def run_bench(
    benchmark: str | None = None,
    *,
    data: Path | None = None,
    strategy: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    images: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    devices: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    seeds: Whole | None = None,
    seed: Whole | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    quiet: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    settings: Annotated[_OVERRIDES, Parameter(name="*")] = _OVERRIDES(),  # type: ignore[valid-type]  # noqa: B008
) -> None:
    """Compare search strategies on a benchmark whose every network was trained by its authors.

    Every strategy's searches on an image set are kept when they are done: a stopped comparison goes on with --resume.

    Args:
        benchmark: nasbench201, nasbench_macro or nasbench_graph.
        data: the folder of the benchmark's file.
        strategy: names (see "archipel methods"), with settings behind them, such as
            regularised_evolution,population=20; a sampler of Optuna, optuna:TPESampler; or a predictor in the loop,
            predictor:ridge. Seven if none are given, random search among them, which the others have to beat; three
            with --devices.
        images: image sets of NAS-Bench-201, cifar10, cifar100 and imagenet16, or data sets of NAS-Bench-Graph, such as
            cora; all if none are given.
        devices: search for accuracy and for low cost at once: measured latency or energy of CIFAR-10's networks, such
            as pixel3_ms, raspi4_ms or eyeriss_energy_mj; one comparison each.
        seeds: searches of each strategy on each image set, 20 if not given.
        seed: what all chance comes from, 0 if not given.
        out: the run folder; runs/DATE-TIME-bench-N if not given.
        resume: continue this run folder with its own settings.
        quiet: show alarms and the result only.
        json: print the result as JSON.
        settings: of the comparison.
    """
    asked: dict[str, Any] = {
        "benchmark": benchmark,
        "data": None if data is None else str(data.expanduser().resolve()),
        "strategies": tuple(strategy or ()) or (TWO if devices else None),
        "images": tuple(images or ()) or None,
        "devices": tuple(devices or ()) or None,
        "seeds": seeds,
        "seed": seed,
        "settings": given(settings) or None,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    progress = Terminal(quiet=quiet)
    with ExitStack() as stack:
        if resume is not None:
            folder, request = stack.enter_context(resumed(resume, Bench.of, asked, out=out))
        else:
            if benchmark is None or data is None:
                raise OptionError("which benchmark, and where? Such as 'archipel bench nasbench201 --data FOLDER'")
            chosen = merge(_SETTINGS, asked.pop("settings", {}), source="the command line")
            request = replace(from_dict(Bench, asked, source="the command line"), settings=chosen)
        found = problems(
            request.benchmark, Path(request.data), request.images, request.settings, devices=request.devices
        )
        if resume is None:
            folder = stack.enter_context(RunFolder.create(out, to_dict(request), command_line(), task="bench"))
        try:
            result = bench(
                folder, found, request.strategies, request.settings, seeds=request.seeds, seed=request.seed,
                progress=progress,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; continue with '{_AGAIN} {quoted(folder.path)}'") from None
        except StorageError as error:
            raise StorageError(f"{error}; then continue with '{_AGAIN} {quoted(folder.path)}'") from error
        except ArchipelError:
            if not folder.stages:
                folder.discard()
            raise
        if not json:
            show_bench(result)
        page = write_report(folder.path)
        give(result | {"run": str(folder.path), "report": str(page)}, json, lambda: print(f"Report: {page}"))


def show_bench(result: Mapping[str, Any]) -> None:
    """Print what every strategy found on each image set, then the mean ranks, and alarms."""
    for one in result["sets"]:
        rows = [
            [
                row["strategy"],
                _interval(row["final"]),
                None if row["spread"] is None else f"{row['spread']:.2f}",
                None if (difference := row.get("difference")) is None else _interval(difference, sign=True),
                None if (less := row.get("behind")) is None else _interval(less, sign=True),
                None if row.get("p") is None else f"{row['p']:.2g}",
                None if row.get("gap") is None else f"{100 * row['gap']:.0f}",
                f"{row['trials']['mean']:.0f}",
            ]
            for row in sorted(one["strategies"], key=lambda row: -row["final"]["mean"])
        ]
        head = [
            "strategy", f"{_measure(one)} %\n[95 %]", "std", f"over {result['control']}\n[95 %]",
            f"behind {result['leader']}\n[95 %]", "p", "gap\nclosed %", "trials",
        ]  # fmt: skip
        most = f"optimum {one['optimum']:.2f} %" if one["cost"] is None else "of the table's own front"
        table(f"{one['name']}, {most}, {_budget(one)}", head, rows)
        for reported in one["published"]:
            sure = "" if reported["trust"] == "read" else ", recalled, not checked"
            figures = f"{reported['test']:.2f} ± {reported['spread']:.2f}"
            print(f"  published: {reported['method']} {figures} ({reported['source']}{sure})")
        print()
    ranks = sorted(result["ranks"], key=lambda one: one["rank"]["mean"])
    several = "image sets" if any(one["cost"] is None for one in result["sets"]) else "devices"
    title = f"Mean rank over {several} and seeds"
    table(title, ["strategy", "rank [95 %]"], [[one["strategy"], _interval(one["rank"])] for one in ranks])
    for alarm in result["alarms"]:
        print(f"! {alarm['kind']}: {alarm['text']}")


def _measure(one: Mapping[str, Any]) -> str:
    return "test accuracy" if one["cost"] is None else "hypervolume"


def _budget(one: Mapping[str, Any]) -> str:
    if one["axis"] == "seconds":
        return f"{one['budget']['seconds']:,.0f} simulated seconds a search"
    return f"{one['budget']['trials']} architectures a search"


def _interval(value: Mapping[str, float], *, sign: bool = False) -> str:
    mean, low, high = (f"{value[key]:{'+' if sign else ''}.2f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
