"""Instance-aware search (InstaNAS): controller, reward, stages, controls."""

from archipel.instance.alarms import Alarm, Diversity, diversity
from archipel.instance.batch_cost import BatchCost
from archipel.instance.block_gates import BlockGates, GatedNetwork
from archipel.instance.cascade import Cascade, CascadePoint
from archipel.instance.code_cost import CodeCost
from archipel.instance.code_madds import CodeMadds
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import LightController, ResNetController, make_controller
from archipel.instance.dropping import DropTraining
from archipel.instance.executors import EXECUTORS, execute
from archipel.instance.finetuning import fine_tune
from archipel.instance.gated_training import GatedTraining
from archipel.instance.network import InstanceNetwork
from archipel.instance.options import SearchOptions
from archipel.instance.policy import CodePolicy
from archipel.instance.reward import Window, WindowSchedule, latency_reward, reward
from archipel.instance.search import Search, mode_codes
from archipel.instance.variants import choose_variants

__all__ = [
    "EXECUTORS",
    "Alarm",
    "BatchCost",
    "BlockGates",
    "Cascade",
    "CascadePoint",
    "CodeCost",
    "CodeMadds",
    "CodePolicy",
    "ConditionedController",
    "Diversity",
    "DropTraining",
    "GatedNetwork",
    "GatedTraining",
    "InstanceNetwork",
    "LightController",
    "ResNetController",
    "Search",
    "SearchOptions",
    "Targets",
    "Window",
    "WindowSchedule",
    "choose_variants",
    "diversity",
    "execute",
    "fine_tune",
    "latency_reward",
    "make_controller",
    "mode_codes",
    "reward",
]
