"""What an architecture costs: parameters, multiply-adds, and latency on a device."""

from archipel.cost.additive import AdditiveCost, complexity_cost, latency_cost
from archipel.cost.build import TableSettings, build, check, measure_beside, measure_controller, measure_missing
from archipel.cost.complexity import LayerRow, layers, madds, parameters
from archipel.cost.device import Device, ThreadChoice, choose_threads
from archipel.cost.energy import Energy, energy_reader, measure_energy
from archipel.cost.fidelity import Fidelity, kendall_tau
from archipel.cost.latency_table import LatencyTable, Unit
from archipel.cost.measure import Timing, measure
from archipel.cost.memory import PeakActivations, peak_activation_bytes, peak_activations
from archipel.cost.published import device_figures, published_cost
from archipel.cost.spread import spread_sample
from archipel.cost.whole import Candidate, measure_networks

__all__ = [
    "AdditiveCost",
    "Candidate",
    "Device",
    "Energy",
    "Fidelity",
    "LatencyTable",
    "LayerRow",
    "PeakActivations",
    "TableSettings",
    "ThreadChoice",
    "Timing",
    "Unit",
    "build",
    "check",
    "choose_threads",
    "complexity_cost",
    "device_figures",
    "energy_reader",
    "kendall_tau",
    "latency_cost",
    "layers",
    "madds",
    "measure",
    "measure_beside",
    "measure_controller",
    "measure_energy",
    "measure_missing",
    "measure_networks",
    "parameters",
    "peak_activation_bytes",
    "peak_activations",
    "published_cost",
    "spread_sample",
]
