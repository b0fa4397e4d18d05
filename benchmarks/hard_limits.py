"""Whether networks searched for a latency limit stay below it when they are measured again.

    python benchmarks/hard_limits.py --out RUNS [--searches 20 --level 0.95]

One latency table on digits, then so many short ProxylessNAS searches (`archipel search proxylessnas`), each with a seed
of its own and one budget drawn from the range of the space, all on that table. Only latency is asked about: networks
are trained for one epoch. Searches that are there are read, so it can be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

FAST = [
    "--preset=digits", "--images=700", "--test-images=200", "--threads=1", "--seeds=1", "--quiet", "--jobs.workers=1",
    "--warming.epochs=2", "--joint.epochs=4", "--retraining.epochs=1", "--baselines.no-random",
    "--baselines.mobilenet=0.25",
]  # fmt: skip


def search(folder: Path, *words: str) -> dict[str, Any]:
    """The result of a search, done now where it is not there."""
    if not (folder / "result.json").exists():
        program = [sys.executable, "-c", "import sys; from archipel.cli.app import main; sys.exit(main())"]
        asked = ["search", "proxylessnas", *FAST, *words, "--out", str(folder)]
        subprocess.run([*program, *asked], check=True, stdout=subprocess.DEVNULL)
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--level", type=float, default=0.95, help="of the interval whose upper end has to fit")
    given = parser.parse_args()
    level = f"--derivation.level={given.level}"
    first = search(given.out / "table", level, "--derivation.budgets", "0.001", "1.0")
    (table,) = first["tables"]
    low, high = table["budgets_ms"]
    chance, over, inside = random.Random(11), [], 0
    for number in range(given.searches):
        budget = low + chance.random() * (high - low)
        known = ["--table", str(given.out / "table" / "latency" / "cpu.json"), "--budget-ms", f"{budget:.5f}"]
        result = search(given.out / f"search-{number}", level, *known, f"--seed={number}")
        ms = next(p for p in result["points"] if p["kind"] == "proxylessnas")["measured_ms"]["mean"]
        derived = result["searches"][0]["derived"][0]
        over.append(ms / budget - 1)
        inside += derived["low_ms"] <= ms <= derived["high_ms"]
        print(f"{number}: budget {budget:.3f} ms, measured {ms:.3f} ({100 * over[-1]:+.1f} %)", flush=True)
    above = sum(share > 0 for share in over)
    print(f"{above} of {len(over)} above their budget, worst {100 * max(over):+.1f} %; {inside} inside their interval")
    print(f"table: {table['fidelity']['mape']:.1f} % off, τ {table['fidelity']['tau']:.2f}")


if __name__ == "__main__":
    main()
