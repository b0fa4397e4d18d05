"""What a run keeps of single images, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from archipel.recipes.study import Study

__all__ = ["write_architectures", "write_exits", "write_instances"]

PICTURES = 2000


def write_exits(study: Study, details: Mapping[str, Mapping[str, Tensor]]) -> None:
    """`exits.csv`: one row per test image and point of the first seed's early exits, and which exit answered."""
    classes = study.task.spec.classes
    rows = []
    for name, detail in details.items():
        columns = (detail[key].tolist() for key in ("index", "label", "predicted", "latency_ms", "stage"))
        for index, label, predicted, ms, stage in zip(*columns):
            known = (classes[label], classes[predicted], int(label == predicted))
            rows.append((name, index, *known, f"{ms:.6g}", stage + 1))
    head = ("variant", "index", "label", "predicted", "correct", "latency_ms", "exit")
    study.folder.write_csv("exits.csv", head, rows)


def write_architectures(study: Study, details: Mapping[str, Mapping[str, Tensor]]) -> None:
    """`architectures.csv`: one row per test image and variant of the first seed."""
    classes = study.task.spec.classes
    rows = []
    for name, detail in details.items():
        for i in range(len(detail["index"])):
            label, predicted = int(detail["label"][i]), int(detail["predicted"][i])
            rows.append(
                (
                    name,
                    int(detail["index"][i]),
                    classes[label],
                    classes[predicted],
                    int(label == predicted),
                    f"{float(detail['latency_ms'][i]):.6g}",
                    "".join("1" if bit else "0" for bit in detail["codes"][i].tolist()),
                )
            )
    columns: Sequence[str] = ("variant", "index", "label", "predicted", "correct", "latency_ms", "architecture")
    study.folder.write_csv("architectures.csv", columns, rows)


def write_instances(study: Study, details: Mapping[str, Mapping[str, Tensor]]) -> None:
    """`instances.safetensors`: pictures of at most 2,000 test images, and what the controllers of the first seed's
    variants make of them."""
    if not details:
        return
    first = next(iter(details.values()))
    shown = min(PICTURES, len(first["index"]))
    index = first["index"][:shown]
    images = torch.stack([torch.from_numpy(study.task.image("test", int(i))) for i in index])
    tensors = {"index": index, "label": first["label"][:shown], "images": images}
    for name, detail in details.items():
        if "probabilities" in detail:
            tensors[f"probabilities/{name}"] = detail["probabilities"][:shown].float().contiguous()
    study.folder.write_tensors("instances.safetensors", tensors)
