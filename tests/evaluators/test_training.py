"""Training as an evaluation: what it reports, the same again, and a search over trained networks that is continued."""

from __future__ import annotations

from pathlib import Path

import pytest

from archipel.cost import madds, parameters
from archipel.errors import EvaluationError
from archipel.evaluators import Objective, Trained
from archipel.sharing.training import Optimisation
from archipel.spaces import nasbench_macro
from archipel.strategies import strategy
from archipel.tasks import load
from archipel.trials import Budget, StudyLedger, search


@pytest.fixture(scope="module")
def evaluator() -> Trained:
    task = load("digits", images=120, test_images=40)
    objectives = (Objective("valid_accuracy"), Objective("madds", maximise=False))
    space = task.space(nasbench_macro, width=0.25)
    return Trained(space, task, Optimisation(epochs=1, lr=0.02), objectives=objectives)


def test_what_it_reports(evaluator: Trained) -> None:
    smallest = evaluator.space.unrank(0)
    metrics = evaluator(smallest)
    network = evaluator.space.build(smallest)
    assert metrics["madds"] == madds(network, evaluator.task.spec.input_shape)
    assert metrics["parameters"] == parameters(network)
    assert 0 <= metrics["valid_accuracy"] <= 100
    assert metrics["valid_accuracy"] == evaluator(smallest)["valid_accuracy"]
    assert metrics["seconds"] > 0


def test_what_does_not_train(evaluator: Trained) -> None:
    wild = Trained(evaluator.space, evaluator.task, Optimisation(epochs=2, lr=1e30))
    with pytest.raises(EvaluationError, match=r"training Architecture.* diverged \(loss nan\)"):
        wild(evaluator.space.unrank(0))


def test_a_search_that_is_continued(evaluator: Trained, tmp_path: Path) -> None:
    def run(file: Path, trials: int) -> list[dict[str, float]]:
        ledger = StudyLedger(file, evaluator.space, evaluator.objectives, alone=True)
        own = strategy("nsga2,population=2", evaluator.space, objectives=2, seed=0)
        search(own, evaluator, Budget(trials=trials), ledger=ledger)
        return [{**(trial.metrics or {}), "seconds": 0.0} for trial in ledger.trials()]

    run(tmp_path / "parts.db", 2)
    assert run(tmp_path / "parts.db", 4) == run(tmp_path / "whole.db", 4)
