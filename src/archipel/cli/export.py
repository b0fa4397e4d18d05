"""`archipel export`: one network as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from torch import Tensor, nn

from archipel.cli.network import architecture_for, input_shape, open_space, space_options, title_of
from archipel.cli.output import facts, give
from archipel.cli.overrides import Whole
from archipel.cli.trained import trained
from archipel.deploy import Exported, export_onnx
from archipel.errors import OptionError
from archipel.recipes.job import open_task
from archipel.report.wording import percent
from archipel.run.console import Terminal

__all__ = ["export"]

_IMAGES = 64


def export(
    what: str,
    *,
    out: Path,
    network: str | None = None,
    architecture: Path | None = None,
    random: Whole | None = None,
    data: str | None = None,
    size: Whole | None = None,
    width: float | None = None,
    option: dict[str, str] | None = None,
    seed: Whole = 0,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
) -> None:
    """Export one network to ONNX, compared with PyTorch before the file is kept.

    Args:
        what: a run folder that "archipel train" or "archipel search proxylessnas" made (a trained network of it), a
            published network, a search space with --architecture or --random, or your own file.py:function. All but a
            run have random weights.
        out: the file to write, such as network.onnx.
        network: of a search, which of its networks, such as proxylessnas-cpu-1-0 (KIND-DEVICE-BUDGET-SEED); the one
            found for the middle budget if not given.
        architecture: a JSON file with the value of every choice.
        random: a random architecture with this seed.
        data: shape the network for this data set.
        size: shape the network for images of this side in pixels.
        width: width multiplier.
        option: further options of the network's function, such as --option.classes 100.
        seed: of the random weights.
        json: print what was written as JSON.
    """
    if not out.absolute().parent.is_dir():
        raise OptionError(f"the folder of {out} does not exist; make it first")
    progress = Terminal(quiet=True)
    if Path(what).is_dir():
        if any(value is not None for value in (architecture, random, data, size, width, option)):
            raise OptionError(
                f"'{what}' is a run, exported as it was trained; it takes no option but --network, --out and --json"
            )
        title, module, shape, images, metadata = _of_run(Path(what), network, progress)
    elif network is not None:
        raise OptionError(f"--network {network} names one of a run's networks, and '{what}' is no run; leave it out")
    else:
        task = open_task(data, size=size, progress=progress) if data is not None else None
        space = open_space(what, space_options(option, width=width), task=task, size=size)
        chosen = architecture_for(what, space, architecture, random)
        if chosen is None:
            raise OptionError(
                f"'{what}' is a space of many networks; choose one by --architecture FILE or --random SEED"
            )
        torch.manual_seed(seed)
        title, module, images = title_of(what, space), space.build(chosen), []
        shape = task.spec.input_shape if task else input_shape(space)
        metadata = {"network": title, "architecture": chosen.to_json(), "options": space.options, "trained": False}
    found = export_onnx(module, out, input_shape=shape, images=images, metadata=metadata)
    give(found.to_json() | {"network": title}, json, lambda: _show(title, shape, found, metadata["trained"]))


def _of_run(
    path: Path, name: str | None, progress: Terminal
) -> tuple[str, nn.Module, tuple[int, int, int], list[Tensor], dict[str, Any]]:
    """Title, trained network, input shape, validation images and metadata of a run's network."""
    found = trained(path, name, progress)
    task = found.task
    metadata = {
        "network": found.title,
        "architecture": found.architecture.to_json(),
        "options": found.space.options,
        "trained": True,
        "classes": list(task.spec.classes),
        "mean": task.mean.tolist(),  # of pixels from 0 to 255, each channel
        "std": task.std.tolist(),
    }
    images = next(iter(task.loader("val", _IMAGES))).inputs
    return found.title, found.network, task.spec.input_shape, [images], metadata


def _show(title: str, shape: tuple[int, int, int], found: Exported, trained: bool) -> None:
    against = f"{found.largest_difference:.1e} at most, where outputs spread by {found.spread:.1e}"
    facts(
        f"{title}: {found.path}",
        [
            ("input", f"images, batch × {' × '.join(map(str, shape))}"),
            ("weights", "trained" if trained else "random; train the network first to use it"),
            ("size", f"{found.bytes / 1e6:.1f} MB, {found.nodes} operations"),
            ("differs from PyTorch", f"{against} ({found.images} images)"),
            ("same answers", percent(found.same_answers)),
        ],
    )
