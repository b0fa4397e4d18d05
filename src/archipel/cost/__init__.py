"""What an architecture costs: parameters, multiply-adds, and latency on a device."""

from archipel.cost.build import TableSettings, build, check, measure_beside, measure_controller, measure_missing
from archipel.cost.complexity import LayerRow, layers, madds, parameters
from archipel.cost.device import Device, ThreadChoice, choose_threads
from archipel.cost.fidelity import Fidelity, kendall_tau
from archipel.cost.latency_table import LatencyTable, Unit
from archipel.cost.measure import Timing, measure
from archipel.cost.spread import spread_sample
from archipel.cost.whole import Candidate, measure_networks

__all__ = [
    "Candidate",
    "Device",
    "Fidelity",
    "LatencyTable",
    "LayerRow",
    "TableSettings",
    "ThreadChoice",
    "Timing",
    "Unit",
    "build",
    "check",
    "choose_threads",
    "kendall_tau",
    "layers",
    "madds",
    "measure",
    "measure_beside",
    "measure_controller",
    "measure_missing",
    "measure_networks",
    "parameters",
    "spread_sample",
]
