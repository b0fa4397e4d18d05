"""What choosing a network for each image is worth, and what each remedy adds to it.

    python benchmarks/instance_awareness.py --data CIFAR10 --out RUNS [--images 10000 --seeds 3 --preset cpu]
        [--only default --only sandwich …] [--hard cifar10h_counts.npz] [--set --pretraining.epochs=12 …]

Every remedy is a run of `archipel run` with its settings, in a folder of its own under RUNS; runs that are there are
continued or read, so it can be stopped and started again, and the table is made of what is finished. `--hard` takes
how many people gave each class to each CIFAR-10 test image (CIFAR-10H) and correlates the entropy of their answers with
the latency that images get. Writes `instance_awareness.md` and `instance_awareness.svg` into RUNS.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

RELEASED = [
    "--network.shortcut=per_op", "--network.combine=sum", "--search.entropy=half", "--search.diversity=0",
    "--search.samples=1", "--search.baseline=self_critical", "--search.window=released",
    "--pretraining.no-keep-spread",
]  # fmt: skip
SANDWICH = ["--pretraining.sandwich=2"]
TAUGHT = [*SANDWICH, "--pretraining.distillation=1", "--finetuning.distillation=0.9"]
EXITS = ["--exits.alone", "--baselines=none"]
"""As long as the `cpu` preset trains them."""
BESIDE = ["--exits.alone", "--baselines.widths=1.0", "--baselines.cascades=0"]
"""With MobileNetV2 1×, trained as long."""
BY_THE_LAST = ["--exits.distillation=0.5"]
RESIDUAL = ["--exits.space=resnet_exits"]
ELASTIC = ["--space=mobilenet_elastic", "--network.width=1.0"]
ALONE = [
    "--exits.width=0", "--finetuning.variants=3", "--baselines.widths", "--baselines.contrasted=0",
    "--baselines.cascades=0",
]  # fmt: skip
"""Beside static children alone: what else a search is held against, `default` has."""
REMEDIES: dict[str, list[str]] = {
    "default": ["--baselines=all"],
    "released": [*ALONE, *RELEASED],
    "constrained": [*ALONE, "--search.reward=constrained"],
    "conditioned": [*ALONE, "--search.conditioned"],
    "gumbel": [*ALONE, "--search.estimator=gumbel"],
    "sandwich": [*ALONE, *SANDWICH],
    "sandwich, distillation": [*ALONE, *TAUGHT],
    "elastic": [*ALONE, *ELASTIC],
    "elastic, sandwich, distillation": [*ALONE, *ELASTIC, *TAUGHT],
    "all": [*ALONE, *ELASTIC, *TAUGHT, "--search.conditioned"],
    "exits, taught": [*EXITS, *BY_THE_LAST],
    "exits, taught, wider": [*EXITS, *BY_THE_LAST, "--exits.width=1.5"],
    "exits, taught, twice as long": [*BESIDE, *BY_THE_LAST, "--exits.epochs=30", "--baselines.epochs=30"],
    "exits, taught, all images": [*BESIDE, *BY_THE_LAST, "--images=50000"],
    "residual exits": [*BESIDE, *RESIDUAL],
    "residual exits, all images": [*BESIDE, *RESIDUAL, "--images=50000"],
}
"""Name → settings beyond the preset's. `released`: what the released program does, at the preset's epochs; `default`
has the early exits, and all baselines; `all images` are those of all of CIFAR-10, so that training takes five times as
long."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "import sys; from archipel.cli.app import main; sys.exit(main())", *words]


def carry_out(name: str, given: argparse.Namespace) -> Path:
    """The run folder of a remedy, finished."""
    folder = Path(given.out) / name.replace(", ", "-")
    if (folder / "result.json").exists():
        return folder
    if (folder / "config.yaml").exists():
        words = ["run", "--resume", str(folder)]
    else:
        asked = [f"--seeds={given.seeds}", f"--preset={given.preset}", *REMEDIES[name]]
        if not any(word.startswith("--images") for word in asked):
            asked.append(f"--images={given.images}")
        words = ["run", "--data", given.data, *asked, *given.set, "--out", str(folder)]
    print(f"{name}: archipel {' '.join(words)}", flush=True)
    subprocess.run(command(*words), check=True)
    return folder


def told(figure: Mapping[str, Any] | None, scale: float = 100.0, digits: int = 1) -> str:
    if not figure:
        return "–"
    half = f" ± {scale * (figure['high'] - figure['mean']):.{digits}f}" if len(figure["values"]) > 1 else ""
    return f"{scale * figure['mean']:.{digits}f}{half}"


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def rows_of(name: str, result: Mapping[str, Any]) -> list[list[str]]:
    """One line for each network that decides by image."""
    shuffled = {(row["kind"], row["name"]): row["difference"] for row in result["awareness"]["rows"]}
    saved = {(row["kind"], row["name"], row["against"]): row for row in result["savings"]}
    lines = []
    for point in result["points"]:
        key = (point["kind"], point["name"])
        if key not in shuffled:
            continue
        line = [f"{name}: {point['kind']} {point['name']}", told(point["accuracy"])]
        line += [told(point[clock], 1.0, digits) for clock, digits in (("measured_ms", 2), ("batch_ms", 3))]
        own = "static_exit" if point["kind"] == "early_exit" else "static_child"
        for against in (own, "mobilenet_v2"):
            row = saved.get((*key, against), {})
            line += [told(row.get(clock)) for clock in ("measured_ms", "batch_ms")]
        line += [told(shuffled[key]), told(point.get("difficulty"), 1.0, 2)]
        line += [told(point.get(figure), 1.0) for figure in ("effective_number", "varying_bits", "latency_spread")]
        lines.append(line)
    return lines


