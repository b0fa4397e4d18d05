"""Taking found networks to where they run."""

from archipel.deploy.export import Exported, export_onnx
from archipel.deploy.images import Inputs
from archipel.deploy.loading import load
from archipel.deploy.model import Model, Prediction, Predictions

__all__ = ["Exported", "Inputs", "Model", "Prediction", "Predictions", "export_onnx", "load"]
