"""`archipel train`: one network, published or of a search space, trained on your images."""

# Annotations are real objects here, because one is made from the optimisation's settings.

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from archipel.architecture import Architecture
from archipel.cli.network import architecture_for, open_space, space_options, title_of
from archipel.cli.output import command_line, facts, give, quoted
from archipel.cli.overrides import Whole, given, overriding
from archipel.cli.resuming import resumed
from archipel.cost.device import Device
from archipel.errors import OptionError, RunError
from archipel.progress import Progress
from archipel.recipes.opening import absolute_data, absolute_space, here, open_task
from archipel.recipes.train import leave_manifest, train_network
from archipel.report.wording import count, duration, percent
from archipel.run.atomic import StorageError
from archipel.run.config import from_dict, merge, to_dict
from archipel.run.console import Terminal
from archipel.run.folder import RunFolder
from archipel.sharing import Optimisation
from archipel.space import Space
from archipel.spaces import NETS, SPACES
from archipel.tasks import Classification

__all__ = ["Training", "resolvable", "train"]

_OPTIMISATION = Optimisation(epochs=30)
_OVERRIDES = overriding(_OPTIMISATION)


@dataclass(frozen=True)
class Training:
    """What a training run is asked to do; its `config.yaml`."""

    network: str
    recipe: str = "train"
    options: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] | None = None
    data: str = "digits"
    device: str = "cpu"
    threads: int | None = None
    seed: int = 0
    images: int | None = None
    test_images: int | None = None
    size: int | None = None
    optimisation: Optimisation = _OPTIMISATION

    @classmethod
    def of(cls, folder: RunFolder) -> "Training":
        """Read back from a run folder.

        Raises:
            RunError: the folder is another kind of run.
        """
        if folder.config.get("recipe") != "train":
            raise RunError(f"{folder.path} is no training of one network; see 'archipel show {quoted(folder.path)}'")
        return from_dict(cls, folder.config, source=str(folder.path / "config.yaml"))

    def open(self, progress: Progress) -> tuple[Classification, Device, Space]:
        """The task, the device and the space that the settings name."""
        device = Device.parse(self.device, self.threads).for_training()
        task = open_task(
            self.data,
            images=self.images,
            test_images=self.test_images,
            size=self.size,
            seed=self.seed,
            progress=progress,
        )
        return task, device, open_space(self.network, self.options, task=task)


def train(
    network: str | None = None,
    *,
    data: str | None = None,
    architecture: Path | None = None,
    random: Whole | None = None,
    width: float | None = None,
    option: dict[str, str] | None = None,
    device: str | None = None,
    threads: Whole | None = None,
    seed: Whole | None = None,
    images: Whole | None = None,
    test_images: Whole | None = None,
    size: Whole | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    quiet: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    settings: Annotated[_OVERRIDES, Parameter(name="*")] = _OVERRIDES(),  # type: ignore[valid-type]  # noqa: B008
) -> None:
    """Train one network from scratch; its weights and metrics stay in a run folder.

    Args:
        network: mobilenet_v2 or another published network (proxyless_cpu, _gpu, _mobile, _mobile_14, _cifar), a search
            space with --architecture or --random, or your own file.py:function.
        data: a folder of pictures or "digits", the default; as for "archipel run".
        architecture: a JSON file with the value of every choice.
        random: a random architecture with this seed.
        width: width multiplier of the network.
        option: further options of the network's function, such as --option.dropout 0.2.
        device: cpu, the default, or cuda:0.
        threads: CPU threads; measured and chosen when not given.
        seed: of the data splits and the weights, 0 if not given.
        images: use at most so many images for training and validation.
        test_images: use at most so many test images.
        size: side of the images in pixels; they are scaled to it.
        out: the run folder; runs/DATE-TIME-NETWORK-N if not given.
        resume: continue this run folder with its own settings.
        quiet: show alarms and the result only.
        json: print the metrics as JSON.
        settings: of the optimisation. What is not given is as a published network's authors trained it, where that
            is known (300 epochs in batches of 256), or the default shown.
    """
    asked: dict[str, Any] = {
        "network": absolute_space(network) if network is not None else None,
        "options": space_options(option, width=width) or None,
        "data": absolute_data(data) if data is not None else None,
        "device": device,
        "threads": threads,
        "seed": seed,
        "images": images,
        "test_images": test_images,
        "size": size,
        "optimisation": given(settings) or None,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    progress = Terminal(quiet=quiet)
    with ExitStack() as stack:
        if resume is not None:
            unwanted = {"out": out, "architecture": architecture, "random": random}
            folder, request = stack.enter_context(resumed(resume, Training.of, asked, **unwanted))
            task, where, space = request.open(progress)
            chosen = Architecture.from_json(request.architecture or {})
        else:
            if network is None:
                raise OptionError("which network? Name one, such as 'archipel train mobilenet_v2', or --resume a run")
            published = NETS[network].training if network in NETS else {}
            base = merge(_OPTIMISATION, published, source=f"the recipe of {network}")
            optimisation = merge(base, asked.pop("optimisation", {}), source="the command line")
            request = from_dict(Training, asked, source="the command line")
            task, where, space = request.open(progress)
            found = architecture_for(network, space, architecture, random)
            if found is None:
                raise OptionError(
                    f"'{network}' is a space of many networks; choose one by --architecture FILE or --random SEED"
                )
            chosen = found
            optimisation.check(where.torch_device)
            where = here(request.device, request.threads, progress, efficiency=0.5)  # alone on the machine
            request = dataclasses.replace(
                request,
                architecture=chosen.to_json(),
                device=where.name,
                threads=where.threads,
                optimisation=optimisation,
            )
            folder = RunFolder.create(out, to_dict(request), command_line(), task=title_of(network, space))
            stack.enter_context(folder)
        result = _finish(folder, task, where, space, chosen, request, progress)
    give(result | {"run": str(folder.path)}, json, lambda: _show(result, folder))


def _finish(
    folder: RunFolder,
    task: Classification,
    device: Device,
    space: Space,
    architecture: Architecture,
    request: Training,
    progress: Progress,
) -> dict[str, Any]:
    """Train or go on; however it ends early, say how to continue."""
    again = f"archipel train --resume {quoted(folder.path)}"
    try:
        result = train_network(
            folder,
            task,
            device,
            space,
            architecture,
            request.optimisation,
            name=title_of(request.network, space),
            seed=request.seed,
            progress=progress,
        )
        leave_manifest(folder, task, device, space, architecture, resolvable(request.network))
        return result
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; continue with '{again}'") from None
    except StorageError as error:
        raise StorageError(f"{error}; then continue with '{again}'") from error


def resolvable(network: str) -> str:
    """What the space of a network is found by: a published one is in one of those listed."""
    if network not in NETS:
        return network
    return next(name for name, function in SPACES.items() if function is NETS[network].function)


def _show(result: dict[str, Any], folder: RunFolder) -> None:
    facts(
        f"{result['title']}",
        [
            ("test accuracy", percent(result["test"]["score"])),
            ("validation accuracy", percent(result["val"]["score"])),
            ("parameters", count(result["parameters"])),
            ("MAdds per image", count(result["madds"])),
            ("time", duration(result["seconds"])),
            ("run", folder.path),
        ],
    )
