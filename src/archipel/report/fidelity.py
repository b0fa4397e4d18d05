"""How well the latency table predicts what the device measures."""

from __future__ import annotations

import numpy as np

from archipel.report import theme
from archipel.report.run_folder import RunFolder, is_number
from archipel.report.wording import milliseconds

__all__ = ["facts", "panel"]


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """(what, value) for each number of the comparison that the run holds."""
    fidelity = run.part("fidelity")
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


def panel(run: RunFolder) -> theme.Panel | None:
    """Predicted against measured latency with the diagonal; None when the run holds no pairs."""
    raw = run.part("fidelity").get("pairs")
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
        f"Each dot is one of {len(pairs)} networks the table had not seen, predicted by it and measured on the device; "
        "on the line both agree"
    )
    if (pairs[:, 1] > 0).all():
        worst = float((np.abs(pairs[:, 0] - pairs[:, 1]) / pairs[:, 1]).max())
        sentence += f"; the worst prediction is off by {100 * worst:.1f} %"
    sentence += "."
    return theme.Panel(
        "Predicted and measured",
        theme.page_svg(fig, name="fidelity", label="Scatter plot of measured against predicted latency."),
        sentence,
    )
