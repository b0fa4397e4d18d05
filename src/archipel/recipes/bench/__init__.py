"""Strategies on benchmarks whose truth is known: which finds how much, how soon, and is it more than random search?

Every search sees what its benchmark lets it see and is judged by the test accuracy of the architecture that looked best
to it, or, where it looks for high accuracy at low cost, by the hypervolume of those that did. All of one strategy's
seeds on one image set are one piece of work, kept when it is done, and of a long one what is done: a stopped comparison
goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from archipel.errors import OptionError, did_you_mean
from archipel.evaluators import (
    BENCHMARKS,
    Objective,
    Tabular,
    nasbench201,
    nasbench_graph,
    nasbench_macro,
    scores_of,
)
from archipel.evaluators.tabular import GRAPHS, IMAGES
from archipel.progress import SILENT, Progress
from archipel.recipes.bench.fronts import Domination
from archipel.recipes.bench.judging import CONTROL, anytime, behind, judged, mean_ranks
from archipel.recipes.bench.published import PUBLISHED
from archipel.recipes.bench.settings import DEFAULT, SECONDS, TWO, Settings
from archipel.recipes.result import figure, origin
from archipel.run.folder import RunFolder
from archipel.run.jobs import Job, run_jobs
from archipel.sharing.training import seed_of
from archipel.strategies import strategy
from archipel.trials import Budget, Step, search

__all__ = ["DEFAULT", "TWO", "Problem", "Settings", "bench", "problems"]

_POINTS = 100
"""Of a curve."""

_KEEP = 10.0
"""Seconds after which the searches of an unfinished piece are kept."""


@dataclass(frozen=True)
class Problem:
    """One table to search in, and what a search may spend there."""

    name: str
    table: Tabular
    budget: Budget

    @property
    def axis(self) -> str:
        """What the curves run over."""
        return "seconds" if self.budget.seconds is not None else "trials"

    @property
    def grid(self) -> np.ndarray:
        end = self.budget.seconds or float(self.budget.trials or 0)
        return np.linspace(end / _POINTS, end, _POINTS)

    @cached_property
    def domination(self) -> Domination | None:
        """How two objectives are judged."""
        return Domination(self.table) if len(self.table.objectives) == 2 else None

    @property
    def optimum(self) -> float:
        """The most that a search can come to."""
        return 100.0 if self.domination else self.table.best(self.table.judged)


def problems(
    benchmark: str, data: Path, images: Sequence[str], settings: Settings, *, devices: Sequence[str] = ()
) -> list[Problem]:
    """The tables of a benchmark, opened.

    Args:
        devices: one problem of two objectives each, accuracy and that device's latency or energy.

    Raises:
        OptionError: no such benchmark or image set, or a protocol or devices that the benchmark does not have.
        DataError: its files are not there.
        TableError: no such device.
    """
    limits = settings.limits
    if benchmark not in BENCHMARKS:
        raise OptionError(
            f"there is no benchmark '{benchmark}' ({', '.join(BENCHMARKS)}){did_you_mean(benchmark, BENCHMARKS)}"
        )
    if benchmark == "nasbench_macro":
        if images:
            raise OptionError("NAS-Bench-Macro has one image set, CIFAR-10; leave out --images")
        if devices:
            raise OptionError("NAS-Bench-Macro has no figures of devices; leave out --devices")
        return [Problem("cifar10", nasbench_macro(data), Budget(trials=limits.trials))]
    if benchmark == "nasbench_graph":
        if devices:
            raise OptionError("NAS-Bench-Graph has no figures of devices; leave out --devices")
        graphs = [nasbench_graph(data, name) for name in images or GRAPHS]
        if limits.oracle:
            graphs = [replace(table, objectives=(Objective(table.judged),)) for table in graphs]
        return [Problem(name, table, Budget(trials=limits.trials)) for name, table in zip(images or GRAPHS, graphs)]
    if devices and set(images) - {"cifar10"}:
        raise OptionError("figures of devices are of NAS-Bench-201's CIFAR-10 networks; give --images cifar10, or none")
    found = []
    for name in images or (("cifar10",) if devices else tuple(IMAGES)):
        if name not in IMAGES:
            raise OptionError(
                f"NAS-Bench-201 has no image set '{name}' ({', '.join(IMAGES)}){did_you_mean(name, IMAGES)}"
            )
        published = limits.protocol == "published"
        budget = (
            Budget(seconds=limits.seconds or SECONDS[name], repeats=True) if published else Budget(trials=limits.trials)
        )
        for device in devices or (None,):
            table = nasbench201(data, name, epochs=12 if published else 200, devices=(device,) if device else ())
            if limits.oracle:
                table = replace(table, objectives=(Objective(table.judged), *table.objectives[1:]))
            found.append(Problem(f"{name}-{device}" if device else name, table, budget))
    return found


def bench(
    folder: RunFolder,
    found: Sequence[Problem],
    strategies: Sequence[str],
    settings: Settings,
    *,
    seeds: int,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run every strategy on every problem with every seed and write the run folder; a run that was stopped goes on.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: a strategy that is none, or is named twice, or fewer than one seed.
    """
    if seeds < 1:
        raise OptionError(f"seeds is {seeds}; give 1 or more")
    for spec in strategies:
        if list(strategies).count(spec) > 1:
            raise OptionError(f"strategy '{spec}' is named twice; name it once")
        strategy(spec, found[0].table.space, objectives=len(found[0].table.objectives))  # a mistake ends it here
    begin = time.monotonic()
    jobs = [
        Job(f"{spec} on {problem.name}", partial(_work, folder, problem, spec, seeds, seed))
        for problem in found
        for spec in strategies
        if folder.stage_done(_stage(problem, spec)) is None
    ]
    if jobs:
        run_jobs(jobs, workers=settings.jobs.workers, progress=progress, title="searches", total=float(len(jobs)))
    sets = [_judged(folder, problem, strategies) for problem in found]
    finals = [{row["strategy"]: row["final"]["values"] for row in one["strategies"]} for one in sets]
    ranks = mean_ranks(finals)
    leader = min(ranks, key=lambda name: ranks[name]["mean"])
    for one, values in zip(sets, finals):
        less = behind(values, leader)
        for row in one["strategies"]:
            row["behind"] = less.get(row["strategy"])
    result = origin(
        folder, f"Strategies on {found[0].table.name.partition('-')[0]}", time.monotonic() - begin, threads=1
    )
    result |= {
        "method": "bench", "points": [], "alarms": [each for one in sets for each in _alarms(one, seeds)],
        "seeds": seeds, "control": CONTROL, "leader": leader,
        "sets": sets,
        "ranks": [{"strategy": name, "rank": rank} for name, rank in ranks.items()],
    }  # fmt: skip
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return content


