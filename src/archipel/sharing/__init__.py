"""Training weights that many architectures share: path policies and the one loop."""

from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.binarisation import ArchitectureStep, Binarisation, Sampled
from archipel.sharing.distillation import Distillation
from archipel.sharing.evaluation import Outcome, evaluate, predictions
from archipel.sharing.gates import Gates
from archipel.sharing.inheritance import inherit, widest_path
from archipel.sharing.policies import Drawn, Fixed, KeepSchedule, PathPolicy, StepPolicy, Uniform
from archipel.sharing.sandwich import Sandwich
from archipel.sharing.training import Optimisation, train, weight_epoch

__all__ = [
    "ArchitectureStep",
    "Binarisation",
    "Distillation",
    "Drawn",
    "Fixed",
    "Gates",
    "KeepSchedule",
    "Optimisation",
    "Outcome",
    "PathPolicy",
    "Sampled",
    "Sandwich",
    "StepPolicy",
    "Uniform",
    "evaluate",
    "inherit",
    "predictions",
    "recalibrate",
    "train",
    "weight_epoch",
    "widest_path",
]
