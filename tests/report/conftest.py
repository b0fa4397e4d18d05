"""A plausible run folder, without a run: numbers from formulas and a fixed seed, in the schema the recipe writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

OPTIONS = ["mb6_k3", "mb3_k3", "mb6_k5", "mb3_k5", "basic_k3"]
COST = np.array([0.020, 0.012, 0.026, 0.016, 0.022])
HEADS = (0, 1, 3, 6, 10, 13, 16)


def estimate(values: Iterable[float]) -> dict[str, Any]:
    """The schema's F, with a normal interval: near enough for a picture."""
    row = np.array(list(values), dtype=float)
    half = 2.2 * row.std(ddof=1) / np.sqrt(len(row)) if len(row) > 1 else 0.0
    mean = float(row.mean())
    return {"values": row.tolist(), "mean": mean, "low": mean - half, "high": mean + half}


def pictures(n: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """`[n, side, side, 3]`: a disc of random colour and size on a ramp."""
    y, x = np.mgrid[0:side, 0:side] / side
    made = np.empty((n, side, side, 3), np.uint8)
    for image in made:
        cx, cy, r = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.35)
        ground, disc = rng.integers(0, 200, 3), rng.integers(60, 256, 3)
        inside = ((x - cx) ** 2 + (y - cy) ** 2 < r * r)[..., None]
        image[:] = np.where(inside, disc, ground * (0.5 + 0.5 * x[..., None]))
    return made


