"""From a run folder to a model that answers, without the data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from archipel.cost import Device
from archipel.cost.process import tune_process
from archipel.deploy.executors import WANTED, Wanted
from archipel.deploy.forms import FORMS, Loaded
from archipel.deploy.manifest import FILE, Family, Manifest, Point
from archipel.deploy.model import Model
from archipel.deploy.onnx_form import executors
from archipel.deploy.rebuilding import Rebuilding
from archipel.errors import OptionError, did_you_mean
from archipel.run.folder import RunFolder

__all__ = ["load", "model_names", "opened"]


def load(
    run: str | Path,
    model: str | None = None,
    seed: int | None = None,
    *,
    device: str | torch.device = "cpu",
    executor: Wanted = "torch",
) -> Model:
    """What a finished run found, ready to answer images. Needs the run folder alone.

        model = archipel.load("runs/20261122-digits-1")
        model.predict(["seven.png"])[0].label                # "7"
        model.predict(images, target_latency=0.2).labels     # as accurate as 0.2 ms an image allow

    Args:
        run: the folder that `archipel run`, `archipel train`, or `archipel search` of a method with networks of its own
            made.
        model: which of its families: `early_exit`, `instanas`, `mobilenet_v2`, `static_exit`, `static_child`,
            `child_cascade` …; with a point's name behind it, `early_exit-C` or `mobilenet_v2-0.5x`, that one where no
            latency is asked for. What the run reports first if not given: early exits, else InstaNAS, else a cascade.
        seed: which of the run's networks of that kind; the first if not given.
        device: where it computes, "cpu" or "cuda:0".
        executor: what runs batches: "torch"; "onnx", ONNX Runtime on as many threads as torch has now, several times as
            fast where images come one at a time, from files that the first call takes seconds to write into the run
            folder; "auto" measures both at a few batch sizes and takes the faster for each (`model.executors` says
            which), PyTorch where `archipel[export]` is not installed.

    Raises:
        RunError: the folder is no finished run, was made by an earlier version, or is damaged.
        OptionError: it has no such model or seed, or there is no such device.
        SpaceError: a space of the user's own is no more where it was.
    """
    if executor not in WANTED:
        mend = did_you_mean(executor, WANTED)
        raise OptionError(f"executor is '{executor}'; give one of {', '.join(WANTED)}{mend}")
    folder, manifest = opened(run)
    family, first = _chosen(folder, manifest.families, model, seed)
    place = _place(device)
    tune_process()
    form: Loaded = FORMS[family.form](family, Rebuilding(folder, manifest, place))
    made = Model(manifest, family, form, place, first)
    return made if executor == "torch" else made.run_by(executors(made, folder, executor))


def _place(device: str | torch.device) -> torch.device:
    if isinstance(device, torch.device):
        return device
    found = Device.parse(device, 1)
    if not found.backend.trains:
        raise OptionError(f"device '{device}' only times networks; give 'cpu' or 'cuda:0'")
    return found.torch_device


def opened(run: str | Path) -> tuple[RunFolder, Manifest]:
    """A finished run, and what it says of its networks. Raises `RunError` as of `load`."""
    path = Path(run).expanduser()
    if (path / "instances" / FILE).is_file():  # a run that first evolved a space: the last of its parts
        path /= "instances"
    folder = RunFolder.open(path, write=False)
    return folder, Manifest.read(folder)


def model_names(manifest: Manifest) -> list[str]:
    """All that `load` takes as `model`, families first."""
    kinds = list(dict.fromkeys(family.kind for family in manifest.families))
    points = {f"{family.kind}-{point.name}" for family in manifest.families for point in family.points if point.name}
    return kinds + sorted(points)


def _chosen(
    folder: RunFolder, families: Sequence[Family], model: str | None, seed: int | None
) -> tuple[Family, Point | None]:
    if not families:
        raise OptionError(f"{folder.path} kept no network that can be used")
    wanted = model or families[0].kind
    found = [(family, point) for family in families for point in _matching(family, wanted)]
    if not found:
        kinds = list(dict.fromkeys(family.kind for family in families))
        names = [*kinds, *(f"{family.kind}-{point.name}" for family in families for point in family.points)]
        raise OptionError(
            f"{folder.path} has no model '{wanted}' ({', '.join(kinds)}, or with a point such as "
            f"{families[0].kind}-{families[0].points[0].name}){did_you_mean(wanted, names)}"
        )
    seeds = [family.seed for family, _ in found]
    if seed is not None and seed not in seeds:
        raise OptionError(f"{folder.path} has {wanted} of the seeds {', '.join(map(str, seeds))}; seed {seed} is none")
    return found[0 if seed is None else seeds.index(seed)]


def _matching(family: Family, wanted: str) -> list[Point | None]:
    """What a name stands for in a family: the whole of it (None), one of its points, or nothing."""
    if family.kind == wanted:
        return [None]
    return [point for point in family.points if point.name is not None and f"{family.kind}-{point.name}" == wanted]
