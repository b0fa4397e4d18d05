"""The page of a comparison of spaces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archipel.evolve.quality import Sample
from archipel.recipes.space_compare.judging import compared
from archipel.recipes.space_compare.settings import Judging
from archipel.report import write


def run(folder: Path, samples: list[Sample], **others: Any) -> str:
    folder.mkdir(exist_ok=True)
    told = compared(samples, Judging(resamples=100), seed=0)
    spaces = [{"name": s.name, **row} for s, row in zip(samples, told.pop("spaces"))]
    result = {
        "schema": 1, "title": "Spaces compared on digits", "method": "space_compare", "points": [], "alarms": [],
        "spaces": spaces, **told, **others,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
    return write(folder).read_text(encoding="utf-8")


@pytest.fixture
def samples() -> list[Sample]:
    rng = np.random.default_rng(0)
    costs = rng.uniform(1e6, 3e6, (3, 40))
    return [
        Sample("good", rng.uniform(0.1, 0.2, 40), costs[0]),
        Sample("<bad>", rng.uniform(0.3, 0.4, 40), costs[1]),
        Sample("as bad", rng.uniform(0.3, 0.4, 40), costs[2]),
    ]


def test_says_who_dominates(samples: list[Sample], tmp_path: Path) -> None:
    page = run(tmp_path / "run", samples)
    assert "At equal cost, good dominates &lt;bad&gt;, good dominates as bad and neither of" in page
    assert "Of 3 pairs of spaces 2 differ in it by more than chance explains." in page
    assert 'id="frontier"' not in page
    assert 'id="fidelity"' not in page
    assert len(re.findall(r'<svg viewBox="0 0 520', page)) == 4
    assert "<bad>" not in page


def test_without_costs(samples: list[Sample], tmp_path: Path) -> None:
    bare = [Sample(s.name, s.errors) for s in samples[:2]]
    page = run(tmp_path / "run", bare)
    assert "As drawn, whatever they cost, good dominates" in page
    assert len(re.findall(r'<svg viewBox="0 0 520', page)) == 2
    alike = run(tmp_path / "alike", [bare[0], Sample("twin", bare[0].errors)])
    assert "No two spaces differ in it by more than chance explains" in alike
    assert "neither of good and twin dominates the other" in alike
