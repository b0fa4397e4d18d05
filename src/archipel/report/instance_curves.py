"""How pre-training and search of InstaNAS went, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping

from archipel.report import theme
from archipel.report.curves import Group, Line, Question, panels
from archipel.report.run_folder import RunFolder

__all__ = ["pretraining", "search"]

_PRETRAINING = (
    Question(
        "Pre-training: accuracy",
        "share, %",
        (
            Line("val_all_on", "all options on", "accent", share=True),
            Line("val_random", "random", "ink", share=True),
            Line("keep", "options kept", "soft", ":", share=True),
        ),
        "Validation accuracy with all options on and with random options dropped; the dotted line is the share of "
        "options that the drop schedule keeps.",
    ),
    Question(
        "Pre-training: loss",
        "training loss",
        (Line("loss", "loss", "accent"),),
        "Mean training loss of each epoch of pre-training.",
    ),
)
_SEARCH = (
    Question(
        "Latency and window",
        "latency, ms",
        (Line("sampled_ms", "sampled", "soft"), Line("map_ms", "MAP", "accent")),
        "The band is where the latency reward is positive; sampled and MAP (thresholded) architectures should "
        "follow it down.",
        band=("window_low", "window_high", "window"),
    ),
    Question(
        "Validation accuracy",
        "validation accuracy, %",
        (Line("val_accuracy", "MAP", "accent", share=True),),
        "Accuracy of the MAP architectures on the validation split.",
    ),
    Question(
        "Reward",
        "",
        (
            Line("reward", "mean reward", "accent"),
            Line("positive_share", "share of rewards above 0", "ink"),
            Line("alpha", "exploration α", "soft"),
        ),
        "Where hardly any sampled architecture earns a positive reward the controller learns nothing (a dead window).",
        stacked=True,
    ),
    Question(
        "Diversity",
        "",
        (
            Line("distinct", "distinct architectures", "accent"),
            Line("varying_bits", "bits that vary between images", "ink"),
            Line("entropy", "entropy of the policy", "soft"),
            Line("bn_drift", "batch-norm drift", "soft"),
        ),
        "Distinct MAP architectures falling towards 1 and varying bits towards 0 would mean one network for all "
        "images.",
        stacked=True,
    ),
)


def pretraining(run: RunFolder) -> list[theme.Panel]:
    """Loss, and accuracy beside the share of options kept; empty when the run holds no such curves."""
    curves = run.part("curves").get("pretraining")
    return panels([curves], _PRETRAINING, "pretraining") if isinstance(curves, Mapping) else []


def search(run: RunFolder) -> list[Group]:
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
        if made := panels([curves], _SEARCH, f"search-{number}", chosen=chosen):
            found.append(Group(f"Search, seed {curves.get('seed', number)}", made))
    return found
