"""Training weights that many architectures share: path policies and the one loop."""

from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.binarisation import ArchitectureStep, Binarisation, Sampled
from archipel.sharing.evaluation import Outcome, evaluate, predictions
from archipel.sharing.gates import Gates
from archipel.sharing.inheritance import inherit, widest_path
from archipel.sharing.policies import Drawn, Fixed, KeepSchedule, PathPolicy, Uniform
from archipel.sharing.training import Optimisation, train, weight_epoch

__all__ = [
    "ArchitectureStep",
    "Binarisation",
    "Drawn",
    "Fixed",
    "Gates",
    "KeepSchedule",
    "Optimisation",
    "Outcome",
    "PathPolicy",
    "Sampled",
    "Uniform",
    "evaluate",
    "inherit",
    "predictions",
    "recalibrate",
    "train",
    "weight_epoch",
    "widest_path",
]
