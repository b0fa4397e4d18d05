import re

import pytest

from archipel.report.curves import Line, Question, panels

COST = Question("Cost", "ms", (Line("cost", "expected", "accent"),), "It goes down.", budgets=True)
SHARE = Question("Share", "%", (Line("share", "share", "ink", share=True),), "It goes up.")
BOTH = Question("Both", "", (Line("cost", "cost", "ink"), Line("share", "share", "ink")), "Two scales.", stacked=True)


def run(*cost: float | None) -> dict[str, list[float | None] | list[int]]:
    return {"epoch": list(range(len(cost))), "cost": list(cost)}


def test_seeds_stand_in_one_figure_with_their_mean() -> None:
    (one,) = panels([run(3, 2, 1)], [COST], "one")
    (three,) = panels([run(3, 2, 1), run(4, 3, 2), run(5, 4, 3)], [COST], "three")
    lines = [len(re.findall("stroke: var\\(--accent\\)", panel.svg)) for panel in (one, three)]
    assert lines == [1, 4]
    assert "seeds" not in one.sentence
    assert "Thin lines are the 3 seeds, thick ones their mean." in three.sentence


def test_budgets_are_lines_where_they_are_near() -> None:
    (panel,) = panels([run(3, 2, 1)], [COST], "cost", budgets_of=((0.5, 2.5, 40), "ms"))
    assert panel.svg.count(">≤ ") == 2
    assert ">≤ 2.50</text>" in panel.svg
    assert panel.sentence.endswith("Budget outside the frame: 40.0 ms.")
    (panel,) = panels([{"epoch": [0, 1], "share": [0.1, 0.2]}], [SHARE], "share", budgets_of=((0.5,), "ms"))
    assert "≤" not in panel.svg
    assert "Budget" not in panel.sentence


def test_holes_and_absent_curves() -> None:
    assert panels([], [COST], "none") == []
    assert panels([{"epoch": [0, 1], "cost": [None, None]}, {}], [COST, SHARE, BOTH], "none") == []
    (panel,) = panels([run(None, 2, 1), {"epoch": [5, 6], "cost": [1, 2]}], [COST], "apart")
    assert "expected</text>" in panel.svg
    (panel,) = panels([run(1, 2)], [BOTH], "half")
    assert "share</text>" not in panel.svg


@pytest.mark.parametrize("question", [COST, BOTH])
def test_one_epoch_is_a_dot(question: Question) -> None:
    (panel,) = panels([run(2.0)], [question], "dot")
    assert "<use" in panel.svg
