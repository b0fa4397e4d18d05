"""Evaluation against the same sums written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.errors import OptionError
from archipel.metagraph import MetaGraph, Single
from archipel.sharing import evaluate, predictions
from archipel.space import Space
from archipel.tasks import Batch, Classification


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 10))


def test_the_score_is_the_share_of_right_answers(digits: Classification) -> None:
    model = network().train()
    found = evaluate(model, digits, "val", batch_size=7)
    model.eval()
    pixels = digits.normalise(digits.images[digits.indices["val"]])
    labels = digits.labels[digits.indices["val"]]
    with torch.no_grad():
        logits = model(pixels)
    assert found.score == float((logits.argmax(1) == labels).double().mean())
    assert found.metrics["cross_entropy"] == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-5)


def test_it_changes_nothing_but_the_mode(digits: Classification) -> None:
    model = network().train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    evaluate(model, digits, "val")
    assert all(t.equal(before[name]) for name, t in model.state_dict().items())
    assert not model.training


def test_predictions_come_in_the_order_of_the_split(digits: Classification) -> None:
    collected = predictions(network(), digits, "test", batch_size=9)
    assert torch.cat([batch.index for batch, _ in collected]).tolist() == list(range(digits.splits["test"]))
    assert not any(output.requires_grad for _, output in collected)


def two_answers(choose) -> nn.Module:
    """Answers 3, or 7, whatever is asked."""

    def always(label: int) -> nn.Module:
        layer = nn.Linear(64, 10)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.copy_(torch.eye(10)[label])
        return layer

    return nn.Sequential(nn.Flatten(), choose.op("answer", {"3": lambda: always(3), "7": lambda: always(7)}))


def test_a_meta_graph_is_judged_along_the_routes_of_its_batches(digits: Classification) -> None:
    graph = MetaGraph(Space(two_answers))
    labels = digits.labels[digits.indices["test"]]
    seen: list[int] = []

    def route(batch: Batch) -> Single:
        seen.append(len(batch.targets))
        return Single(graph.space.canonical({"answer": "7"}))

    assert evaluate(graph, digits, "test", route=route, batch_size=16).score == float((labels == 7).double().mean())
    assert seen == [16, 16, 8]
    with pytest.raises(OptionError, match="give `route`"):
        evaluate(graph, digits, "test")
