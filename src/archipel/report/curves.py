"""How pre-training and search went: one small figure for one question, per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from archipel.report import theme
from archipel.report.labels import ends, text_size
from archipel.report.run_folder import RunFolder, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SeedCurves", "pretraining", "search"]

SIZES = ((470.0, 270.0), (340.0, 240.0))
_MARGINS = {"left": 46.0, "right": 92.0, "top": 30.0, "bottom": 40.0}


@dataclass(frozen=True)
class SeedCurves:
    """The search of one seed."""

    seed: str
    panels: list[theme.Panel]


@dataclass(frozen=True)
class _Line:
    key: str
    name: str
    colour: str
    dashes: str = "-"


@dataclass(frozen=True)
class _Question:
    """One figure: lines of one unit on one scale, or `stacked`, each on its own.

    `band` names two curves and the area between them; `share` shows 0–1 as per cent.
    """

    title: str
    unit: str
    lines: tuple[_Line, ...]
    sentence: str
    stacked: bool = False
    share: bool = False
    band: tuple[str, str, str] | None = None


_PRETRAINING = (
    _Question(
        "Pre-training: accuracy",
        "share, %",
        (
            _Line("val_all_on", "all options on", "accent"),
            _Line("val_random", "random", "ink"),
            _Line("keep", "options kept", "soft", ":"),
        ),
        "Validation accuracy with all options on and with random options dropped; the dotted line is the share of "
        "options that the drop schedule keeps.",
        share=True,
    ),
    _Question(
        "Pre-training: loss",
        "training loss",
        (_Line("loss", "loss", "accent"),),
        "Mean training loss of each epoch of pre-training.",
    ),
)
_SEARCH = (
    _Question(
        "Latency and window",
        "latency, ms",
        (_Line("sampled_ms", "sampled", "soft"), _Line("map_ms", "MAP", "accent")),
        "The band is where the latency reward is positive; sampled and MAP (thresholded) architectures should "
        "follow it down.",
        band=("window_low", "window_high", "window"),
    ),
    _Question(
        "Validation accuracy",
        "validation accuracy, %",
        (_Line("val_accuracy", "MAP", "accent"),),
        "Accuracy of the MAP architectures on the validation split.",
        share=True,
    ),
    _Question(
        "Reward",
        "",
        (
            _Line("reward", "mean reward", "accent"),
            _Line("positive_share", "share of rewards above 0", "ink"),
            _Line("alpha", "exploration α", "soft"),
        ),
        "Where hardly any sampled architecture earns a positive reward the controller learns nothing (a dead window).",
        stacked=True,
    ),
    _Question(
        "Diversity",
        "",
        (
            _Line("distinct", "distinct architectures", "accent"),
            _Line("varying_bits", "bits that vary between images", "ink"),
            _Line("entropy", "entropy of the policy", "soft"),
            _Line("bn_drift", "batch-norm drift", "soft"),
        ),
        "Distinct MAP architectures falling towards 1 and varying bits towards 0 would mean one network for all "
        "images.",
        stacked=True,
    ),
)


def pretraining(run: RunFolder) -> list[theme.Panel]:
    """Loss, and accuracy beside the share of options kept; empty when the run holds no such curves."""
    curves = run.part("curves").get("pretraining")
    return _panels(curves, _PRETRAINING, "pretraining", {}) if isinstance(curves, Mapping) else []


def search(run: RunFolder) -> list[SeedCurves]:
    """The curves of every seed's search."""
    rows = run.part("curves").get("search")
    found = []
    for number, curves in enumerate(rows if isinstance(rows, list) else []):
        if not isinstance(curves, Mapping):
            continue
        chosen = {
            str(name): float(epoch)
            for name, epoch in (curves.get("chosen") or {}).items()
            if isinstance(epoch, int | float)
        }
        if panels := _panels(curves, _SEARCH, f"search-{number}", chosen):
            found.append(SeedCurves(str(curves.get("seed", number)), panels))
    return found


def _panels(
    curves: Mapping[str, Any], questions: Sequence[_Question], name: str, chosen: Mapping[str, float]
) -> list[theme.Panel]:
    made = []
    for question in questions:
        pictures = []
        for size in SIZES:
            fig = (_stacked if question.stacked else _lines)(curves, question, chosen, size)
            if fig is not None:
                words = f"{question.title}: {question.sentence}"
                pictures.append(theme.page_svg(fig, name=f"{name}-{question.title}-{size[0]:.0f}", label=words))
        if pictures:
            sentence = question.sentence
            if chosen and question.band:
                sentence += " Upright lines, here and in the other figures, are the epochs chosen for the variants."
            made.append(theme.Panel(question.title, pictures[0], sentence, pictures[1]))
    return made