def _stage(problem: Problem, spec: str) -> str:
    """A name for files: no sign that a folder could not hold."""
    return "search-" + problem.name + "-" + "".join(c if c.isalnum() or c in "._=" else "-" for c in spec)


def _work(folder: RunFolder, problem: Problem, spec: str, seeds: int, seed: int, progress: Progress) -> None:
    stage, table = _stage(problem, spec), problem.table
    unfinished = folder.path / "unfinished" / f"{stage}.json"
    done: dict[str, Any] = {"runs": [], "cpu_seconds": 0.0}
    if unfinished.is_file():
        done = folder.read_json(f"unfinished/{stage}.json")
    runs, begin, kept = done["runs"], time.process_time() - done["cpu_seconds"], time.monotonic()
    with progress.bar(f"{spec} on {problem.name}", seeds) as bar:
        if runs:
            bar.advance(len(runs))
        for i in range(len(runs), seeds):
            runs.append(_searched(problem, spec, seed_of(seed, "bench", i)))
            bar.advance(**{table.judged: runs[-1]["final"]})
            if time.monotonic() - kept > _KEEP:
                folder.write_json(f"unfinished/{stage}.json", _spent(runs, begin))
                kept = time.monotonic()
    folder.mark_done(stage, _spent(runs, begin))
    unfinished.unlink(missing_ok=True)


def _spent(runs: list[dict[str, Any]], begin: float) -> dict[str, Any]:
    return {"runs": runs, "cpu_seconds": time.process_time() - begin}


