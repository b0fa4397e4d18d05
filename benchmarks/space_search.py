"""Whether it pays to evolve the space that is searched: ProxylessNAS in an evolved, a random and a hand-made one.

    python benchmarks/space_search.py --data CIFAR10 --out RUNS [--images 6000 --seeds 3 --budgets 0.7 1.0]
        [--evolving --evolution.iterations=40 …] [--searching --joint.epochs=8 …] [--comparing --training.epochs=3 …]

Each seed has data splits of its own, on which a space is evolved (`archipel evolve`). Beside it stand random cells, as
many in each block and below the same cap, and the blocks of MobileNetV2 that ProxylessNAS has (`proxyless`), in the
same skeleton at the same width; and the widest MobileNetV2 within each budget. In each of the three spaces `archipel
search proxylessnas` finds a network for every budget of multiply-adds, given as shares of what the network of reference
cells has, with the same settings, and trains it from scratch; and `archipel space compare` trains random networks below
the largest budget. Every step is a run in a folder of its own under RUNS: what is there is read, and what was begun
goes on, so it can be stopped and started again at any time. Two runs at a time with `--parallel 2`, one thread each.

Writes `space_search.md` and `space_search.svg` into RUNS: accuracy on the test images with 95 % intervals over seeds,
differences by seed, and the distributions of errors of each kind of space, all seeds together, with the
Kolmogorov-Smirnov distance and its bootstrap interval.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archipel.recipes.result import figure

KINDS = ("evolved", "random", "hand-made")
PROGRAM = [sys.executable, "-c", "import sys; from archipel.cli.app import main; sys.exit(main())"]


@dataclass(frozen=True)
class Study:
    given: argparse.Namespace

    @property
    def out(self) -> Path:
        return Path(self.given.out)

    @property
    def seeds(self) -> range:
        return range(self.given.seeds)

    def finished(self, name: str, command: Sequence[str], words: Iterable[str]) -> dict[str, Any]:
        """The result of a run, made or gone on with where it is not there."""
        folder = self.out / name
        if not (folder / "result.json").exists():
            begun = (folder / "config.yaml").exists()
            asked = [*command, "--resume", str(folder)] if begun else [*command, *words, "--out", str(folder)]
            print(f"{name}: archipel {' '.join(asked)}", flush=True)
            subprocess.run([*PROGRAM, *asked, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        content: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return content

    def shared(self, seed: int) -> list[str]:
        own = self.given
        asked = [f"--data={own.data}", f"--seed={seed}", "--threads=1", "--jobs.workers=1"]
        sizes = {"images": own.images, "test-images": own.test_images, "size": own.size}
        return [*asked, *(f"--{name}={value}" for name, value in sizes.items() if value is not None)]

    def evolution(self, seed: int) -> dict[str, Any]:
        skeleton = [f"--network.width={self.given.width}", f"--network.macro={self.given.macro}"]
        words = [*self.shared(seed), *self.preset, "--seeds=1", *skeleton, *self.given.evolving]
        return self.finished(f"evolution-{seed}", ["evolve"], words)

    @property
    def preset(self) -> list[str]:
        return [] if self.given.preset is None else [f"--preset={self.given.preset}"]

    def space(self, kind: str, seed: int) -> str:
        """What stands behind `--space`."""
        return "proxyless" if kind == "hand-made" else str(self.out / f"evolution-{seed}" / f"{kind}-0.json")

    def budgets(self) -> list[float]:
        """Multiply-adds of one image, ascending: the same for all seeds, whose skeletons are alike."""
        reference = self.evolution(0)["madds"]["reference"]["mean"]
        return sorted(round(share * reference) for share in self.given.budgets)

    def search(self, kind: str, seed: int) -> dict[str, Any]:
        words = [
            *self.shared(seed), *self.preset, "--seeds=1", f"--space={self.space(kind, seed)}", "--baselines.no-random",
            f"--network.width={self.given.width}", f"--network.macro={self.given.macro}", "--budget-madds",
            *(f"{budget:.0f}" for budget in self.budgets()), *self.given.searching,
        ]  # fmt: skip
        if kind != "hand-made":  # MobileNetV2 once a seed is enough
            alone = self.out / "alone.yaml"
            alone.write_text("baselines: {mobilenet: []}\n")
            words.append(f"--config={alone}")
        return self.finished(f"search-{kind}-{seed}", ["search", "proxylessnas"], words)

    def comparison(self, seed: int) -> dict[str, Any]:
        """Random networks of this seed's spaces: a third of all, with three seeds."""
        count = -(-self.given.networks // self.given.seeds)
        words = [
            *(self.space(kind, seed) for kind in KINDS), *self.shared(seed), f"--option.width={self.given.width}",
            f"--option.macro={self.given.macro}", f"--sampling.networks={count}",
            f"--sampling.most-madds={self.budgets()[-1]}", *self.given.comparing,
        ]  # fmt: skip
        return self.finished(f"samples-{seed}", ["space", "compare"], words)

    def pooled(self) -> dict[str, Any]:
        """The samples of all seeds, kind against kind."""
        folder = self.out / "pooled"
        files = []
        for kind, name in zip(KINDS, ("evolved-0", "random-0", "proxyless")):
            texts = [(self.out / f"samples-{s}" / f"samples-{name}.csv").read_text() for s in self.seeds]
            rows = [list(csv.reader(text.splitlines())) for text in texts]
            files.append(self.out / f"{kind}.csv")
            with files[-1].open("w", newline="") as stream:
                csv.writer(stream).writerows([rows[0][0], *(row for each in rows for row in each[1:])])
        return self.finished(folder.name, ["space", "compare"], map(str, files))

    def everything(self) -> None:
        """Whatever is not there yet, runs that need nothing of each other side by side."""
        with ThreadPoolExecutor(self.given.parallel) as pool:
            list(pool.map(self.evolution, self.seeds))
            jobs = [pool.submit(self.search, kind, seed) for seed in self.seeds for kind in KINDS]
            jobs += [pool.submit(self.comparison, seed) for seed in self.seeds]
            for job in jobs:
                job.result()


PLAIN = "MobileNetV2"


def accuracies(study: Study) -> dict[tuple[str, int], list[float]]:
    """(kind or `PLAIN`, budget's place) → test accuracy of each seed, 0 to 1."""
    found: dict[tuple[str, int], list[float]] = {}
    budgets = study.budgets()
    for kind in KINDS:
        for seed in study.seeds:
            for point in study.search(kind, seed)["points"]:
                name = {"proxylessnas": kind, "mobilenet_v2": PLAIN}[point["kind"]]
                place = budgets.index(round(point["budget_madds"]))
                found.setdefault((name, place), []).append(point["accuracy"]["mean"])
    return found


def taken(study: Study, kind: str, place: int) -> list[float]:
    """Of the blocks of the networks found the shares that are the reference, a depthwise 3×3 between two 1×1, and that
    were left out."""
    blocks: list[str] = []
    for seed in study.seeds:
        (search,) = study.search(kind, seed)["searches"]
        derived = sorted(search["derived"], key=lambda row: row["budget_madds"])[place]
        blocks += derived["architecture"].values()
    return [sum(block.startswith(names) for block in blocks) / len(blocks) for names in (REFERENCE, ("zero",))]


REFERENCE = ("k3e", "103001d1")
"""How names of options of the three spaces begin."""


def told(value: Mapping[str, Any] | None, scale: float = 100.0, sign: str = "") -> str:
    """`57.1 ± 2.4`, or `+1.0 [−0.5, +3.3]` where a sign is asked for."""
    if value is None:
        return "–"
    if sign:
        return f"{scale * value['mean']:+.1f} [{scale * value['low']:+.1f}, {scale * value['high']:+.1f}]"
    return f"{scale * value['mean']:.1f} ± {scale * (value['high'] - value['low']) / 2:.1f}"


def tables(study: Study) -> str:
    """What was found, in Markdown."""
    found, budgets = accuracies(study), study.budgets()
    lines = [
        f"{study.given.seeds} seeds, {study.given.images} images of {study.given.data}; 95 % intervals over seeds.", "",
        "| budget, M MAdds | space | test accuracy, % | less the random space's | less the hand-made one's | "
        "blocks that are the reference, % | left out, % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for place, budget in enumerate(budgets):
        for kind in KINDS:
            own = found[kind, place]
            less = [figure([a - b for a, b in zip(own, found[other, place])]) for other in KINDS[1:]]
            differences = [
                told(value, sign="+") if kind != other and KINDS.index(kind) < KINDS.index(other) else ""
                for value, other in zip(less, KINDS[1:])
            ]
            shares = [f"{100 * share:.0f}" for share in taken(study, kind, place)]
            cells = [f"{budget / 1e6:.3g}", kind, told(figure(own)), *differences, *shares]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append(
            f"| {budget / 1e6:.3g} | {PLAIN}, not searched | {told(figure(found.get((PLAIN, place), [])))} | | | | |"
        )
    pooled = study.pooled()
    lines += [
        "", f"Random networks of at most {budgets[-1] / 1e6:.3g} M MAdds, all seeds together; bootstrap intervals.", "",
        "| space | networks | mean error, % | least, % | at equal cost, % | mean M MAdds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in pooled["spaces"]:
        equal = "–" if row["mean_equalised"] is None else f"{100 * row['mean_equalised']:.2f}"
        cells = [row["name"], str(row["n"]), bounds(row["mean"]), f"{100 * row['least']:.2f}", equal]
        lines.append(f"| {' | '.join([*cells, format(row['cost'] / 1e6, '.3g')])} |")
    lines += [
        "", "| spaces | mean errors, difference in points | Kolmogorov-Smirnov D | p | D at equal cost |",
        "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    names = [row["name"] for row in pooled["spaces"]]
    for pair in pooled["pairs"]:
        low, high = pair["distance_interval"]
        equal = "–" if pair["distance_equalised"] is None else f"{pair['distance_equalised']:.2f}"
        cells = [f"{names[pair['first']]} – {names[pair['second']]}", bounds(pair["mean_difference"], sign="+")]
        cells += [f"{pair['distance']:.2f} [{low:.2f}, {high:.2f}]", f"{pair['p']:.2g}", equal]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def bounds(value: Mapping[str, float], sign: str = "") -> str:
    mean, low, high = (f"{100 * value[key]:{sign}.2f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def draw(study: Study) -> None:
    """Accuracy at each budget, and the distributions of errors."""
    import matplotlib.pyplot as plt

    found, budgets, pooled = accuracies(study), study.budgets(), study.pooled()
    picture, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    for number, kind in enumerate(KINDS):
        figures = [figure(found[kind, place]) or {} for place in range(len(budgets))]
        means = [100 * each["mean"] for each in figures]
        ends = [[abs(100 * each[end] - mean) for each, mean in zip(figures, means)] for end in ("low", "high")]
        at = [budget / 1e6 * (1 + 0.01 * (number - 1)) for budget in budgets]
        left.errorbar(at, means, yerr=ends, marker="o", capsize=3, label=kind)
        edf = pooled["spaces"][number]["edf"]
        right.step([100 * error for error in edf["error"]], edf["share"], where="post", label=kind)
    left.set_xlabel("budget, million multiply-adds an image")
    left.set_ylabel("test accuracy of networks found, %")
    right.set_xlabel("validation error of random networks, %")
    right.set_ylabel("share of networks with at most this error")
    left.legend()
    right.legend()
    picture.tight_layout()
    picture.savefig(study.out / "space_search.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--preset", default=None, help="of the evolution and the searches; what fits the data if not given"
    )
    parser.add_argument(
        "--width", type=float, default=0.5, help="multiplier of all channel counts, in all three spaces"
    )
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=[0.7, 1.0], help="shares of the reference network's"
    )
    parser.add_argument("--macro", default="light", help="skeleton of all three spaces")
    parser.add_argument("--networks", type=int, default=30, help="random ones of each kind of space, over all seeds")
    parser.add_argument("--parallel", type=int, default=2, help="runs side by side")
    for name in ("evolving", "searching", "comparing"):
        parser.add_argument(
            f"--{name}", action="append", default=[], help="a setting of these runs, such as --jobs.workers=1"
        )
    given = parser.parse_args()
    study = Study(given)
    study.everything()
    text = tables(study)
    (study.out / "space_search.md").write_text(text)
    draw(study)
    print(text)


if __name__ == "__main__":
    main()
