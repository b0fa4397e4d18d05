"""A space is evolved, searched for the device, and what was found is the meta-graph of an instance-aware search.

AutoSpace → ProxylessNAS → InstaNAS. Each is a run of its own in a folder of the pipeline's, with its own report:
`space`, `network`, `instances`; what hands one over to the next is a file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from archipel.errors import ArchipelError, OptionError, RunError, did_you_mean
from archipel.evolve.editors import Likely
from archipel.progress import SILENT, Progress
from archipel.recipes import autospace, instanas, job, proxylessnas
from archipel.recipes.result import origin
from archipel.report import write as write_report
from archipel.run.atomic import StorageError
from archipel.run.folder import RunFolder
from archipel.space import Space, SpaceFunction
from archipel.spaces import definition

__all__ = ["COMMAND", "PARTS", "Asked", "go_on", "run", "start"]

COMMAND = "run --evolve"
PARTS = ("space", "network", "instances")
"""Folders inside the pipeline's, in the order in which they are made."""

FEWEST = 12
"""Architectures of the space that is handed on: twice what a latency table needs at the very least."""
_SHARED = ("data", "threads", "seed", "images", "test_images", "size")
"""What all three are asked alike."""


@dataclass(frozen=True)
class Asked:
    """What a pipeline is asked to do; its `config.yaml` holds it."""

    request: Mapping[str, Any] = field(default_factory=dict)
    """Fields of InstaNAS' request that were given."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """InstaNAS' settings that were given."""
    evolving: Mapping[str, Any] = field(default_factory=dict)
    """AutoSpace's settings that were given."""
    searching: Mapping[str, Any] = field(default_factory=dict)
    """ProxylessNAS' settings that were given."""
    keep: int = 3
    """Options of each block that the meta-graph gets, besides those of derived networks."""

    def __post_init__(self) -> None:
        for name in ("space", "table"):
            if self.request.get(name) is not None:
                raise OptionError(f"--evolve makes the space itself, and a table of it; leave out --{name}")
        if self.keep < 1:
            raise OptionError(f"keep is {self.keep}; give 1 or more options of each block")
        # The first two parts take minutes: a mistake in what the last is asked is told before them.
        job.check(autospace, self.evolution, self.evolving)
        job.check(proxylessnas, self.search, self.searching)
        job.check(instanas, self.request, self.settings)

    @property
    def evolution(self) -> dict[str, Any]:
        """What AutoSpace is asked."""
        return {name: self.request[name] for name in (*_SHARED, "device") if self.request.get(name) is not None}

    @property
    def search(self) -> dict[str, Any]:
        """What ProxylessNAS is asked, but for the space."""
        device = self.request.get("device")
        shared = {name: self.request[name] for name in _SHARED if self.request.get(name) is not None}
        return {**shared, **({} if device is None else {"device": (device,)}), "seeds": 1}

    def to_config(self) -> dict[str, Any]:
        """As `archipel run` has it, with `evolving`, `searching` and `keep`; as `--config` it repeats the pipeline."""
        own = {name: value for name in _OWN if (value := getattr(self, name)) not in ({}, Asked.keep)}
        return {"recipe": COMMAND, **self.request, **self.settings, **own}

    @classmethod
    def of(cls, document: Mapping[str, Any], *, source: str = "settings") -> Asked:
        """From what `to_config` gives, or the part of it that was asked.

        Raises:
            OptionError: an unknown key, or a value of the wrong type.
        """
        request = {each.name for each in fields(instanas.Request)}
        settings = {each.name for each in fields(instanas.Settings)}
        for key in document:
            if key not in request | settings | {*_OWN, "archipel", "recipe"}:
                raise OptionError(f"unknown key '{key}' in {source}{did_you_mean(key, request | settings | {*_OWN})}")
        return cls(
            request={key: value for key, value in document.items() if key in request},
            settings={key: value for key, value in document.items() if key in settings},
            **{key: value for key, value in document.items() if key in _OWN},
        )


_OWN = ("evolving", "searching", "keep")


def start(asked: Asked, *, out: Path | None, command: str, progress: Progress = SILENT) -> job.Done:
    """Make a new run folder and the pipeline in it.

    Args:
        out: the run folder; None for a new one in `runs`.

    Raises:
        ArchipelError: a mistake in what was asked; no folder is left.
    """
    with RunFolder.create(out, asked.to_config(), command, task="pipeline") as folder:
        try:
            return run(folder, asked, command=command, progress=progress)
        except ArchipelError:
            if not any((folder.path / part).exists() for part in PARTS):
                folder.discard()  # a mistake in what was asked: nothing was made that would be worth keeping
            raise


