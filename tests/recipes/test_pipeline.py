"""AutoSpace → ProxylessNAS → InstaNAS in one folder: stopped, gone on with, and what each leaves to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archipel.errors import OptionError
from archipel.progress import SILENT
from archipel.recipes import instanas, job, pipeline
from archipel.recipes.pipeline import Asked
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import definition, resolve

TABLE = {"rounds": 2, "calibrating": 12, "held_out": 4, "probed": 6, "cover": 2, "seconds": 1.0}
ASKED = Asked(
    request={"images": 100, "test_images": 40, "threads": 1, "seeds": 1},
    settings={
        "pretraining": {"epochs": 1}, "search": {"epochs": 2}, "finetuning": {"epochs": 1, "variants": 2},
        "latency": {**TABLE, "images": 1, "final_rounds": 1}, "baselines": {"which": "none"}, "jobs": {"workers": 1},
    },
    evolving={
        "network": {"macro": "digits", "width": 0.25, "expand": 2}, "handover": {"expansions": [2]},
        "evolution": {"population": 4, "active": 3, "iterations": 1, "keep": 2, "rescoring": 0},
        "judging": {"steps": 2, "batch": 8}, "jobs": {"workers": 1},
    },
    searching={
        "network": {"macro": "digits", "width": 0.25}, "warming": {"epochs": 1, "reference": 0}, "joint": {"epochs": 1},
        "retraining": {"epochs": 1}, "latency": TABLE, "derivation": {"budgets": [0.5], "candidates": 2},
        "baselines": {"mobilenet": [0.25], "random": False}, "jobs": {"workers": 1},
    },
    keep=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Stopped before the last part, and gone on with."""
    path = tmp_path_factory.mktemp("pipeline") / "run"

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, RunFolder.create(path, ASKED.to_config(), "archipel run") as folder:
        patch.setattr(job, "write_report", lambda run: run / "report.html")  # tests of their own have these
        patch.setattr(instanas, "prepare", stopped)
        with pytest.raises(KeyboardInterrupt, match="continue with 'archipel run --evolve --resume"):
            pipeline.run(folder, ASKED, command="archipel run", progress=SILENT)
    with pytest.MonkeyPatch.context() as patch, RunFolder.open(path) as folder:
        patch.setattr(job, "write_report", lambda run: run / "report.html")
        assert Asked.of(folder) == ASKED
        done = pipeline.run(folder, Asked.of(folder), command="archipel run", progress=SILENT)
    return path, done.result


def test_every_part_is_a_run_of_its_own(finished: tuple[Path, dict[str, Any]]) -> None:
    path, result = finished
    titles = ["AutoSpace on digits", "ProxylessNAS on digits", "InstaNAS on digits"]
    assert [part["title"] for part in result["parts"]] == titles
    for part, title in zip(pipeline.PARTS, titles):
        assert json.loads((path / part / "result.json").read_text())["title"] == title
    assert {point["kind"] for point in result["points"]} == {"instanas"}


def test_what_was_found_is_the_space_of_the_last(finished: tuple[Path, dict[str, Any]]) -> None:
    path, result = finished
    evolved, found = Space(resolve(str(path / "space" / "evolved-0.json"))), definition(str(path / "found.json"))
    network = json.loads((path / "network" / "result.json").read_text())
    space = Space(found.function)
    assert result["space"]["size"] == str(space.size)
    assert min(pipeline.FEWEST, evolved.size) <= space.size <= evolved.size
    (search,) = network["searches"]
    for row in search["derived"]:
        space.canonical(row["architecture"])
    for choice, whole in zip(space.choices, evolved.choices):
        shares = dict(zip(whole.options, search["probabilities"][choice.name]))
        assert max(shares, key=lambda option: shares[option]) in choice.options


def test_the_page_leads_to_the_others(finished: tuple[Path, dict[str, Any]]) -> None:
    path, result = finished
    page = (path / "report.html").read_text()
    for part in pipeline.PARTS:
        assert f'href="{part}/report.html"' in page
    assert page.count('aria-label="Cell ') == sum(len(block) for block in result["parts"][0]["blocks"])
    assert "One network for each budget" in page


@pytest.mark.parametrize("name", ["space", "table"])
def test_what_a_pipeline_makes_itself(name: str) -> None:
    with pytest.raises(OptionError, match=f"leave out --{name}"):
        Asked(request={name: "x"})
