"""The alarms, each just past and just short of its threshold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from archipel.instance.alarms import Alarm, Diversity, diversity, watch

FINE = Diversity(distinct=30, distinct_share=0.3, effective=12.0, varying_bits=9)


def kinds(**changes: Any) -> list[str]:
    fine: dict[str, Any] = {
        "spread": FINE, "positive_share": 0.5, "running_accuracy": 0.9, "recalibrated_accuracy": 0.9,
    }  # fmt: skip
    return [alarm.kind for alarm in watch(stage="search", seed=1, epoch=7, **(fine | changes))]


def test_a_sound_epoch_gives_none() -> None:
    assert kinds() == []


def test_collapse() -> None:
    assert kinds(spread=replace(FINE, distinct=1, effective=1.0)) == ["collapse"]
    assert kinds(spread=replace(FINE, distinct=3, effective=1.04)) == ["collapse"]
    assert kinds(spread=replace(FINE, distinct=2, effective=1.06)) == []


def test_dead_window() -> None:
    assert kinds(positive_share=0.049) == ["dead window"]
    assert kinds(positive_share=0.051) == []


def test_batch_norm_drift() -> None:
    assert kinds(recalibrated_accuracy=0.94) == ["batch-norm drift"]
    assert kinds(recalibrated_accuracy=0.92) == []
    assert kinds(recalibrated_accuracy=0.5) == []


def test_an_alarm_says_where_and_survives_json() -> None:
    (alarm,) = watch(
        stage="search",
        seed=1,
        epoch=7,
        spread=FINE,
        positive_share=0.0,
        running_accuracy=0.9,
        recalibrated_accuracy=0.9,
    )
    assert (alarm.stage, alarm.seed, alarm.epoch) == ("search", 1, 7)
    assert "0.0%" in alarm.text
    assert Alarm(**alarm.to_json()) == alarm


def test_diversity_of_known_codes() -> None:
    codes = torch.tensor([[1, 0, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    found = diversity(codes)
    assert (found.distinct, found.distinct_share, found.varying_bits) == (3, 0.75, 2)
    assert found.effective == pytest.approx(math.exp(1.5 * math.log(2)))  # frequencies 1/2, 1/4, 1/4
    same = diversity(codes[:2])
    assert (same.distinct, same.effective, same.varying_bits) == (1, pytest.approx(1.0), 0)
