"""Taking a found network to where it runs."""

from archipel.deploy.export import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
