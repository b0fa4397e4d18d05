"""How pre-training and search of InstaNAS went, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        "Latency and targets",
        "latency, ms",
        (Line("fast_ms", "for low targets", "accent"), Line("slow_ms", "for high ones", "ink")),
        "Mean latency of the thresholded architectures for the faster and the slower half of the targets, which are "
        "drawn from the band: where targets are heeded the lines part.",
        band=("window_low", "window_high", "targets"),
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
            Line("multiplier", "price of exceeding the target, λ", "soft"),
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


_ASKED = (
    Question(
        "What a target gives",
        "picked, ms",
        (Line("map_ms", "picked", "accent"), Line("target_ms", "asked for", "faint", ":")),
        "At the end of the search the controller is asked for one latency after the other: mean latency of what it "
        "picks for the validation images. Upright lines are the variants.",
        axis=("target_ms", "target, ms"),
    ),
    Question(
        "What a target costs",
        "validation accuracy, %",
        (Line("val_accuracy", "accuracy", "accent", share=True),),
        "Accuracy on the validation split for each target, before fine-tuning.",
        axis=("target_ms", "target, ms"),
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
        asked = curves.get("asked")
        left_out = "Latency and window" if isinstance(asked, Mapping) else "Latency and targets"
        questions = [question for question in _SEARCH if question.title != left_out]
        made = panels([curves], questions, f"search-{number}", chosen=_marks(curves, "chosen"))
        if isinstance(asked, Mapping):
            made += panels([asked], _ASKED, f"asked-{number}", chosen=_marks(curves, "targets"))
        if made:
            found.append(Group(f"Search, seed {curves.get('seed', number)}", made))
    return found


def _marks(curves: Mapping[str, Any], key: str) -> dict[str, float]:
    """Variant → where it stands along the axis."""
    return {
        str(name): float(place) for name, place in (curves.get(key) or {}).items() if isinstance(place, int | float)
    }
