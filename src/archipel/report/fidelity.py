"""How well a latency table predicts what the device measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archipel.report import theme
from archipel.report.run_folder import RunFolder, is_number
from archipel.report.search_run import Target
from archipel.report.wording import milliseconds

__all__ = ["Judged", "facts", "judged", "panel", "run_table"]

_NOTHING = "The run holds no measured architectures to compare the table with."


@dataclass(frozen=True)
class Judged:
    """One latency table: its numbers, its picture, or why there are none."""

    name: str | None
    """Device; None where a run knows but one."""
    facts: list[tuple[str, str]]
    panel: theme.Panel | None
    absent: str = _NOTHING


def run_table(run: RunFolder) -> list[Judged]:
    """The table of a run that has one."""
    fidelity = run.part("fidelity")
    return [Judged(None, facts(fidelity), panel(fidelity))]


def judged(targets: Sequence[Target]) -> list[Judged]:
    """The table of every device."""
    if not targets:
        return [Judged(None, [], None)]
    return [
        Judged(
            target.label,
            facts(target.fidelity),
            panel(target.fidelity, name=str(number), batch=target.batch),
            "A published table: the run measured nothing on this device." if target.published else _NOTHING,
        )
        for number, target in enumerate(targets)
    ]


def facts(fidelity: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, value) for each number of the comparison that the run holds."""
    known = {key: float(value) for key, value in fidelity.items() if is_number(value)}
    inside = f"inside the {known['nominal']:.0f} % interval" if "nominal" in known else "inside the interval"
    shown = [
        ("mape", "mean error", lambda v: f"{v:.1f} %"),
        ("median_error", "median error", lambda v: f"{v:.1f} %"),
        ("worst_error", "worst error", lambda v: f"{v:.1f} %"),
        ("tau", "Kendall’s τ", lambda v: f"{v:.2f}".replace("-", "−")),
        ("coverage", inside, lambda v: f"{v:.0f} %"),
        ("n", "networks measured", lambda v: f"{v:.0f}"),
        ("controller_ms", "controller", milliseconds),
        ("base_ms", "fixed part", milliseconds),
    ]
    found = [(name, text(known[key])) for key, name, text in shown if key in known]
    if known.get("speed", 1.0) != 1.0:
        found.append(("machine’s time, now over then", f"× {known['speed']:.2f}"))
        if "mape_uncorrected" in known:
            found.append(("mean error without that correction", f"{known['mape_uncorrected']:.1f} %"))
    return found


def panel(fidelity: Mapping[str, Any], *, name: str = "", batch: int = 1) -> theme.Panel | None:
    """Predicted against measured latency with the diagonal; None when the run holds no pairs.

    Args:
        name: sets the figure apart from others of the page.
        batch: images in a pass; pairs are milliseconds a pass.
    """
    raw = fidelity.get("pairs")
    pairs = np.array(
        [
            pair
            for pair in (raw if isinstance(raw, list) else [])
            if isinstance(pair, list) and len(pair) == 2 and all(isinstance(v, int | float) for v in pair)
        ],
        dtype=np.float64,
    )
    if not len(pairs):
        return None
    palette = theme.SENTINEL
    fig = theme.figure(400, 360)
    ax = theme.axes(fig, palette, left=52, top=30, bottom=42, grid="both")
    low, high = float(pairs.min()), float(pairs.max())
    pad = 0.06 * (high - low or high or 1.0)
    ends = (low - pad, high + pad)
    ax.plot(ends, ends, color=palette["faint"], linewidth=1, zorder=2)
    ax.plot(pairs[:, 0], pairs[:, 1], "o", color=palette["accent"], markersize=5.5, alpha=0.75, markeredgewidth=0)
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_xlabel("predicted by the table, ms")
    ax.set_title("measured, ms", loc="left", fontsize=11.5, color=palette["soft"], pad=10, x=-0.14)
    sentence = (
        f"Each dot is one of {len(pairs)} networks the table had not seen, predicted by it and measured on the device"
        f"{f' in passes of {batch} images' if batch > 1 else ''}; on the line both agree"
    )
    if (pairs[:, 1] > 0).all():
        worst = float((np.abs(pairs[:, 0] - pairs[:, 1]) / pairs[:, 1]).max())
        sentence += f"; the worst prediction is off by {100 * worst:.1f} %"
    sentence += "."
    return theme.Panel(
        "Predicted and measured",
        theme.page_svg(fig, name=f"fidelity{name}", label="Scatter plot of measured against predicted latency."),
        sentence,
    )