def _searched(problem: Problem, spec: str, seed: int) -> dict[str, Any]:
    """One search: what its best looked like and truly is, along the way and at the end."""
    table = problem.table
    own = strategy(spec, table.space, objectives=len(table.objectives), seed=seed)
    went = search(own, table, problem.budget)
    costs = [step.seconds if problem.axis == "seconds" else float(step.trials) for step in went.steps]
    domination = problem.domination
    values, more = _values(table, went.steps) if domination is None else _shares(domination, went.steps)
    return {
        "final": values[-1], "trials": len(went.steps), "seconds": went.steps[-1].seconds, "ended": went.ended,
        "curve": anytime(costs, values, problem.grid), **more,
    }  # fmt: skip


def _values(table: Tabular, steps: Sequence[Step]) -> tuple[list[float], dict[str, Any]]:
    """After each step, the judged metric of the architecture that looked best so far."""
    best, held, values = -np.inf, float("nan"), []
    for step in steps:
        if step.trial.metrics is not None and (score := table.objectives[0].score(step.trial.metrics)) > best:
            best, held = score, step.trial.metrics[table.judged]
        values.append(held)
    return values, {"seen": best}


def _shares(domination: Domination, steps: Sequence[Step]) -> tuple[list[float], dict[str, Any]]:
    """After each step, the share of the hypervolume that what looked best so far dominates; and the last front."""
    table = domination.table
    seen: list[tuple[float, ...]] = []
    rows: list[int] = []
    shares, front = [], np.empty((0, 2))
    for step in steps:
        if step.trial.metrics is not None:
            seen.append(scores_of(step.trial.metrics, table.objectives))
            rows.append(table.row(step.trial.architecture))
            front = domination.front(np.array(seen), rows)
        shares.append(domination.share(front))
    return shares, {"front": front.tolist()}


def _judged(folder: RunFolder, problem: Problem, strategies: Sequence[str]) -> dict[str, Any]:
    table = problem.table
    runs: dict[str, list[dict[str, Any]]] = {}
    seconds: dict[str, float] = {}
    for spec in strategies:
        done = folder.stage_done(_stage(problem, spec))
        assert done is not None, spec
        runs[spec], seconds[spec] = done["runs"], done["cpu_seconds"]
    rows = judged({spec: [run["final"] for run in runs[spec]] for spec in strategies}, problem.optimum)
    domination = problem.domination
    return {
        "name": problem.name,
        "judged": "hypervolume" if domination else table.judged,
        "seen": table.objectives[0].metric,
        "cost": table.objectives[1].metric if domination else None,
        "front": domination.best.tolist() if domination else None,
        "corner": domination.corner.tolist() if domination else None,
        "axis": problem.axis,
        "budget": {
            "trials": problem.budget.trials,
            "seconds": problem.budget.seconds,
            "repeats": problem.budget.repeats,
        },
        "optimum": problem.optimum,
        "grid": problem.grid.tolist(),
        "strategies": [
            {
                "strategy": spec,
                **rows[spec],
                "trials": figure([run["trials"] for run in runs[spec]]),
                "stuck": sum(run["ended"] == "stuck" for run in runs[spec]),
                "cpu_seconds": seconds[spec],
                "curve": _band([run["curve"] for run in runs[spec]]),
                "front": sorted(runs[spec], key=lambda run: run["final"])[len(runs[spec]) // 2].get("front"),
            }
            for spec in strategies
        ],
        "published": [vars(row) for row in PUBLISHED if row.images == problem.name]
        if _is_201(table) and not domination
        else [],
    }


def _alarms(one: Mapping[str, Any], seeds: int) -> list[dict[str, Any]]:
    """Strategies that did not use up what they were given."""
    return [
        {
            "kind": "nothing new",
            "stage": f"{row['strategy']} on {one['name']}",
            "text": f"{row['strategy']} on {one['name']} proposed hardly anything but what it knew: {row['stuck']} of "
            f"{seeds} searches ended before their budget was spent, after {row['trials']['mean']:.0f} architectures "
            "on average",
        }
        for row in one["strategies"]
        if row["stuck"]
    ]


def _is_201(table: Tabular) -> bool:
    return table.name.startswith("nasbench201")


def _band(curves: Sequence[Sequence[float | None]]) -> Mapping[str, list[float | None]]:
    """Mean and 95 % t-interval at every point where all seeds have a value."""
    columns = [None if None in column else figure(column) for column in zip(*curves)]
    return {end: [None if c is None else c[end] for c in columns] for end in ("mean", "low", "high")}
