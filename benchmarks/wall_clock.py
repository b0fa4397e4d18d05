"""The saving on the clock: a run's instance-aware networks beside its static ones, in PyTorch and in ONNX Runtime.

    OMP_NUM_THREADS=1 python benchmarks/wall_clock.py RUN [--batches 1 16 128 512] [--points A E] [--rounds 20] [--md]

Milliseconds an image on the run's own test images, everything by turns in one process on one thread:

- routed: decisions included, of exits in the cascade, of InstaNAS in each way to run a mixed batch; in ONNX Runtime as
  `archipel.load(executor="onnx")` runs it: a batch by the graph with its decisions inside (`archipel export --form
  routed`), a single image by sessions in a row with decisions between them. Of InstaNAS the graph is timed for single
  images, too. Pieces of architectures are there when their image is timed; making one takes milliseconds;
- ideal: what the network that answered each image takes alone, in full batches, nothing decided. Of InstaNAS by the
  networks of `--images` images drawn at random, times the multiply-adds of the batch's networks beside theirs;
- child + controller: what has to be computed to answer so, without a branch: of exits the network with the heads that
  the image passes as one graph, of InstaNAS the controller and the network that it picks, of a single image one right
  after the other;
- static: the run's networks that answer every image alike; each point is held against the fastest one that is at least
  as accurate on the same images.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import archipel
from archipel.cost import Device, measure
from archipel.deploy import Model
from archipel.deploy.export import session_of
from archipel.deploy.forms import Controlled, Escalating
from archipel.deploy.manifest import Point
from archipel.deploy.onnx_form import OnnxForm, onnx_form
from archipel.deploy.stored import Stored, stored_images
from archipel.instance.cascade import Cascade
from archipel.instance.code_madds import CodeMadds
from archipel.instance.executors import EXECUTORS, execute
from archipel.nn.fold import fold_for_inference
from archipel.nn.layout import channels_last
from archipel.nn.onnx_model import onnx_parts
from archipel.run.folder import RunFolder

ROUTED = ("early_exit", "instanas")
STATIC = ("mobilenet_v2", "static_exit", "static_child")
KNOWN = 1000
"""Test images by which architectures are cut into pieces."""
Call = Callable[[Tensor], object]


@dataclass
class Row:
    """A line of the table: what is timed, and how much each part of it counts."""

    what: str
    executor: str
    part: str
    """`routed`, `ideal`, `child + controller` or `static`."""
    subject: str
    parts: Callable[[Tensor], Mapping[str, float]]
    """Images `[B, ...]` → names of calls and how often each is made for the batch."""
    accuracy: float | None = None
    ms: dict[int, float] = field(default_factory=dict)


@dataclass
class Bench:
    """Calls by name, and the rows that are made of them."""

    calls: dict[str, Call] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    """What is to be exported as it is."""
    rows: list[Row] = field(default_factory=list)

    def plain(self, name: str, module: nn.Module) -> None:
        """A network that decides nothing, in both."""
        self.calls[f"torch {name}"] = channels_last(module)
        self.modules.setdefault(name, module)

    def export(self, shape: tuple[int, int, int]) -> None:
        """Sessions of all plain networks, from one export."""
        x = torch.zeros(1, *shape)
        parts = onnx_parts([(module.eval(), (x,)) for module in self.modules.values()], dynamic=True)
        for name, part in zip(self.modules, parts, strict=True):
            model = part.named(["images"], ["scores"]).model()
            self.calls[f"onnx {name}"] = _session(session_of(model.SerializeToString()))

    def time(self, images: Tensor, rounds: int, seed: int) -> None:
        """Adds milliseconds an image of one batch; of a single image, the mean over all of `images`, one at a time."""
        batch = 1 if images.dim() == 5 else len(images)
        singles = list(images) if batch == 1 else [images]
        wanted = [[(row, row.parts(one)) for row in self.rows] for one in singles]
        calls = {
            f"{i} {name}": partial(self.calls[name], one)
            for i, one in enumerate(singles)
            for name in sorted({name for _, parts in wanted[i] for name in parts})
        }
        with torch.inference_mode():
            timed = measure(calls, Device("cpu", 1), rounds=rounds, rng=random.Random(seed))
        for i in range(len(singles)):
            for row, parts in wanted[i]:
                ms = sum(timed[f"{i} {name}"].ms * times for name, times in parts.items())
                row.ms[batch] = row.ms.get(batch, 0.0) + ms / (batch * len(singles))


def _session(session: Any, point: Point | None = None) -> Call:
    def call(x: Tensor) -> object:
        feed = {"images": x.numpy()}
        if point is not None and point.asked_ms is not None:
            feed["target_ms"] = np.full(len(x), point.asked_ms, np.float32)
        return session.run(["scores"], feed)

    return call


def _after(calls: Mapping[str, Call], names: Iterable[str], x: Tensor) -> None:
    for name in names:
        calls[name](x)


def _deciding(form: OnnxForm, point: Point) -> Call:
    return lambda x: form.decided(x.numpy(), point)


def _only(name: str) -> Callable[[Tensor], Mapping[str, float]]:
    return lambda _: {name: 1.0}


def add_exits(bench: Bench, model: Model, names: Iterable[str], folder: RunFolder, stored: Stored) -> None:
    """Early exits: rows of some points."""
    assert isinstance(model.form, Escalating)
    form = onnx_form(model, folder, stored.pixels[:KNOWN])
    whole = model.form.cascade(model.at())
    for number, name in enumerate(model.children):
        bench.plain(f"{model.kind} {name}", fold_for_inference(model.child(name)))
        bench.plain(f"{model.kind} upto {number}", whole.upto(number))
    for name in names:
        point, subject = model.at(name), f"{model.kind} {name}"
        cascade, accuracy = model.form.cascade(point), _accuracy(model, name, stored)
        bench.calls[f"torch {subject}"] = cascade
        bench.calls[f"onnx {subject}"] = _deciding(form, point)

        def shares(x: Tensor, cascade: Cascade = cascade) -> list[float]:
            return torch.bincount(cascade.answer(x).stage, minlength=len(model.children)).div(len(x)).tolist()

        for executor in ("torch", "onnx"):

            def ideal(x: Tensor, executor: str = executor, shares: Any = shares) -> Mapping[str, float]:
                return {f"{executor} {model.kind} exit {k + 1}": s for k, s in enumerate(shares(x)) if s}

            def straight(x: Tensor, executor: str = executor, shares: Any = shares) -> Mapping[str, float]:
                return {f"{executor} {model.kind} upto {k}": s for k, s in enumerate(shares(x)) if s}

            bench.rows += [
                Row(subject, executor, "routed", subject, _only(f"{executor} {subject}"), accuracy),
                Row(f"{subject}: ideal", executor, "ideal", subject, ideal),
                Row(f"{subject}: child + controller", executor, "child + controller", subject, straight),
            ]


def add_controlled(
    bench: Bench, model: Model, names: Iterable[str], folder: RunFolder, stored: Stored, drawn: Tensor
) -> None:
    """InstaNAS: rows of some points. Children of the drawn images stand for those of a batch, their time times how many
    multiply-adds these have beside them."""
    form = model.form
    assert isinstance(form, Controlled)
    onnx = onnx_form(model, folder, stored.pixels[:KNOWN])
    inputs = model.inputs.normalise(stored.pixels)
    for name in names:
        point, subject = model.at(name), f"{model.kind} {name}"
        network, accuracy = form.network(point), _accuracy(model, name, stored)
        own = [f"{subject} {code}" for code in form.answer(inputs[drawn], point).children]
        for key in dict.fromkeys(own):
            bench.plain(key, fold_for_inference(form.child(key.split()[-1], point)))
        bench.plain(f"{subject} controller", network.controller)
        for executor in ("torch", "onnx"):
            for key in dict.fromkeys(own):
                pair = f"{executor} {subject} controller", f"{executor} {key}"
                bench.calls[" and ".join(pair)] = partial(_after, bench.calls, pair)

        def routed(x: Tensor, executor: Any, network: Any = network) -> Tensor:
            return execute(network.graph, x, network.codes(x), executor)

        for executor in EXECUTORS:
            bench.calls[f"torch {subject} {executor}"] = partial(routed, executor=executor)
            bench.rows.append(
                Row(
                    f"{subject}: {executor}", "torch", "routed", subject, _only(f"torch {subject} {executor}"), accuracy
                )
            )
        bench.calls[f"torch {subject}"] = network
        bench.calls[f"onnx {subject}"] = _deciding(onnx, point)
        bench.calls[f"onnx {subject} graph"] = _session(onnx.sessions[point.network], point)
        bench.rows += [
            Row(f"{subject}: chosen", "torch", "routed", subject, _only(f"torch {subject}"), accuracy),
            Row(subject, "onnx", "routed", subject, _only(f"onnx {subject}"), accuracy),
            Row(f"{subject}: graph", "onnx", "routed", subject, _only(f"onnx {subject} graph"), accuracy),
        ]
        answered = {_key(inputs[i]): key for i, key in zip(drawn.tolist(), own, strict=True)}
        madds = CodeMadds(network.graph.space, inputs.shape[1:])

        def work(x: Tensor, network: Any = network, madds: Any = madds) -> float:
            return float(madds(network.codes(x)).double().mean())

        few = work(inputs[drawn])
        for executor in ("torch", "onnx"):

            def ideal(
                x: Tensor,
                executor: str = executor,
                own: Any = own,
                answered: Any = answered,
                few: float = few,
                work: Any = work,
            ) -> dict[str, float]:
                if len(x) == 1:
                    return {f"{executor} {answered[_key(x[0])]}": 1.0}
                more = work(x) / few  # a few children differ from those of the batch by a tenth
                return {f"{executor} {key}": more * own.count(key) / len(own) for key in dict.fromkeys(own)}

            def both(
                x: Tensor, executor: str = executor, ideal: Any = ideal, subject: str = subject
            ) -> dict[str, float]:
                deciding, children = f"{executor} {subject} controller", ideal(x)
                if len(x) == 1:
                    return {f"{deciding} and {child}": 1.0 for child in children}
                return {**children, deciding: 1.0}

            bench.rows += [
                Row(f"{subject}: ideal", executor, "ideal", subject, ideal),
                Row(f"{subject}: child + controller", executor, "child + controller", subject, both),
            ]


def _key(image: Tensor) -> bytes:
    return image.contiguous().numpy().tobytes()


def add_static(bench: Bench, model: Model, stored: Stored) -> None:
    """Every network of a family that answers all images alike."""
    for point in model.family.points:
        assert point.name is not None
        subject = f"{model.kind} {point.name}"
        bench.plain(subject, model.module(point.name))
        accuracy = _accuracy(model, point.name, stored)
        for executor in ("torch", "onnx"):
            bench.rows.append(Row(subject, executor, "static", subject, _only(f"{executor} {subject}"), accuracy))


def _accuracy(model: Model, name: str, stored: Stored) -> float:
    said = model.answer(stored.pixels, model.at(name)).indices
    return float((said == stored.labels.numpy()).mean())


def ratios(rows: list[Row], batches: Iterable[int]) -> list[str]:
    """What was asked: routed against ideal and against child + controller, and against the static equal."""
    found = []
    for subject in dict.fromkeys(row.subject for row in rows if row.part == "routed"):
        own = [row for row in rows if row.subject == subject]
        accuracy = next(row.accuracy for row in own if row.accuracy is not None)
        equal = [row for row in rows if row.part == "static" and (row.accuracy or 0.0) >= accuracy]
        for batch in batches:
            parts = []
            for executor in ("torch", "onnx"):
                best = min(row.ms[batch] for row in own if (row.part, row.executor) == ("routed", executor))
                for part in ("ideal", "child + controller"):
                    (against,) = (row.ms[batch] for row in own if (row.part, row.executor) == (part, executor))
                    parts.append(f"{executor} routed / {part} {best / against:.2f}")
            fastest = min((row for row in own if row.part == "routed"), key=lambda row: row.ms[batch])
            if equal:
                static = min(equal, key=lambda row: row.ms[batch])
                share = fastest.ms[batch] / static.ms[batch]
                parts.append(f"routed ({fastest.executor}) / {static.what} ({static.executor}) {share:.2f}")
            else:
                parts.append("no static network is as accurate")
            found.append(f"{subject}, batch {batch}: {'; '.join(parts)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 128, 512])
    parser.add_argument("--points", nargs="+", default=["A", "E"])
    parser.add_argument("--images", type=int, default=12, help="that are asked one at a time")
    parser.add_argument("--rounds", type=int, default=20, help="of small batches; of 128 and more a quarter of them")
    parser.add_argument("--seed", type=int, default=0, help="of the run's networks, and of what is drawn")
    parser.add_argument("--md", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = RunFolder.open(asked.run, write=False)
    kinds = {family.kind for family in archipel.load(asked.run).manifest.families if family.seed == asked.seed}
    models = {kind: archipel.load(asked.run, kind, asked.seed) for kind in (*ROUTED, *STATIC) if kind in kinds}
    first = next(iter(models.values()))
    stored = stored_images(asked.run, first.inputs, 2000)
    inputs = first.inputs.normalise(stored.pixels).contiguous()
    generator = torch.Generator().manual_seed(asked.seed)
    drawn = torch.randperm(len(inputs), generator=generator)[: asked.images]
    bench = Bench()
    for kind, model in models.items():
        names = [point.name for point in model.points if point.name is not None and point.name in asked.points]
        if kind == "early_exit":
            add_exits(bench, model, names, folder, stored)
        elif kind == "instanas":
            add_controlled(bench, model, names, folder, stored, drawn)
        else:
            add_static(bench, model, stored)
    bench.export(first.manifest.input_shape)
    batches = [batch for batch in asked.batches if batch <= len(inputs)]
    for batch in batches:
        if batch == 1:
            images = inputs[drawn][:, None]
        else:
            images = inputs[torch.randperm(len(inputs), generator=generator)[:batch]]
        bench.time(images, asked.rounds if batch < 128 else max(3, asked.rounds // 4), asked.seed)
    print(table(bench.rows, batches, asked.md))
    print("\n".join(["", *ratios(bench.rows, batches)]))
    if asked.json:
        rows = [{k: v for k, v in vars(row).items() if k != "parts"} for row in bench.rows]
        asked.json.write_text(json.dumps(rows, indent=1))


def table(rows: list[Row], batches: list[int], md: bool) -> str:
    """What, accuracy, and milliseconds an image by executor and batch."""
    lines = [["what", "executor", "accuracy", *(f"batch {batch}" for batch in batches)]]
    for row in rows:
        accuracy = "" if row.accuracy is None else f"{row.accuracy:.3f}"
        lines.append([row.what, row.executor, accuracy, *(f"{row.ms[batch]:.4f}" for batch in batches)])
    if md:
        lines.insert(1, ["---"] * len(lines[0]))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    wide = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)) for line in lines)


if __name__ == "__main__":
    main()