def _paired(curves: Mapping[str, Any], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values as far as both go, without holes; empty where the curve is absent."""
    x, y = numbers(curves.get("epoch")), numbers(curves.get(key))
    length = min(len(x), len(y))
    x, y = x[:length], y[:length]
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _lines(
    curves: Mapping[str, Any], question: _Question, chosen: Mapping[str, float], size: tuple[float, float]
) -> Figure | None:
    present = [(line, x, y) for line in question.lines for x, y in [_paired(curves, line.key)] if len(x)]
    if not present:
        return None
    palette = theme.SENTINEL
    fig = theme.figure(*size)
    ax = theme.axes(fig, palette, **_MARGINS)  # type: ignore[arg-type]
    named = []
    if band := question.band:
        (x, low), (x_high, high) = _paired(curves, band[0]), _paired(curves, band[1])
        if len(x) and len(x) == len(x_high):
            ax.fill_between(x, low, high, color=palette["tint"], linewidth=0, zorder=1)
            named.append((float((low[-1] + high[-1]) / 2), band[2], "soft"))
    for line, x, y in present:
        scale = 100.0 if question.share else 1.0
        _draw(ax, x, scale * y, line, palette)
        named.append((scale * float(y[-1]), line.name, line.colour))
    if question.share:
        low_end, high_end = ax.get_ylim()
        ax.set_ylim(max(low_end, 0), min(high_end, 101))
    _finish(ax, palette, present, question.unit, chosen)
    ends(ax, palette, named)
    return fig


def _stacked(
    curves: Mapping[str, Any], question: _Question, chosen: Mapping[str, float], size: tuple[float, float]
) -> Figure | None:
    """Curves of different units above each other, each with its own scale."""
    present = [(line, x, y) for line in question.lines for x, y in [_paired(curves, line.key)] if len(x)]
    if not present:
        return None
    from matplotlib.ticker import MaxNLocator

    palette = theme.SENTINEL
    row = max((size[1] - 40) / len(present), 68.0)
    height = row * len(present) + 40
    fig = theme.figure(size[0], height)
    for i, (line, x, y) in enumerate(present):
        ax = theme.axes(fig, palette, left=46, right=14, top=row * i + 26, bottom=40 + row * (len(present) - 1 - i))
        _draw(ax, x, y, line, palette)
        ax.set_title(line.name, loc="left", fontsize=11, color=palette[line.colour], pad=5)
        ax.yaxis.set_major_locator(MaxNLocator(3))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        pad = 0.12 * (float(np.ptp(y)) or abs(float(y[0])) or 1.0)
        ax.set_ylim(float(y.min()) - pad, float(y.max()) + pad)
        _mark(ax, palette, chosen, named=False)
        if i < len(present) - 1:
            ax.set_xticklabels([])
        else:
            ax.set_xlabel("epoch")
    return fig


def _draw(ax: Axes, x: np.ndarray, y: np.ndarray, line: _Line, palette: theme.Palette) -> None:
    ax.plot(x, y, line.dashes, color=palette[line.colour], linewidth=1.7, zorder=3, solid_capstyle="round")
    if len(x) == 1:
        ax.plot(x, y, "o", color=palette[line.colour], markersize=5)


def _finish(
    ax: Axes,
    palette: theme.Palette,
    present: Sequence[tuple[_Line, np.ndarray, np.ndarray]],
    ylabel: str,
    chosen: Mapping[str, float],
) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = min(float(x[0]) for _, x, _ in present), max(float(x[-1]) for _, x, _ in present)
    if last > first:
        ax.set_xlim(first, last)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("epoch")
    ax.set_title(ylabel, loc="left", fontsize=11, color=palette["soft"], pad=15 if chosen else 8, x=-0.14)
    _mark(ax, palette, chosen, named=True)


def _mark(ax: Axes, palette: theme.Palette, chosen: Mapping[str, float], *, named: bool) -> None:
    """Upright lines at the chosen epochs; names above them, joined where the epochs are too close."""
    groups: list[tuple[list[float], list[str]]] = []
    for name, epoch in sorted(chosen.items(), key=lambda item: item[1]):
        ax.axvline(epoch, color=palette["faint"], linewidth=0.9, zorder=2)
        if groups:
            before = float(ax.transData.transform((float(np.mean(groups[-1][0])), 0))[0])
            here = float(ax.transData.transform((epoch, 0))[0])
            reach = text_size(" ".join(groups[-1][1]), 10.5)[0] / 2 + text_size(name, 10.5)[0]
            if here - before < reach:
                groups[-1][0].append(epoch)
                groups[-1][1].append(name)
                continue
        groups.append(([epoch], [name]))
    for epochs, names in groups if named else ():
        ax.text(
            float(np.mean(epochs)),
            1.02,
            " ".join(names),
            transform=ax.get_xaxis_transform(),
            ha="center",
            fontsize=10.5,
            fontweight="bold",
            color=palette["instanas"],
        )
