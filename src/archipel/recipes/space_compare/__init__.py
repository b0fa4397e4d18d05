"""Which of several spaces is the better one to search in (Radosavovic et al., ICCV 2019, arXiv 1905.13214).

Random networks of each space are trained alike, and the distributions of their errors are compared: as they are, and as
if every space offered networks of the same cost. What is not searched for cannot be overfitted: errors are those of the
validation split.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.cost.complexity import madds, parameters
from archipel.cost.device import Device
from archipel.cost.whole import Candidate, measure_networks
from archipel.errors import OptionError
from archipel.evolve.quality import Sample
from archipel.progress import SILENT, Progress
from archipel.recipes.result import about, origin
from archipel.recipes.space_compare.judging import compared
from archipel.recipes.space_compare.settings import Settings
from archipel.recipes.space_compare.tables import is_table, read_architectures, read_table, write_table
from archipel.run.folder import RunFolder
from archipel.run.jobs import Job, run_jobs
from archipel.sharing import evaluate, train
from archipel.sharing.training import seed_of
from archipel.space import Space
from archipel.tasks.classification import Classification

__all__ = ["Settings", "compare_spaces", "is_table", "read_architectures", "read_table"]

_TRIES = 500
"""Networks drawn in a row of which none is cheap enough and new, before no more are looked for."""


def compare_spaces(
    folder: RunFolder,
    task: Classification,
    device: Device,
    entries: Sequence[tuple[str, Space | Sample]],
    settings: Settings,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Draw, train and judge samples of spaces and write the run folder; a run that was stopped goes on.

    Writes `samples-NAME.csv` for every space, which a later comparison takes in place of the space.

    Args:
        entries: (name, space to draw from, or a sample whose networks were trained elsewhere); names differ.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: fewer than two entries, or a space whose networks are all dearer than the settings allow.
    """
    if len(entries) < 2:
        raise OptionError("one space alone cannot be compared; name two or more")
    begin = time.monotonic()
    study = _Study(folder, task, device, {n: e for n, e in entries if isinstance(e, Space)}, settings, seed, progress)
    jobs = study.jobs()
    if jobs:
        with device.use():
            run_jobs(
                jobs, workers=settings.jobs.side_by_side(device), progress=progress, title="training",
                total=float(len(jobs)),
            )  # fmt: skip
    key = {"madds": "madds", "parameters": "parameters", "latency": "ms"}[settings.judging.cost]
    timed = study.timed() if key == "ms" else {}
    samples, rows = [], []
    for name, entry in entries:
        if isinstance(entry, Sample):
            samples.append(entry)
            rows.append({"name": name, "trained_here": False, "size": None, "networks": None})
            continue
        found = [study.trained(name, i) for i in range(study.count(name))]
        found = [{**row, "ms": timed[name][i]} for i, row in enumerate(found)] if timed else found
        folder.write_csv(f"samples-{_word(name)}.csv", *write_table(found))
        errors, costs = (np.array([row[figure] for row in found], dtype=np.float64) for figure in ("error", key))
        samples.append(Sample(name, errors, costs))
        rows.append({"name": name, "trained_here": True, "size": str(entry.size), "networks": found})
    result = origin(folder, "Comparison of spaces", time.monotonic() - begin, threads=device.threads)
    if study.spaces:
        result |= {
            "title": f"Spaces compared on {task.spec.name}",
            "task": about(task),
            "device": {"name": device.name, "threads": device.threads},
            "stages": [{"name": "training", "seconds": sum(study.seconds())}],
        }
    told = compared(samples, settings.judging, seed=seed)
    spaces = [{**row, **judged} for row, judged in zip(rows, told.pop("spaces"), strict=True)]
    result |= {"method": "space_compare", "points": [], "alarms": [], "spaces": spaces, **told}
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return content


