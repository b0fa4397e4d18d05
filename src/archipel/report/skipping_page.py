"""What the page of a method that leaves out blocks shows: that of an instance-aware run, with its own curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archipel.report import instance_page
from archipel.report.curves import Group, Line, Question, panels
from archipel.report.run_folder import RunFolder

__all__ = ["WATCHED", "context"]

WATCHED = (("collapse", "all images being given the same blocks, so that the network is a static one"),)

_QUESTIONS = (
    Question(
        "What is used",
        "share, %",
        (
            Line("use", "sampled", "soft", share=True),
            Line("map_use", "picked", "accent", share=True),
            Line("rate", "sampled", "soft", share=True),
            Line("map_rate", "picked", "accent", share=True),
        ),
        "The share of the network that images use: as sampled in training, and as picked on the validation split.",
    ),
    Question(
        "Latency",
        "latency, ms",
        (Line("map_ms", "picked", "accent"),),
        "By the latency table, what picks the blocks included.",
    ),
    Question(
        "Validation accuracy",
        "validation accuracy, %",
        (Line("val_accuracy", "picked", "accent", share=True),),
        "Accuracy with the blocks that are picked, on the validation split.",
    ),
    Question(
        "Learning and diversity",
        "",
        (
            Line("reward", "mean reward", "accent"),
            Line("loss", "training loss", "accent"),
            Line("distinct", "distinct architectures", "ink"),
            Line("varying_bits", "blocks that vary between images", "soft"),
        ),
        "Blocks that vary falling towards 0 would mean one network for all images.",
        stacked=True,
    ),
)
_WHOLE = (
    Question(
        "The whole network", "training loss", (Line("loss", "loss", "accent"),), "Trained first, with every block on."
    ),
)


def context(run: RunFolder) -> dict[str, Any]:
    """What `instance.html.j2` needs."""
    curves = run.part("curves")
    whole, trainings = curves.get("pretraining"), curves.get("search")
    groups = []
    for number, rows in enumerate(trainings if isinstance(trainings, list) else []):
        if isinstance(rows, Mapping) and (made := panels([rows], _QUESTIONS, f"training-{number}")):
            groups.append(Group(f"{rows.get('name', 'Training')}, seed {rows.get('seed', number)}", made))
    return {
        **instance_page.context(run),
        "watched": WATCHED,
        "watched_when": "on the test images",
        "pretraining": panels([whole], _WHOLE, "whole") if isinstance(whole, Mapping) else [],
        "groups": groups,
    }
