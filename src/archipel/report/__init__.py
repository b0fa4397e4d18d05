"""What a finished run looks like: one self-contained page, and the frontier as a picture."""

from archipel.report.frontier_figure import frontier_svg, save_frontier
from archipel.report.page import write

__all__ = ["frontier_svg", "save_frontier", "write"]
