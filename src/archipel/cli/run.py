"""`archipel run`: the main job, from images and a device to a frontier and a report."""

from __future__ import annotations

from archipel.cli.frontier import show_result
from archipel.cli.recipe_command import command
from archipel.recipes import instanas

__all__ = ["run"]

run = command(
    instanas,
    "Search on your images for your device, and compare with honest static networks. "
    "Pre-trains a meta-graph, measures a latency table on this device, searches a controller, fine-tunes what it "
    "found and writes a report.",
    show=show_result,
)
