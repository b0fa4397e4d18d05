"""How well the latency table predicts what the device measures."""

from __future__ import annotations

import numpy as np

from archipel.report import theme
from archipel.report.run_folder import RunFolder
from archipel.report.wording import milliseconds

__all__ = ["facts", "panel"]


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """(what, value) for each number of the comparison that the run holds."""
    fidelity = run.part("fidelity")

    def number(key: str) -> float | None:
        value = fidelity.get(key)
        return float(value) if isinstance(value, int | float) and np.isfinite(value) else None

    mape, tau, coverage = number("mape"), number("tau"), number("coverage")
    nominal, controller, base = number("nominal"), number("controller_ms"), number("base_ms")
    found = [
        ("mean absolute error", mape is not None and f"{mape:.1f} %"),
        ("Kendall’s τ", tau is not None and f"{tau:.2f}".replace("-", "−")),
        (
            f"inside the {nominal:.0f} % interval" if nominal is not None else "inside the interval",
            coverage is not None and f"{coverage:.0f} %",
        ),
        ("architectures measured", number("n") is not None and f"{number('n'):.0f}"),
        ("controller", controller is not None and milliseconds(controller)),
        ("fixed part", base is not None and milliseconds(base)),
    ]
    return [(name, value) for name, value in found if value]


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
    worst = float((np.abs(pairs[:, 0] - pairs[:, 1]) / pairs[:, 1]).max()) if (pairs[:, 1] > 0).all() else None
    sentence = (
        f"Each dot is one of {len(pairs)} sampled architectures, predicted by the table and measured on the device; "
        "on the line both agree" + (f"; the worst is off by {100 * worst:.1f} %." if worst is not None else ".")
    )
    return theme.Panel(
        "Predicted and measured",
        theme.page_svg(fig, name="fidelity", label="Scatter plot of measured against predicted latency."),
        sentence,
    )
