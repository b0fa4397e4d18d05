"""A plausible run folder, without a run: numbers from formulas and a fixed seed, in the schema the recipe writes."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
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


KERNELS = ["k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6"]


def likeliest(
    choices: list[dict[str, Any]], shares: dict[str, np.ndarray], costs: dict[str, np.ndarray]
) -> list[tuple[float, float, dict[str, str]]]:
    """(cost, log-probability, architecture) from the cheapest to the likeliest, each better than all before it; costs
    within a hundredth of a millisecond count as one."""
    front: list[tuple[float, float, dict[str, str]]] = [(0.05, 0.0, {})]
    for choice in choices:
        name = choice["name"]
        grown = [
            (cost + float(ms), chance + float(np.log(share)), {**taken, name: option})
            for cost, chance, taken in front
            for option, ms, share in zip(choice["options"], costs[name], shares[name])
        ]
        grown.sort(key=lambda one: (round(one[0], 2), -one[1]))
        front = []
        for one in grown:
            if not front or one[1] > front[-1][1]:
                front.append(one)
    return front


def perturbed(
    best: tuple[float, float, dict[str, str]],
    choices: list[dict[str, Any]],
    shares: dict[str, np.ndarray],
    costs: dict[str, np.ndarray],
    limit: float,
) -> tuple[float, float, dict[str, str]]:
    """The first architecture one step away that is within the limit, or the best itself."""
    cost, chance, taken = best
    for choice in choices:
        name, options = choice["name"], choice["options"]
        now = options.index(taken[name])
        for i, option in enumerate(options):
            changed = cost + float(costs[name][i] - costs[name][now])
            if i != now and changed <= limit:
                return changed, chance + float(np.log(shares[name][i] / shares[name][now])), {**taken, name: option}
    return best


def build_search(
    folder: Path,
    *,
    devices: Iterable[str] = ("cpu", "hw_tables.json:pixel3"),
    published: Iterable[str] = ("hw_tables.json:pixel3",),
    layers: int = 12,
    budgets: int = 3,
    seeds: int = 3,
    epochs: int = 24,
    curves: bool = True,
) -> Path:
    """Write the run folder of a ProxylessNAS search; without `curves` it is drawn faster."""
    rng = np.random.default_rng(1)
    labels, elsewhere = list(devices), set(published)
    folder.mkdir(parents=True, exist_ok=True)
    choices = [
        {"name": f"b{i + 1}", "kind": "op", "options": [*KERNELS, "zero"][: 6 if i % 4 == 0 else 7], "empty": None}
        for i in range(layers)
    ]
    t = np.linspace(0, 1, epochs)
    points, searches, tables = [], [], []
    for number, label in enumerate(labels):
        slow, here = 1 + 0.8 * number, label not in elsewhere
        costs = {c["name"]: slow * rng.uniform(0.02, 0.09, len(c["options"])) for c in choices}
        for c in choices:
            if c["options"][-1] == "zero":
                costs[c["name"]][-1] = 0.0
        least, whole = (0.05 + sum(float(end(row)) for row in costs.values()) for end in (np.min, np.max))
        limits = [least + share * (whole - least) for share in np.linspace(0.25, 0.65, budgets)]
        found: dict[float, list[float]] = {limit: [] for limit in limits}
        for seed in range(seeds):
            logits = {c["name"]: rng.normal(0, 1.3, len(c["options"])) for c in choices}
            shares = {name: np.exp(row) / np.exp(row).sum() for name, row in logits.items()}
            front = likeliest(choices, shares, costs)
            derived = []
            for place, limit in enumerate(limits):
                *_, top = (one for one in front if 1.04 * one[0] <= limit)
                ms, chance, architecture = top if seed == 0 else perturbed(top, choices, shares, costs, limit / 1.04)
                found[limit].append(ms)
                derived.append(
                    {
                        "budget_ms": limit,
                        "architecture": architecture,
                        "table_ms": ms,
                        "low_ms": 0.96 * ms,
                        "high_ms": 1.04 * ms,
                        "log_probability": chance,
                        "inherited_accuracy": 0.7 + 0.05 * place + 0.01 * seed,
                        "candidates": 16,
                        "likeliest": {
                            "architecture": top[2],
                            "table_ms": top[0],
                            "log_probability": top[1],
                            "exact": place != 1 or seed != 1,
                        },
                    }
                )
            curve = {
                "epoch": list(range(epochs)),
                "loss": (2.1 * np.exp(-3 * t) + 0.4 + rng.normal(0, 0.02, epochs)).tolist(),
                "arch_loss": [None, *(2.2 * np.exp(-2.6 * t) + 0.5 + rng.normal(0, 0.03, epochs)).tolist()[1:]],
                "objective": [None, *(2.4 * np.exp(-2.6 * t) + 0.5).tolist()[1:]],
                "entropy": [None, *(1.9 - 1.2 * t**1.5 + rng.normal(0, 0.02, epochs)).tolist()[1:]],
                "confidence": [None, *(0.16 + 0.5 * t**1.5 + rng.normal(0, 0.01, epochs)).tolist()[1:]],
                "expected_cost": [None, *(whole * (0.62 - 0.13 * t + rng.normal(0, 0.01, epochs))).tolist()[1:]],
                "argmax_cost": [None, *(whole * (0.6 - 0.08 * t + rng.normal(0, 0.04, epochs))).tolist()[1:]],
                "signal_to_noise": [None, *(0.07 + 0.3 / (1 + 9 * t) + rng.normal(0, 0.02, epochs)).tolist()[1:]],
                "val_accuracy": (0.9 - 0.7 * np.exp(-5 * t) + rng.normal(0, 0.01, epochs)).tolist(),
            }
            searches.append(
                {
                    "target": label,
                    "seed": seed,
                    **(curve if curves else {}),
                    "derived": derived,
                    "argmax": {"architecture": front[-1][2], "table_ms": front[-1][0]},
                    "pareto": [[cost, chance] for cost, chance, _ in front],
                    "pareto_size": 812 + seed,
                    "probabilities": {name: row.tolist() for name, row in shares.items()},
                }
            )
        for place, limit in enumerate(limits):
            table_ms = np.array(found[limit])
            best = 0.90 + 0.022 * place
            for kind, worse in (("proxylessnas", 0.0), ("random_architecture", 0.021), ("mobilenet_v2", 0.012)):
                ms = (table_ms if worse == 0.0 else 0.97 * limit) + rng.normal(0, 0.012 * slow, seeds)
                mobile = kind == "mobilenet_v2"
                points.append(
                    {
                        "name": f"{label}, {limit:.3g} ms",
                        "kind": kind,
                        "target": label,
                        "budget_ms": limit,
                        "accuracy": estimate(best - worse + rng.normal(0, 0.004, seeds)),
                        "val_accuracy": estimate(best - worse + rng.normal(0, 0.004, seeds)),
                        "table_ms": None if mobile else estimate(ms),
                        "measured_ms": estimate(1.03 * ms) if here else None,
                        "over_budget": estimate(1.03 * ms / limit - 1) if here else None,
                        "madds": estimate(4e7 * ms / slow),
                        "parameters": 180000 + 90000 * place,
                        "note": None,
                    }
                )
        pairs = [[p, p * (1 + e)] for p, e in zip(rng.uniform(0.3, 1.1, 24) * slow, rng.normal(0, 0.03, 24))]
        fidelity = {
            "n": 24, "mape": 2.4, "median_error": 2.0, "worst_error": 6.1, "tau": 0.93, "coverage": 92.0,
            "nominal": 90.0, "pairs": pairs, "drawn": "uniform", "speed": 1.0, "mape_uncorrected": 2.4,
            "coverage_uncorrected": 92.0,
        }  # fmt: skip
        tables.append(
            {
                "target": label,
                "published": not here,
                "batch": 1 + 31 * number,
                "fingerprint": {"model": "some CPU"} if here else {},
                "budgets_ms": limits,
                "fidelity": fidelity if here else None,
            }
        )
    middle = budgets // 2
    cross = {
        "targets": labels,
        "measured": [label not in elsewhere for label in labels],
        "rows": [
            {
                "target": label,
                "budget_ms": tables[i]["budgets_ms"][middle],
                "accuracy": estimate(0.92 + 0.003 * i + rng.normal(0, 0.003, seeds)),
                "ms": {
                    other: estimate((0.5 + 0.3 * j) * (1 + 0.14 * (i != j)) + rng.normal(0, 0.006, seeds))
                    for j, other in enumerate(labels)
                },
            }
            for i, label in enumerate(labels)
        ],
    }
    result = {
        "schema": 1,
        "method": "proxylessnas",
        "title": "ProxylessNAS on digits",
        "command": "archipel search proxylessnas --preset digits --device cpu --out runs/search",
        "preset": "digits",
        "started": "2026-01-05T10:00:00",
        "finished": "2026-01-05T10:41:12",
        "seconds": 2472.4,
        "stages": [{"name": "latency-cpu", "seconds": 41.5}, {"name": "search-cpu-0", "seconds": 404.0}],
        "environment": {"python": "3.13.1", "torch": "2.13.0", "cpu": "x86-64", "threads": 1, "commit": "abc1234"},
        "task": {
            "name": "digits",
            "classes": [str(i) for i in range(10)],
            "input_shape": [1, 8, 8],
            "splits": {"train": 1000, "arch": 300, "val": 200, "test": 297},
            "chance": 0.1,
            "skipped": [],
        },
        "space": {"name": "proxyless", "options": {"width": 0.5}, "size": str(7**layers), "choices": choices},
        "device": {"name": ", ".join(labels), "threads": 1},
        "points": points,
        "awareness": {
            "sentence": "Over all budgets, the networks found have a test accuracy of +2.1 points against random "
            "architectures of the same latency (95 % interval +1.4 to +2.8: a real gain).",
            "rows": [],
        },
        "specialisation": cross if len(labels) > 1 else None,
        "searches": searches,
        "tables": tables,
        "alarms": [],
        "fidelity": tables[0]["fidelity"] or {},
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (folder / "config.yaml").write_text("preset: digits\nseeds: 3\n", encoding="utf-8")
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


@pytest.fixture
def make_search(tmp_path: Path) -> Callable[..., Path]:
    """Writes the run folder of a search; keyword arguments as `build_search`."""
    return lambda **options: build_search(tmp_path / "search", **options)


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a search on two devices with its report written, shared: read it, do not change it."""
    from archipel.report import write

    folder = build_search(tmp_path_factory.mktemp("report") / "search")
    write(folder)
    return folder


class Page(HTMLParser):
    """Tags, their addresses, and whether every tag that was opened is closed in order."""

    VOID = frozenset({"meta", "img", "br", "input", "link", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.unnamed: list[str] = []
        self.ids: list[str] = []
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)

    def _note(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.addresses += [v or "" for k, v in attributes.items() if k in ("src", "href", "xlink:href", "srcset")]
        if attributes.get("id"):
            self.ids.append(attributes["id"] or "")
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        spoken = {"img": "alt", "svg": "aria-label"}.get(tag)
        if spoken and spoken not in attributes and attributes.get("aria-hidden") != "true":
            self.unnamed.append(tag)


@pytest.fixture(scope="session")
def parse() -> Callable[[str], Page]:
    """Reads a page's tags."""
    return Page


@pytest.fixture(scope="session")
def visible() -> Callable[[str], str]:
    """A page without its styles and scripts."""
    return lambda html: re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
