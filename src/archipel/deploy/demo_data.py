"""What the demo's page knows of a family of networks: its points, its architectures, what each image took in Python.

Letters: `N` images, `D` code columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archipel.deploy.forms import Controlled, Escalating
from archipel.deploy.manifest import Point
from archipel.deploy.model import Model
from archipel.instance.policy import CodePolicy
from archipel.report.embedding import embed
from archipel.report.theme import kind as look

__all__ = ["family_data"]

POINTS = 24
"""Along the frontier, that the slider stops at."""


def family_data(model: Model, files: Mapping[int, str], pixels: Tensor, picked: Sequence[int]) -> dict[str, Any]:
    """In plain values, as the page's script reads them.

    Args:
        model: decides by image.
        files: position of what answers → file of its routed graph.
        pixels: the images of the map, uint8 `[N, C, S, S]`.
        picked: of them, those in the gallery.
    """
    cascade = isinstance(model.form, Escalating)
    points = _along(model)
    if isinstance(model.form, Escalating):
        own = _of_cascade(model.form)
    else:
        assert isinstance(model.form, Controlled)
        own = _of_controller(model.form)
    codes: list[str] = list(own["codes"])
    told = []
    gallery = pixels[list(picked)]
    for point in points:
        said = model.answer(gallery, point)
        taken = [codes[own["names"].index(child)] if cascade else child for child in said.children]
        codes += [code for code in dict.fromkeys(taken) if code not in codes]
        told.append(
            {
                "name": point.name,
                "ms": point.ms,
                "accuracy": point.accuracy,
                "file": files[0 if cascade else point.network],
                "thresholds": list(point.thresholds),
                "target_ms": point.asked_ms,
                "children": [codes.index(code) for code in taken],
                "predicted": said.indices.tolist(),
            }
        )
    first = min(range(len(points)), key=lambda i: abs(points[i].ms - model.at().ms))
    return {
        **own,
        "kind": model.kind,
        "label": look(model.kind).label,
        "form": "cascade" if cascade else "controller",
        "codes": codes,
        "points": told,
        "first": first,
        "range": [min(own["costs"]), max(own["costs"])] if cascade else _range(model, points),
        "map": _map(model, pixels, points[first]),
    }


def _along(model: Model) -> list[Point]:
    """At most `POINTS` of a model's points, fast to slow: those with a name, and others evenly between them."""
    named = [point for point in model.points if point.name is not None]
    others = [point for point in model.points if point.name is None]
    room = max(0, POINTS - len(named))
    kept = [others[round(i)] for i in np.linspace(0, len(others) - 1, min(room, len(others)))] if others else []
    return sorted([*named, *kept], key=lambda point: point.ms)


def _of_cascade(form: Escalating) -> dict[str, Any]:
    """Stages as an architecture of choices: at each, to answer or to go on."""
    names, count = list(form.children), len(form.children)
    options = [["answer", "go on"]] * (count - 1) + [["answer"]]
    choices = [{"name": name, "kind": "exit", "options": own, "empty": None} for name, own in zip(names, options)]
    codes = ["01" * k + "10" + "00" * (count - k - 2) + "0" for k in range(count - 1)] + ["01" * (count - 1) + "1"]
    return {"choices": choices, "codes": codes, "names": names, "costs": list(accumulate(form.rule["costs_ms"]))}


def _of_controller(form: Controlled) -> dict[str, Any]:
    choices = [
        {
            "name": choice.name,
            "kind": choice.kind,
            "options": [str(option) for option in choice.options],
            "empty": None if choice.empty is None else str(choice.empty),
        }
        for choice in form.space.choices
    ]
    columns = form.cost.prices()
    return {"choices": choices, "codes": [], "names": [], "base": form.cost.fixed, "columns": columns.tolist()}


def _range(model: Model, points: Sequence[Point]) -> list[float]:
    """Milliseconds of the fastest and the slowest architecture of the space, controller included."""
    assert isinstance(model.form, Controlled)
    cost = model.form.cost
    return [cost.of(cost.cheapest()), max(cost.of(cost.everything()), *(point.ms for point in points))]


def _map(model: Model, pixels: Tensor, point: Point) -> dict[str, Any] | None:
    """The images in the plane: by a controller's probabilities, or by those of the answer where exits decide."""
    said = model.answer(pixels, point)
    vectors, by = said.probabilities, "the class probabilities of its answer"
    if isinstance(model.form, Controlled):
        network = model.form.network(point)
        with torch.no_grad():
            logits = network.controller(model.inputs.normalise(pixels))
        vectors, by = CodePolicy(model.form.space).probabilities(logits).numpy(), "the controller's probabilities"
    embedding = embed(vectors)
    if embedding is None:
        return None
    return {
        "xy": np.round(embedding.xy, 4).tolist(),
        "vectors": np.round(vectors, 4).tolist(),
        "ms": torch.from_numpy(said.latency_ms).tolist(),
        "said": f"Each dot is one of {len(pixels)} test images, placed by {by} ({embedding.detail}); the colour is its "
        "predicted latency, from blue, the fastest, to red. A picture of your own lies between those it is most like.",
    }
