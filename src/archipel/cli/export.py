"""`archipel export`: what a run found, or one network, as ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from torch import Tensor, nn

from archipel.cli.network import architecture_for, input_shape, open_space, space_options, title_of
from archipel.cli.output import facts, give
from archipel.cli.overrides import Whole
from archipel.cli.trained import trained
from archipel.deploy import Exported, Model, export_forms, export_onnx, load
from archipel.deploy.export_forms import FORMS
from archipel.deploy.manifest import FILE
from archipel.deploy.quantised import Quantised, quantise
from archipel.deploy.stored import stored_images
from archipel.errors import OptionError, did_you_mean
from archipel.recipes import proxylessnas
from archipel.recipes.opening import open_task
from archipel.report.wording import percent
from archipel.run.console import Terminal
from archipel.run.folder import RunFolder

__all__ = ["export"]

_IMAGES = 64
_COMPARED = 1000
"""Of a run's own test images."""


def export(
    what: str,
    *,
    out: Path,
    form: str | None = None,
    model: str | None = None,
    target: str | None = None,
    int8: Annotated[bool, Parameter(negative=())] = False,
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
    """Export to ONNX, compared with PyTorch before a file is kept.

    Args:
        what: a run folder, a published network, a search space with --architecture or --random, or your own
            file.py:function. All but a run have random weights.
        out: the file to write, such as network.onnx; of --form frequent a new folder.
        form: of a run that decides by image ("archipel run", "search blockdrop", "search convnet_aig"): routed (the
            default: all of it, its decisions inside the graph), child (one network that always answers), frequent
            (those that answer most images, with common weights) or controller (what decides, alone). Of all others:
            child.
        model: of such a run, which of its families, such as early_exit or instanas; what it reports first if not given.
        target: of such a run, the point to export: milliseconds an image, or a name such as C.
        int8: write a second file, quantised to 8 bits, and how accurate both are (--form child of such a run).
        network: which network: of a search such as proxylessnas-cpu-1-0 (KIND-DEVICE-BUDGET-SEED), the one found for
            the middle budget if not given; of --form child such as "exit 2", the most frequent one if not given.
        architecture: a JSON file with the value of every choice.
        random: a random architecture with this seed.
        data: shape the network for this data set.
        size: shape the network for images of this side in pixels.
        width: width multiplier.
        option: further options of the network's function, such as --option.classes 100.
        seed: of the random weights; of a run that decides by image, which of its seeds.
        json: print what was written as JSON.
    """
    if not out.absolute().parent.is_dir():
        raise OptionError(f"the folder of {out} does not exist; make it first")
    if out.is_dir() and form != "frequent":
        raise OptionError(f"{out} is a folder; name a file with --out")
    if form is not None and form not in FORMS:
        raise OptionError(f"--form is '{form}'; give one of {', '.join(FORMS)}{did_you_mean(form, FORMS)}")
    is_run = Path(what).is_dir()
    if is_run and any(value is not None for value in (architecture, random, data, size, width, option)):
        raise OptionError(
            f"'{what}' is a run, exported as it was trained; it takes no option that shapes a network: leave out "
            "--architecture, --random, --data, --size, --width and --option"
        )
    if is_run and _holds_families(Path(what)):
        found = load(what, model, seed if seed else None)
        _of_model(Path(what), found, form or _usual(found), out, target, network, int8, json)
        return
    given = {"--form": form if form != "child" else None, "--model": model, "--target": target, "--int8": int8 or None}
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name} is for a run of 'archipel run', which holds several networks; '{what}' is exported as one"
            )
    progress = Terminal(quiet=True)
    if is_run:
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
    done = export_onnx(module, out, input_shape=shape, images=images, metadata=metadata)
    give(done.to_json() | {"network": title}, json, lambda: _show(title, shape, [done], metadata["trained"]))


def _holds_families(run: Path) -> bool:
    """Whether what the run found decides by image; other runs' networks stand alone, and have names."""
    if not any((run / part / FILE).is_file() for part in (".", "instances")):
        return False
    return RunFolder.open(run, write=False).config.get("recipe") not in ("train", proxylessnas.COMMAND)


def _usual(model: Model) -> str:
    return "child" if model.family.form == "static" else "routed"


def _of_model(
    run: Path, model: Model, form: str, out: Path, target: str | None, network: str | None, int8: bool, json: bool
) -> None:
    """What `archipel run` found, in one of its forms."""
    if form != "child" and (network is not None or int8):
        raise OptionError(f"{'--network' if network is not None else '--int8'} is for --form child; leave it out")
    try:
        point = model.at(float(target) if target is not None else None)
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        point = model.at(target)
    pixels, labels, _ = stored_images(run, model.inputs, _COMPARED)
    shape, smaller = model.manifest.input_shape, None
    if form == "frequent":
        done = export_forms.export_frequent(model, out, pixels, point)
    elif form == "child":
        done = [export_forms.export_child(model, out, pixels, point, network)]
        if int8:
            smaller = quantise(out, out.with_suffix(".int8.onnx"), model.inputs.normalise(pixels), labels)
    else:
        write = export_forms.export_routed if form == "routed" else export_forms.export_controller
        done = [write(model, out, pixels, point)]
    title = f"{model.kind}, {form}"
    content: dict[str, Any] = {"model": model.kind, "form": form, "files": [one.to_json() for one in done]}
    content |= {"int8": smaller.to_json()} if smaller else {}
    give(content, json, lambda: _show(title, shape, done, True, smaller))


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


def _show(
    title: str,
    shape: tuple[int, int, int],
    done: Sequence[Exported],
    trained: bool,
    smaller: Quantised | None = None,
) -> None:
    for one in done:
        rows: list[tuple[str, object]] = [
            ("input", f"images, batch × {' × '.join(map(str, shape))}"),
            ("weights", "trained" if trained else "random; train the network first to use it"),
            ("size", f"{one.bytes / 1e6:.1f} MB, {one.nodes} operations"),
            (
                "differs from PyTorch",
                f"{one.largest_difference:.1e} at most, where outputs spread by {one.spread:.1e} ({one.images} images)",
            ),
            ("same answers", percent(one.same_answers)),
            ("same decisions", None if one.same_decisions is None else percent(one.same_decisions)),
        ]
        if one.ms is not None:
            rows.append(("one image, one thread", f"{one.ms:.3g} ms in ONNX Runtime, {one.pytorch_ms:.3g} in PyTorch"))
        if smaller is not None:
            told = f"{smaller.path}, {smaller.bytes / 1e6:.1f} MB, {smaller.ms:.3g} ms an image"
            right = f"{percent(smaller.accuracy)} of {smaller.images} test images right"
            rows += [("8 bits", told), ("8 bits, accuracy", f"{right}, {percent(smaller.full_accuracy)} before")]
        facts(f"{title}: {one.path}", rows)
