"""InstaNAS: instance-aware neural architecture search (Cheng et al., AAAI 2020, arXiv 1811.10201).

One meta-graph is pre-trained on random children; a controller is then trained by policy gradient to pick an
architecture per image under a latency window that moves from slow to fast, in turns with the weights; a handful of
epochs spread along the validation front become the variants A (accurate) to E (fast) and are fine-tuned. The same
run trains the controls that say what this was worth.
"""

from __future__ import annotations

from typing import Any

import torch

from archipel.cost import Device, LatencyTable
from archipel.progress import SILENT, Progress
from archipel.recipes.instanas.controls import mobilenet, random_policy, static_child, union
from archipel.recipes.instanas.judging import contestants, test, time_all
from archipel.recipes.instanas.outcome import result_of, write_instances
from archipel.recipes.instanas.settings import PRESETS, Settings, preset_for
from archipel.recipes.instanas.stages import check_target, fine_tune_variant, latency_table, pretrained, search
from archipel.recipes.instanas.study import Study, open_space
from archipel.run.folder import RunFolder
from archipel.space import SpaceFunction
from archipel.tasks.classification import Classification

__all__ = ["PRESETS", "Settings", "open_space", "preset_for", "run"]


def run(
    folder: RunFolder,
    task: Classification,
    device: Device,
    space_function: SpaceFunction,
    settings: Settings,
    *,
    seed: int = 0,
    seeds: int = 3,
    progress: Progress = SILENT,
    table: LatencyTable | None = None,
    target_ms: float | None = None,
) -> dict[str, Any]:
    """Search, fine-tune, compare, and write the run folder; a run that was stopped goes on.

    Args:
        folder: where everything is kept; stages it already holds are not done again.
        device: what latency is measured on and everything runs on.
        space_function: `instanas`, or a user's own.
        seeds: how many controller searches, each with controls of its own: what the intervals are over.
        table: a latency table of this device to use instead of measuring one. Two runs with one table and seed agree.
        target_ms: a latency in milliseconds an image, controller included, that one variant must meet.

    Returns:
        The content of `result.json`.

    Raises:
        OptionError: `target_ms` is below the cheapest child.
        TableError: the table is not of this device, space or batch size.
    """
    space = open_space(task, space_function, settings.network)
    study = Study(folder, task, device, space, settings, seed, progress, table)
    with device.use():
        measured = latency_table(study)
        routed, static = study.cost(measured, controlled=True), study.cost(measured, controlled=False)
        check_target(routed, target_ms)
        graph, pretraining = pretrained(study)
        searches = {s: search(study, graph, routed, s, target_ms) for s in range(seeds)}
        del graph
        subsets_only = all(choice.kind == "subset" for choice in space.choices)
        everyone = []
        for s, done in searches.items():
            chosen: dict[str, int] = done["chosen"]
            contrasted = _spread(list(chosen), settings.baselines.contrasted)
            for name, epoch in chosen.items():
                fine_tune_variant(study, s, name, epoch)
                static_child(study, s, name, epoch, routed=routed, static=static)
                if name in contrasted:
                    random_policy(study, s, name, epoch, routed=routed, static=static)
                    if subsets_only:
                        union(study, s, name, epoch, static=static)
            for width in settings.baselines.widths:
                mobilenet(study, width, s)
            everyone += contestants(study, s, chosen, contrasted)
        timed = study.once("timing", lambda: time_all(study, everyone))
        details: dict[str, dict[str, torch.Tensor]] = {}

        def tested() -> dict[str, Any]:
            rows, found = test(study, everyone, routed=routed, static=static)
            details.update(found)
            write_instances(study, details)
            return {"rows": rows}

        scores = study.once("test", tested)["rows"]
    rows = {
        one.key: {"kind": one.kind, "name": one.name, "seed": one.seed, **scores[one.key], **timed.get(one.key, {})}
        for one in everyone
    }
    preset = next((name for name, known in PRESETS.items() if known == settings), "own settings")
    result = result_of(study, measured, rows, pretraining, searches, preset)
    folder.write_json("result.json", result)
    return result


def _spread(names: list[str], count: int) -> list[str]:
    """`count` of the names, spread evenly, ends first."""
    if count >= len(names):
        return names
    if count == 1:
        return names[:1]
    return [names[round(i * (len(names) - 1) / (count - 1))] for i in range(count)]
