"""How the searches went, all seeds of a device together: is the cost on its way to the budget, is anything decided,
does anything still learn, and is there a signal in the gates’ gradient at all?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archipel.report.curves import Group, Line, Question, panels
from archipel.report.search_run import Target
from archipel.report.wording import plural

__all__ = ["search"]

_QUESTIONS = (
    Question(
        "Cost",
        "ms per image, by the table",
        (Line("expected_cost", "expected", "accent"), Line("argmax_cost", "likeliest", "ink", "--")),
        "Latency expected under the gates’ probabilities, and that of the likeliest architecture (dashed). Level lines "
        "are the budgets that networks are derived for.",
        budgets=True,
    ),
    Question(
        "Decision",
        "",
        (
            Line("entropy", "entropy of a choice, nats", "accent"),
            Line("confidence", "probability of its likeliest option", "ink"),
        ),
        "Means over all choices. Gates that have decided have an entropy near 0 and a likeliest option near 1; where "
        "both stay as they began, the search has learnt nothing.",
        stacked=True,
    ),
    Question(
        "Loss and accuracy",
        "",
        (
            Line("loss", "loss of the weights", "accent"),
            Line("arch_loss", "task loss in the gates’ steps", "ink"),
            Line("objective", "objective of the gates: that loss with the cost", "soft"),
            Line("reward", "reward of the gates", "soft"),
            Line("val_accuracy", "validation accuracy of the likeliest architecture, %", "accent", share=True),
        ),
        "Mean training losses of each epoch; the accuracy is with shared weights and its own batch-norm statistics.",
        stacked=True,
    ),
    Question(
        "Signal in the gates’ gradient",
        "signal-to-noise ratio",
        (Line("signal_to_noise", "signal / noise", "accent"),),
        "Length of the gradient's running mean over that of its running standard deviation, at the end of each epoch. "
        "Gradients that are noise alone sink towards 0.07 over a hundred steps.",
    ),
)
_COUNTED = replace(
    _QUESTIONS[0],
    unit="million multiply-adds per image",
    sentence=_QUESTIONS[0]
    .sentence.replace("Latency expected", "Multiply-adds expected")
    .replace("that of", "those of"),
)


def search(targets: Sequence[Target]) -> list[Group]:
    """The figures of every device that was searched for."""
    found = []
    for number, target in enumerate(targets):
        runs = [each.curves for each in target.searches]
        asked = _QUESTIONS if target.unit == "ms" else (_COUNTED, *_QUESTIONS[1:])
        if made := panels(runs, asked, f"search-{number}", budgets_of=(target.budgets, target.unit)):
            found.append(Group(f"{target.label}, {plural(len(runs), 'seed')}", made))
    return found
