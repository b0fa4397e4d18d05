"""Who tells how good an architecture is: tables, training, inherited weights, predictors."""

from archipel.evaluators.evaluator import SECONDS, Evaluator, Metrics, Objective, scores_of
from archipel.evaluators.learning_curves import CurveStopping, SequentialRegression, Stopping
from archipel.evaluators.tabular import BENCHMARKS, Tabular, nasbench201, nasbench201_devices, nasbench_macro
from archipel.evaluators.training import Trained

__all__ = [
    "BENCHMARKS",
    "SECONDS",
    "CurveStopping",
    "Evaluator",
    "Metrics",
    "Objective",
    "SequentialRegression",
    "Stopping",
    "Tabular",
    "Trained",
    "nasbench201",
    "nasbench201_devices",
    "nasbench_macro",
    "scores_of",
]