def build(
    folder: Path,
    *,
    classes: Iterable[str] = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    images: int = 120,
    side: int = 8,
    layers: int = 17,
    seeds: int = 3,
    epochs: int = 30,
    curves: bool = True,
    pixels: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> Path:
    """Write a complete run folder with variants A–E and every kind of baseline; without `curves` it is drawn faster."""
    rng = np.random.default_rng(0)
    names = list(classes)
    folder.mkdir(parents=True, exist_ok=True)
    width = layers * len(OPTIONS)
    labels = rng.integers(0, len(names), images) if labels is None else labels
    pixels = pictures(images, side, rng) if pixels is None else pixels
    difficulty = np.clip(rng.normal(0, 1, images) + 0.25 * (labels - len(names) / 2), -3, 3)
    taste = rng.normal(0, 1, (len(names), width))
    base = rng.normal(-1.2, 1.6, width)
    tensors: dict[str, np.ndarray] = {
        "index": np.arange(images, dtype=np.int64),
        "label": labels.astype(np.int64),
        "images": pixels,
    }
    rows, points, awareness = [], [], []
    for i, name in enumerate("ABCDE"):
        logits = base + 1.0 - 0.55 * i + 0.35 * difficulty[:, None] + 0.5 * taste[labels]
        logits += rng.normal(0, 0.35, logits.shape)
        probabilities = 1 / (1 + np.exp(-logits))
        tensors[f"probabilities/{name}"] = probabilities.astype(np.float32)
        bits = probabilities >= 0.5
        latency = bits.reshape(images, layers, -1) @ COST
        empty = ~bits.reshape(images, layers, -1).any(2)
        latency[:, [h for h in HEADS if h < layers]] += 0.022 * empty[:, [h for h in HEADS if h < layers]]
        latency = latency.sum(1) + 0.05
        accuracy = 0.975 - 0.004 * i**1.7
        correct = rng.random(images) < accuracy - 0.02 * difficulty
        predicted = np.where(correct, labels, (labels + 1) % len(names))
        for j in range(images):
            code = "".join("1" if bit else "0" for bit in bits[j])
            rows.append([name, j, labels[j], predicted[j], int(correct[j]), f"{latency[j]:.6f}", code])
        mean = float(latency.mean())
        noise = lambda scale: rng.normal(0, scale, seeds)  # noqa: E731
        own = accuracy + noise(0.002)
        shuffled, static = own - 0.004 * (i + 1) + noise(0.001), own - 0.002 * i + noise(0.002)
        unique = len({row[-1] for row in rows if row[0] == name})
        points.append(
            {
                "name": name,
                "kind": "instanas",
                "accuracy": estimate(own),
                "table_ms": estimate(mean + 0.08 + np.append(0, noise(0.01)[1:])),
                "measured_ms": estimate(1.1 * (mean + 0.08) + noise(0.015)),
                "batch_ms": estimate(0.21 * mean + noise(0.004)),
                "madds": estimate(4.1e7 * mean + noise(1e5)),
                "parameters": 9572970,
                "distinct_share": estimate(unique / images + noise(0.01)),
                "effective_number": estimate(0.6 * unique + noise(3)),
                "varying_bits": estimate(40 - 3 * i + noise(2)),
                "latency_spread": estimate(latency.std() / mean + noise(0.004)),
                "shuffled_accuracy": estimate(shuffled),
                "note": None,
            }
        )
        for kind, shift, slower in (("static_child", -0.004, 0.0), ("static_union", 0.001, 0.25)):
            points.append(
                {
                    "name": f"{kind} {name}",
                    "kind": kind,
                    "accuracy": estimate(accuracy + shift + noise(0.002)),
                    "table_ms": estimate((1 + slower) * mean + noise(0.006)),
                    "measured_ms": estimate(1.1 * (1 + slower) * mean + noise(0.01)),
                    "batch_ms": None,
                    "madds": estimate(4e7 * (1 + slower) * mean + noise(1e5)),
                    "parameters": 1800000,
                    "note": "trained as long as the variant" if name == "A" else None,
                }
            )
        awareness.append(
            {
                "name": name,
                "accuracy": estimate(own),
                "shuffled": estimate(shuffled),
                "difference": estimate(own - shuffled),
                "static_child": estimate(static),
                "static_difference": estimate(own - static),
            }
        )
    for number, factor in enumerate((0.25, 0.5, 0.75, 1.0, 1.4)):
        points.append(
            {
                "name": f"MobileNetV2 {factor}x",
                "kind": "mobilenet_v2",
                "accuracy": estimate(0.943 + 0.007 * number - 0.0004 * number**2 + rng.normal(0, 0.002, seeds)),
                "table_ms": None,
                "measured_ms": estimate(0.25 + 0.45 * factor + rng.normal(0, 0.01, seeds)),
                "batch_ms": estimate(0.05 + 0.1 * factor + rng.normal(0, 0.002, seeds)),
                "madds": estimate([9.8e7 * factor**2]),
                "parameters": int(2.2e6 * factor**2),
            }
        )
        points[-1]["table_ms"] = estimate(0.22 + 0.42 * factor + rng.normal(0, 0.008, seeds))
    points.append(
        {
            "name": "random policy",
            "kind": "random_policy",
            "accuracy": estimate(0.71 + rng.normal(0, 0.02, seeds)),
            "table_ms": estimate(0.74 + rng.normal(0, 0.004, seeds)),
            "measured_ms": estimate(0.8 + rng.normal(0, 0.006, seeds)),
            "batch_ms": None,
            "madds": None,
            "parameters": 9572970,
        }
    )
    pairs = [(p, p * (1 + e)) for p, e in zip(rng.uniform(0.3, 1.1, 30), rng.normal(0, 0.04, 30))]
    t = np.linspace(0, 1, epochs)
    search = [
        {
            "seed": seed,
            "epoch": list(range(epochs)),
            "window_low": (0.9 - 0.65 * t).tolist(),
            "window_high": (1.3 - 0.75 * t).tolist(),
            "sampled_ms": (1.1 - 0.45 * t + rng.normal(0, 0.015, epochs)).tolist(),
            "map_ms": (1.05 - 0.62 * t + rng.normal(0, 0.02, epochs)).tolist(),
            "val_accuracy": (0.97 - 0.05 * t**3 + rng.normal(0, 0.003, epochs)).tolist(),
            "reward": (0.6 - 0.3 * t + rng.normal(0, 0.03, epochs)).tolist(),
            "positive_share": (0.95 - 0.5 * t**2).tolist(),
            "distinct": (images * (0.9 - 0.4 * t)).round().tolist(),
            "varying_bits": (60 - 25 * t).round().tolist(),
            "entropy": (0.6 - 0.25 * t).tolist(),
            "alpha": (0.8 + 0.2 * t).tolist(),
            "bn_drift": (0.05 + 0.05 * t).tolist(),
            "chosen": {n: int(epochs * f) for n, f in zip("ABCDE", (0.2, 0.45, 0.62, 0.8, 0.82))},
        }
        for seed in range(seeds)
    ]
    choices = [
        {"name": f"l{i}", "kind": "subset", "options": OPTIONS, "empty": "basic_k3" if i in HEADS else "identity"}
        for i in range(layers)
    ]
    result = {
        "schema": 1,
        "title": "InstaNAS on digits",
        "command": "archipel run --preset cpu --seeds 3 --out runs/digits",
        "preset": "cpu",
        "started": "2026-01-05T10:00:00",
        "finished": "2026-01-05T10:31:12",
        "seconds": 1872.4,
        "stages": [{"name": "pre-training", "seconds": 312.1}, {"name": "search", "seconds": 1204.0}],
        "environment": {"python": "3.13.1", "torch": "2.13.0", "cpu": "x86-64", "threads": 1, "commit": "abc1234"},
        "task": {
            "name": "digits",
            "classes": names,
            "input_shape": [1, side, side],
            "splits": {"train": 1000, "arch": 300, "val": 200, "test": images},
            "chance": 0.1,
            "skipped": [{"path": "cats/broken.png", "why": "cannot be decoded"}],
        },
        "space": {"name": "instanas", "options": {"width": 0.5}, "size": "31" + 24 * "0", "choices": choices},
        "device": {
            "name": "cpu",
            "threads": 1,
            "batch": 1,
            "throughput_batch": 128,
            "fingerprint": {"model": "some CPU"},
        },
        "points": points,
        "awareness": {
            "sentence": "The architecture depends usefully on the image for variants B–E: their own architectures "
            "beat shuffled ones, and the interval of the difference excludes 0.",
            "rows": awareness,
            "mean": {"shuffled": estimate([0.009, 0.011, 0.012][:seeds]), "static": None},
        },
        "curves": {
            "pretraining": {
                "epoch": list(range(epochs)),
                "loss": (2.2 * np.exp(-4 * t) + 0.1).tolist(),
                "val_all_on": (0.97 - 0.8 * np.exp(-6 * t)).tolist(),
                "val_random": (0.93 - 0.8 * np.exp(-4 * t)).tolist(),
                "keep": (1 - 0.5 * t).tolist(),
            },
            "search": search,
        },
        "alarms": [],
        "fidelity": {
            "mape": 3.3,
            "median_error": 2.6,
            "worst_error": 8.8,
            "tau": 0.91,
            "coverage": 87.0,
            "nominal": 90,
            "n": 30,
            "pairs": [list(pair) for pair in pairs],
            "controller_ms": 0.08,
            "base_ms": 0.05,
        },
    }
    if not curves:
        result["curves"] = None
    (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    with (folder / "architectures.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["variant", "index", "label", "predicted", "correct", "latency_ms", "architecture"])
        writer.writerows(rows)
    save_file(tensors, folder / "instances.safetensors")
    (folder / "config.yaml").write_text("preset: cpu\nseeds: 3\n", encoding="utf-8")
    return folder


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Rewrite result.json after `edit` changed it."""
    file = folder / "result.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    edit(result)
    file.write_text(json.dumps(result), encoding="utf-8")
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder; keyword arguments as `build`."""
    return lambda **options: build(tmp_path / "run", **options)


@pytest.fixture
def edit() -> Callable[[Path, Callable[[dict[str, Any]], None]], Path]:
    """Changes a run folder's result.json."""
    return change


@pytest.fixture
def run_dir(make_run: Callable[..., Path]) -> Path:
    """A complete small run folder."""
    return make_run()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run folder with its report written, shared: read it, do not change it."""
    from archipel.report import write

    folder = build(tmp_path_factory.mktemp("report") / "run")
    write(folder)
    return folder
