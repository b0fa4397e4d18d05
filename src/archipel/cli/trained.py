"""A trained network of a run, whichever command made the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from archipel.architecture import Architecture
from archipel.cli.network import title_of
from archipel.cli.output import quoted
from archipel.cli.train import Training
from archipel.cost import Device
from archipel.errors import OptionError, RunError, did_you_mean
from archipel.progress import Progress
from archipel.recipes import proxylessnas, trials
from archipel.recipes.job import held
from archipel.recipes.opening import open_task
from archipel.recipes.proxylessnas.finished import finished
from archipel.recipes.study import open_space
from archipel.recipes.train import trained_network
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import resolve
from archipel.tasks import Classification

__all__ = ["Trained", "trained"]


@dataclass(frozen=True)
class Trained:
    """One trained network, with the task it was trained on."""

    title: str
    network: nn.Module
    """On the CPU, in evaluation mode."""
    space: Space
    architecture: Architecture
    task: Classification
    device: Device
    """Where it was trained, or the CPU."""


def trained(path: Path, name: str | None, progress: Progress) -> Trained:
    """A trained network of a run.

    Args:
        name: which, of a run that holds several.

    Raises:
        RunError: the folder is no run, of another kind, or has not trained it yet.
        OptionError: it has none of that name, or one has to be named.
    """
    folder = RunFolder.open(path, write=False)
    recipe = folder.config.get("recipe")
    if recipe == trials.COMMAND:
        return trained(_of_trials(path, name), None, progress)
    if recipe == "train":
        if name is not None:
            raise OptionError(f"{path} holds one network; leave --network {name} out")
        request = Training.of(folder)
        task, device, space = request.open(progress)
        architecture = Architecture.from_json(request.architecture or {})
        network = trained_network(folder, space, architecture)
        return Trained(title_of(request.network, space), network, space, architecture, task, device)
    if recipe != proxylessnas.COMMAND:
        raise RunError(
            f"{path} holds no network that stands alone, as 'archipel train', 'archipel search proxylessnas' and "
            f"'archipel search trials' leave them; see 'archipel show {quoted(path)}'"
        )
    asked, settings = held(proxylessnas, folder)
    task = open_task(
        asked.data,
        images=asked.images,
        test_images=asked.test_images,
        size=asked.size,
        seed=asked.seed,
        progress=progress,
    )
    found = finished(folder, task, open_space(task, resolve(asked.space), settings.network), name)
    device = Device.parse("cpu", asked.threads)
    return Trained(found.name, found.network, found.space, found.architecture, task, device)


def _of_trials(path: Path, name: str | None) -> Path:
    """The training of a network that a search by trials found; without a name the first seed's best, of a front the
    most accurate."""
    known = sorted(each.parent.name for each in (path / "networks").glob("*/metrics.json"))
    if not known:
        raise RunError(
            f"{path} has trained no network yet; continue it with 'archipel {trials.COMMAND} --resume {path}'"
        )
    if name is not None and name not in known:
        raise OptionError(f"{path} has no network '{name}' ({', '.join(known)}){did_you_mean(name, known)}")
    return path / "networks" / (name or known[0])
