"""The main job as a function: `archipel.run(...)`, the same as `archipel run` on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archipel.errors import OptionError
from archipel.recipes import instanas, pipeline
from archipel.recipes.job import Done, go_on, start
from archipel.recipes.opening import located
from archipel.report.run_folder import Interval, interval
from archipel.report.theme import kind as kind_of
from archipel.report.wording import milliseconds, spread
from archipel.run.console import Terminal

__all__ = ["Point", "Result", "run"]


@dataclass(frozen=True)
class Point:
    """One row of the frontier table. Every `Interval` has `.mean`, `.low`, `.high` (95 % over seeds) and `.values`."""

    name: str
    """`A` (most accurate), `B`, … for what the search found, early exits and cascades; the number of a static exit; a
    width for MobileNetV2."""
    kind: str
    """`early_exit`, `static_exit`, `instanas`, `static_child`, `static_union` or `dearest_child`, `random_policy`,
    `mobilenet_v2`, one of the cascades `mobilenet_cascade` and `child_cascade`, or with all baselines `blockdrop` or
    `convnet_aig`."""
    accuracy: Interval | None
    """On the test images, 0 to 1."""
    table_ms: Interval | None
    """Milliseconds an image by the latency table, controller included; None for networks outside the space."""
    measured_ms: Interval | None
    """Milliseconds an image on the wall clock, one image at a time, controller included."""
    batch_ms: Interval | None
    """Milliseconds an image on the wall clock in a large batch, controller included."""
    madds: Interval | None
    """Multiply-adds of the mean image, controller included."""
    parameters: int | None
    """Learned numbers that have to be kept, controller included."""
    distinct_share: Interval | None
    """Different architectures over test images: 1 when no two images share one."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Point:
        figures = ("accuracy", "table_ms", "measured_ms", "batch_ms", "madds", "distinct_share")
        return cls(
            name=row["name"],
            kind=row["kind"],
            parameters=row.get("parameters"),
            **{figure: interval(row.get(figure)) for figure in figures},
        )

    def __str__(self) -> str:
        label = kind_of(self.kind).label
        time = milliseconds(self.measured_ms.mean) if self.measured_ms else "not timed"
        return f"{label} {self.name}: {spread(self.accuracy, scale=100)} % right, {time} an image"


@dataclass(frozen=True)
class Result:
    """What a run found. Everything else is in its folder."""

    folder: Path
    """The run folder; `archipel.run(resume=folder)` goes on with it or reads it again."""
    report: Path
    """One HTML file that opens offline."""
    points: tuple[Point, ...]
    """What the search found, then the static networks it is compared with."""
    saved: str | None
    """One sentence: what early exits save by the clock at equal accuracy; None where no static network is as accurate
    as any of them, or there are none."""
    awareness: str
    """What giving each image an architecture of its own was worth in accuracy."""
    alarms: tuple[str, ...]
    """What looked wrong during the search; empty when nothing did."""

    @classmethod
    def of(cls, done: Done) -> Result:
        return cls(
            folder=done.folder,
            report=done.report,
            points=tuple(Point.of(row) for row in done.result["points"]),
            saved=done.result.get("saved"),
            awareness=done.result["awareness"]["sentence"],
            alarms=tuple(f"{alarm['kind']}: {alarm['text']}" for alarm in done.result["alarms"]),
        )

    def __str__(self) -> str:
        said = filter(None, (self.saved, self.awareness))
        return "\n".join([*map(str, self.points), *said, *self.alarms, f"Report: {self.report}"])


def run(
    data: str | Path = "digits",
    *,
    evolve: bool = False,
    device: str = "cpu",
    space: str = "instanas",
    preset: str | None = None,
    seeds: int = 3,
    seed: int = 0,
    images: int | None = None,
    test_images: int | None = None,
    size: int | None = None,
    threads: int | None = None,
    target_ms: float | None = None,
    table: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    quiet: bool = False,
) -> Result:
    """Search on your images for your device, and compare with honest static networks.

    Args:
        data: a folder with one subfolder of pictures a class, a folder with the files of CIFAR-10, Fashion-MNIST
            or MNIST, or "digits".
        evolve: first evolve a space and search it for the device; what was found is then the space of this search.
            Each of the three is a run of its own in the run folder.
        device: "cpu" or "cuda:0".
        space: a search space, or "file.py:function" for your own.
        preset: the settings to start from ("cpu", "digits", "gpu", "faithful"); what fits the data if not given.
        seeds: how many controllers are searched and compared: what the intervals are over.
        seed: of the data splits, the weights and the first controller.
        images, test_images: use at most so many.
        size: side of the images in pixels; they are scaled to it.
        threads: CPU threads; measured and chosen when not given.
        target_ms: one of the variants must not be slower than this many milliseconds an image.
        table: a latency table measured before on this device.
        settings: changes to the preset, nested as in `config.yaml`: `{"search": {"epochs": 30}}`; with `evolve` also
            those of the evolution and of the search for the device: `{"evolving": {…}, "searching": {…}}`.
        out: the run folder; a new one in `runs` if not given.
        resume: go on with this run folder and its own settings; leave the other arguments out.
        quiet: show alarms only; otherwise progress goes to stderr.

    Raises:
        ArchipelError: a mistake in what was asked, in one line.
    """
    asked: dict[str, Any] = {
        "data": str(data),
        "space": space,
        "preset": preset,
        "device": device,
        "threads": threads,
        "seeds": seeds,
        "seed": seed,
        "images": images,
        "test_images": test_images,
        "size": size,
        "target_ms": target_ms,
        "table": None if table is None else str(table),
    }
    defaults = {"data": "digits", "space": "instanas", "device": "cpu", "seeds": 3, "seed": 0}
    asked = {name: value for name, value in asked.items() if value is not None and value != defaults.get(name)}
    options = dict(settings or {})
    where = None if out is None else Path(out)
    said = {
        **({"evolve": True} if evolve else {}),
        **asked,
        **({"settings": options} if options else {}),
        **({"resume": str(resume)} if resume else {}),
    }
    command = f"archipel.run({', '.join(f'{name}={value!r}' for name, value in said.items())})"
    how: dict[str, Any] = {"command": command, "progress": Terminal(quiet=quiet)}
    if resume is not None:
        if out is not None or (evolve and (asked or options)):
            unwanted = f"out={str(out)!r}" if out is not None else "everything else"
            raise OptionError(f"resume takes everything from {resume}; leave out {unwanted}")
        if evolve:
            return Result.of(pipeline.go_on(Path(resume), **how))
        return Result.of(go_on(instanas, Path(resume), asked, options, **how))
    if evolve:
        return Result.of(pipeline.start(pipeline.Asked.of({**located(asked), **options}), out=where, **how))
    return Result.of(start(instanas, asked, options, out=where, **how))
