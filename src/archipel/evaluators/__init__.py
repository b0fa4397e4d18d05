"""Who tells how good an architecture is: tables, training, inherited weights, predictors."""

from archipel.evaluators.evaluator import SECONDS, Evaluator, Metrics, Objective, scores_of
from archipel.evaluators.learning_curves import LatestScores, SequentialRegression
from archipel.evaluators.stopping import (
    NEVER,
    Curve,
    CurveStopping,
    PrunerStopping,
    Rule,
    Stopping,
    rule,
    standard_error,
)
from archipel.evaluators.tabular import (
    BENCHMARKS,
    Tabular,
    nasbench201,
    nasbench201_devices,
    nasbench_graph,
    nasbench_macro,
)
from archipel.evaluators.training import Trained, curve_of

__all__ = [
    "BENCHMARKS",
    "NEVER",
    "SECONDS",
    "Curve",
    "CurveStopping",
    "Evaluator",
    "LatestScores",
    "Metrics",
    "Objective",
    "PrunerStopping",
    "Rule",
    "SequentialRegression",
    "Stopping",
    "Tabular",
    "Trained",
    "curve_of",
    "nasbench201",
    "nasbench201_devices",
    "nasbench_graph",
    "nasbench_macro",
    "rule",
    "scores_of",
    "standard_error",
]