@dataclass
class _Study:
    folder: RunFolder
    task: Classification
    device: Device
    spaces: dict[str, Space]
    settings: Settings
    seed: int
    progress: Progress

    def jobs(self) -> list[Job]:
        """One a network that is not trained yet; spaces take turns, so that an early stop leaves something of each."""
        for name in self.spaces:
            self.drawn(name)
        most = max(map(self.count, self.spaces), default=0)
        return [
            Job(f"{name}, network {i}", partial(self._train, name, i))
            for i in range(most)
            for name in self.spaces
            if i < self.count(name) and self.folder.stage_done(_stage(name, i)) is None
        ]

    def count(self, name: str) -> int:
        return len(self.drawn(name)["networks"])

    def trained(self, name: str, i: int) -> dict[str, Any]:
        done = self.folder.stage_done(_stage(name, i))
        assert done is not None, name
        return {**self.drawn(name)["networks"][i], **done}

    def seconds(self) -> list[float]:
        return [self.trained(name, i)["seconds"] for name in self.spaces for i in range(self.count(name))]

    def timed(self) -> dict[str, list[float]]:
        """Milliseconds of every network, one image at a time, by turns in one session."""
        done = self.folder.stage_done("timing")
        if done is None and self.spaces:
            shape = self.task.spec.input_shape
            keys = [(name, i) for name in self.spaces for i in range(self.count(name))]
            candidates = {f"{name}, network {i}": Candidate(self.network(name, i), shape) for name, i in keys}
            rounds = self.settings.judging.rounds
            timings = measure_networks(
                candidates, self.device, rounds=rounds, seed=seed_of(self.seed, "timing"), progress=self.progress
            )
            ms = {name: [timings[f"{name}, network {i}"].ms for i in range(self.count(name))] for name in self.spaces}
            done = self.folder.mark_done("timing", {"ms": ms})
        return {} if done is None else done["ms"]

    def network(self, name: str, i: int) -> nn.Module:
        """With fresh weights."""
        torch.manual_seed(seed_of(self.seed, "weights", i))
        return self.spaces[name].build(Architecture.from_json(self.drawn(name)["networks"][i]["architecture"]))

    def drawn(self, name: str) -> dict[str, Any]:
        """Architectures of the sample with what they cost."""
        stage = f"drawn-{_word(name)}"
        return self.folder.stage_done(stage) or self.folder.mark_done(stage, {"networks": self._draw(name)})

    def _draw(self, name: str) -> list[dict[str, Any]]:
        own, space = self.settings.sampling, self.spaces[name]
        rng = random.Random(seed_of(self.seed, "sample", name))
        found: dict[Architecture, dict[str, Any]] = {}
        missed = 0
        while len(found) < min(own.networks, space.size) and missed < _TRIES:
            missed += 1
            architecture = space.sample(rng)
            if architecture in found:
                continue
            network = space.build(architecture)
            cost = madds(network, self.task.spec.input_shape)
            if own.most_madds is None or cost <= own.most_madds:
                row = {"architecture": architecture.to_json(), "madds": cost, "parameters": parameters(network)}
                found[architecture], missed = row, 0
        if len(found) < 2:
            raise OptionError(
                f"of {_TRIES} random networks of '{name}' fewer than two have at most {own.most_madds or 0:,.0f} "
                "multiply-adds; raise sampling.most_madds"
            )
        return list(found.values())

    def _train(self, name: str, i: int, progress: Progress) -> None:
        begin, stage = time.perf_counter(), _stage(name, i)
        network = self.network(name, i).to(self.device.torch_device)
        checkpoint = self.folder.checkpoint(stage)
        history = train(
            network,
            self.task,
            self.settings.training,
            title=f"{name}, network {i}",
            seed=seed_of(self.seed, "training", i),
            device=self.device.torch_device,
            checkpoint=checkpoint,
            progress=progress,
        )
        score = evaluate(network, self.task, "val", device=self.device.torch_device).score
        loss = history[-1]["loss"] if history else None
        seconds = time.perf_counter() - begin
        self.folder.mark_done(stage, {"accuracy": score, "error": 1 - score, "loss": loss, "seconds": seconds})
        checkpoint.path.unlink(missing_ok=True)


def _stage(name: str, i: int) -> str:
    return f"network-{_word(name)}-{i}"


def _word(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