def human(folder: Path, counts: np.ndarray) -> dict[str, tuple[float, int]]:
    """Variant of the first seed → Spearman's ρ of an image's latency with the entropy of people's answers, and images.

    Raises:
        SystemExit: the run's test images are not those that people saw.
    """
    shares = counts / counts.sum(1, keepdims=True)
    entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(1)
    found = {}
    for file, kind in (("exits.csv", "early exits"), ("architectures.csv", "InstaNAS")):
        latency: dict[str, list[float]] = {}
        labels: dict[str, list[str]] = {}
        if not (folder / file).exists():
            continue
        with open(folder / file, newline="") as stream:
            for row in csv.DictReader(stream):
                latency.setdefault(f"{kind} {row['variant']}", []).append(float(row["latency_ms"]))
                labels.setdefault(row["variant"], []).append(row["label"])
        first = next(iter(labels.values()))
        if len(first) != len(counts):
            raise SystemExit(f"'{folder}' has {len(first)} test images, people saw {len(counts)}; leave --hard out")
        known = sorted(set(first))
        agreed = np.mean([known.index(label) == most for label, most in zip(first, counts.argmax(1))])
        if agreed < 0.95:
            raise SystemExit(f"people agree with {100 * agreed:.0f} % of the labels of '{folder}': other images")
        varied = {name: ms for name, ms in latency.items() if len(set(ms)) > 1}
        found |= {name: (float(spearmanr(ms, entropy).statistic), len(ms)) for name, ms in varied.items()}
    return found


def fisher(rho: float, count: int) -> str:
    """A correlation with its 95 % interval over images (Fisher's transformation)."""
    middle, half = np.arctanh(rho), 1.96 / np.sqrt(count - 3)
    return f"{rho:+.3f} ({np.tanh(middle - half):+.3f} to {np.tanh(middle + half):+.3f})"


HEAD = [
    "network", "test accuracy, %", "ms, one image", "ms, in a batch", "saved against its static networks, %, one image",
    "in a batch", "against MobileNetV2, one image", "in a batch", "own − shuffled, points", "ρ with difficulty",
    "effective number", "varying bits", "slowest / fastest",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--only", action="append", choices=[*REMEDIES], help="this remedy; several may be given")
    parser.add_argument("--hard", help="cifar10h_counts.npz")
    parser.add_argument("--set", action="append", default=[], help="a setting of every run, such as --search.epochs=12")
    given = parser.parse_args()
    folders = {name: carry_out(name, given) for name in given.only or REMEDIES}
    results = {name: json.loads((folder / "result.json").read_text()) for name, folder in folders.items()}
    lines = [f"| {' | '.join(HEAD)} |", f"| {' | '.join('---' for _ in HEAD)} |"]
    for name, result in results.items():
        lines += [f"| {' | '.join(row)} |" for row in rows_of(name, result)]
    if given.hard:
        counts = np.load(given.hard, allow_pickle=False)["counts"]
        lines += ["", "Latency against the entropy of people's answers, Spearman's ρ, first seed:", ""]
        for name, folder in folders.items():
            found = ", ".join(f"{variant} {fisher(*rho)}" for variant, rho in human(folder, counts).items())
            lines.append(f"- {name}: {found}")
    text = "\n".join(lines) + "\n"
    (Path(given.out) / "instance_awareness.md").write_text(text)
    print(text)
    draw(results, Path(given.out) / "instance_awareness.svg")


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Accuracy against wall-clock, one panel a clock: all families of the run with every baseline, and of the other
    runs what decides by image. Random policies, which nobody times, stand where the latency table puts them."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    from archipel.report import theme

    figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
    for axis, clock, title in zip(axes, ("measured_ms", "batch_ms"), ("one image at a time", "in a batch")):
        for number, (name, result) in enumerate(results.items()):
            for kind in dict.fromkeys(point["kind"] for point in result["points"]):
                look = theme.kind(kind)
                ours = look.ours or kind.endswith(("_cascade", "_exit"))
                if name != "default" and not ours:
                    continue
                of_it = [point for point in result["points"] if point["kind"] == kind]
                told = "table_ms" if kind == "random_policy" and axis is axes[0] else clock
                points = sorted((p for p in of_it if p.get(told)), key=lambda p: p[told]["mean"])
                colour = theme.LIGHT.get(look.colour, "#566270") if name == "default" else f"C{number}"
                label = look.label if name == "default" else f"{name}: {look.label}"
                axis.plot(
                    [point[told]["mean"] for point in points],
                    [100 * point["accuracy"]["mean"] for point in points],
                    marker=look.marker, color=colour, linestyle="-" if look.joined else "", linewidth=0.8, markersize=6,
                    label=label if axis is axes[0] else None,
                )  # fmt: skip
        axis.set_xlabel(f"milliseconds an image, {title}")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("test accuracy, %")
    figure.legend(loc="outside right upper", fontsize="x-small")
    figure.tight_layout(rect=(0, 0, 0.8, 1))
    figure.savefig(path)


if __name__ == "__main__":
    main()
