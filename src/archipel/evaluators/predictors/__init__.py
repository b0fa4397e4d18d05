"""Predictors of how good an architecture is, from the scores of others or from none."""

from archipel.evaluators.predictors.build import PREDICTORS, predictor
from archipel.evaluators.predictors.ensemble import Ensemble
from archipel.evaluators.predictors.predictor import Factory, Predictor, UncertainPredictor

__all__ = ["PREDICTORS", "Ensemble", "Factory", "Predictor", "UncertainPredictor", "predictor"]