def go_on(resume: Path, *, command: str, progress: Progress = SILENT) -> job.Done:
    """Continue a pipeline with its own settings.

    Raises:
        RunError: the folder is another kind of run.
    """
    with RunFolder.open(resume) as folder:
        if folder.config.get("recipe") != COMMAND:
            raise RunError(f"{resume} is no run of 'archipel {COMMAND}'; leave out --evolve")
        asked = Asked.of(folder.config, source=str(folder.path / "config.yaml"))
        return run(folder, asked, command=command, progress=progress)


def run(folder: RunFolder, asked: Asked, *, command: str, progress: Progress = SILENT) -> job.Done:
    """Do what is still to be done and write `result.json` and the page; a pipeline that was stopped goes on.

    Raises:
        ArchipelError: a mistake in what was asked.
    """
    try:
        parts = _parts(folder, asked, command, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; continue with '{_again(folder)}'") from None
    except StorageError as error:
        raise StorageError(f"{error}; then continue with '{_again(folder)}'") from error
    last = parts[-1].result
    seconds = sum(done.result["seconds"] for done in parts)
    result = origin(folder, f"Evolved, searched, and per image: {last['task']['name']}", seconds, threads=None) | {
        "method": "pipeline",
        "environment": last["environment"],
        "task": last["task"],
        "device": last["device"],
        "space": last["space"],
        "points": last["points"],
        "awareness": last.get("awareness"),
        "alarms": [
            {**alarm, "stage": f"{name}: {alarm.get('stage', '')}".strip(": ")}
            for name, done in zip(PARTS, parts)
            for alarm in done.result.get("alarms") or []
        ],
        "stages": [{"name": name, "seconds": done.result["seconds"]} for name, done in zip(PARTS, parts)],
        "parts": [
            {"name": name, "title": done.result["title"], "seconds": done.result["seconds"], **_told(name, done.result)}
            for name, done in zip(PARTS, parts)
        ],
    }
    folder.write_json("result.json", result)
    content: dict[str, Any] = folder.read_json("result.json")
    return job.Done(folder.path, content, write_report(folder.path))


def _again(folder: RunFolder) -> str:
    return f"archipel {COMMAND} --resume {shlex.quote(str(folder.path))}"


def _parts(folder: RunFolder, asked: Asked, command: str, progress: Progress) -> list[job.Done]:
    space = _part(folder, "space", autospace, asked.evolution, asked.evolving, command, progress)
    evolved = str(folder.path / "space" / "evolved-0.json")
    searching = {**asked.search, "space": evolved}
    network = _part(folder, "network", proxylessnas, searching, asked.searching, command, progress)
    found = folder.path / "found.json"
    if not found.is_file():
        folder.write_json("found.json", _found(evolved, network.result, asked.keep))
    last = {**asked.request, "space": str(found)}
    return [space, network, _part(folder, "instances", instanas, last, asked.settings, command, progress)]


def _part(
    folder: RunFolder,
    name: str,
    recipe: Any,
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
    command: str,
    progress: Progress,
) -> job.Done:
    """A run in a folder of its own, begun or gone on with."""
    path = folder.path / name
    progress.say(f"{name}: archipel {recipe.COMMAND}")
    if (path / "config.yaml").is_file():
        return job.go_on(recipe, path, {}, {}, command=command, progress=progress)
    return job.start(recipe, asked, options, out=path, command=command, progress=progress)


def _found(evolved: str, result: Mapping[str, Any], keep: int) -> dict[str, Any]:
    """Of the evolved space what the search found: the likeliest options of every block, and those of its networks; more
    of them than asked for where so few would not make a space that a latency table can be measured of."""
    options = {choice["name"]: choice["options"] for choice in result["space"]["choices"]}
    searches: Sequence[Mapping[str, Any]] = result["searches"]
    likely = {
        name: dict(zip(options[name], map(sum, zip(*(s["probabilities"][name] for s in searches))), strict=True))
        for name in options
    }
    networks = [row["architecture"] for search in searches for row in search["derived"]]

    def opened(function: SpaceFunction) -> Space:
        return Space(function, **result["space"]["options"])

    most = max(map(len, options.values()))
    while True:
        found = Likely(likely, tuple(networks), keep)(definition(evolved), opened)
        if keep >= most or opened(found.function).size >= FEWEST:
            return found.to_json()
        keep += 1


def _told(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a part."""
    if name == "space":
        return {"blocks": result["spaces"][0]["blocks"], "madds": result["madds"], "file": "space/evolved-0.json"}
    if name == "network":
        return {"points": [p for p in result["points"] if p["kind"] == "proxylessnas"], "file": "found.json"}
    return {"size": result["space"]["size"], "choices": result["space"]["choices"]}
