"""The data behind the view of one image's architecture; the drawing itself is `templates/architecture.js`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from archipel.report.run_folder import Instances, RunFolder, Variant
from archipel.report.thumbnails import data_uri, is_tiny

__all__ = ["Gallery", "Thumbnail", "gallery"]

GALLERY_IMAGES = 300
GALLERY_BYTES = 1_000_000


@dataclass(frozen=True)
class Thumbnail:
    """One button of the gallery."""

    uri: str
    label: str


@dataclass(frozen=True)
class Gallery:
    """Thumbnails in order of class and latency, the data their architectures are drawn from, and what they are."""

    thumbnails: list[Thumbnail]
    data: dict[str, Any]
    tiny: bool
    sentence: str


def gallery(run: RunFolder, shown: Variant | None) -> Gallery | str:
    """Choose the images and pack their architectures, or the sentence why it cannot be done.

    Up to `GALLERY_IMAGES` images, spread evenly over the classes, and fewer where their pictures together would
    weigh more than `GALLERY_BYTES`. Codes are kept once each: images share architectures.
    """
    if run.instances is None or not len(run.instances.images) or shown is None:
        return "The run kept no images with their architectures, so there is no view of single images."
    choices: list[dict[str, Any]] = [
        {
            "name": str(choice.get("name", "")),
            "kind": str(choice.get("kind", "")),
            "options": [str(option) for option in choice.get("options") or []],
            "empty": None if choice.get("empty") is None else str(choice["empty"]),
        }
        for choice in run.part("space").get("choices") or []
        if isinstance(choice, dict)
    ]
    width = sum(len(choice["options"]) for choice in choices)
    if not choices or not all(len(code) == width for code in shown.codes):
        return (
            "The architecture codes of this run do not follow the options of its choices one by one, "
            "so single architectures cannot be drawn."
        )
    thumbnails: list[Thumbnail] = []
    images: list[tuple[int, str]] = []
    rows = {int(index): i for i, index in enumerate(run.instances.index)}
    where = {int(index): i for i, index in enumerate(shown.index)}
    for index in _pick(run.instances, shown, run.classes):
        label = shown.label[where[index]]
        uri = data_uri(run.instances.images[rows[index]])
        thumbnails.append(Thumbnail(uri, f"test image {index}, {label}"))
        images.append((index, label))
    if not images:
        return "No image of the run has an architecture, so there is no view of single images."
    codes: dict[str, int] = {}
    variants = {}
    for variant in run.variants.values():
        if not variant.codes or any(len(code) != width for code in variant.codes):
            continue
        at = {int(index): i for i, index in enumerate(variant.index)}
        variants[variant.name] = {
            "mean": float(variant.latency_ms.mean()),
            "low": float(variant.latency_ms.min()),
            "high": float(variant.latency_ms.max()),
            "rows": [
                [
                    variant.predicted[i],
                    bool(variant.correct[i]),
                    round(float(variant.latency_ms[i]), 6),
                    codes.setdefault(variant.codes[i], len(codes)),
                ]
                if (i := at.get(index)) is not None
                else None
                for index, _ in images
            ],
        }
    total = len(set(run.instances.index.tolist()) & set(where))
    sentence = (
        f"{len(images)} of {total} kept test images, ordered by class and then from fast to slow in variant "
        f"{shown.name}; architectures of the first seed."
    )
    data = {
        "choices": choices,
        "images": [label for _, label in images],
        "codes": list(codes),
        "variants": variants,
        "shown": shown.name,
    }
    return Gallery(thumbnails, data, is_tiny(run.instances.images), sentence)


def _pick(instances: Instances, shown: Variant, classes: list[str]) -> list[int]:
    """Indices of test images, the same number of each class as far as it goes, at even ranks of latency."""
    kept = set(instances.index.tolist())
    by_class: dict[str, list[int]] = {}
    for i in np.argsort(shown.latency_ms, kind="stable"):
        if int(shown.index[i]) in kept:
            by_class.setdefault(shown.label[i], []).append(int(shown.index[i]))
    sample = instances.images[np.linspace(0, len(instances.images) - 1, 16).astype(int)]
    weight = float(np.mean([len(data_uri(image)) for image in sample]))
    room = min(GALLERY_IMAGES, int(GALLERY_BYTES / weight))
    order = {name: i for i, name in enumerate(classes)}
    names = sorted(by_class, key=lambda name: (order.get(name, len(order)), name))[:room]
    share = max(room // max(len(names), 1), 1)
    picked = []
    for name in names:
        mine = by_class[name]
        ranks = np.unique(np.linspace(0, len(mine) - 1, min(share, len(mine))).round().astype(int))
        picked += [mine[rank] for rank in ranks]
    return picked
