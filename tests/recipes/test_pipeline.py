"""AutoSpace → ProxylessNAS → InstaNAS in one folder: stopped, gone on with, and what each leaves to the next."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import archipel
from archipel.errors import OptionError, RunError
from archipel.recipes import instanas, job, pipeline
from archipel.recipes.pipeline import Asked
from archipel.run.config import read_yaml
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import definition, resolve

TABLE = {"rounds": 2, "calibrating": 12, "held_out": 4, "probed": 6, "cover": 2, "seconds": 1.0}
ASKED = Asked(
    request={"images": 100, "test_images": 40, "threads": 1, "seeds": 1},
    settings={
        "pretraining": {"epochs": 1}, "search": {"epochs": 2}, "finetuning": {"epochs": 1, "variants": 2},
        "latency": {**TABLE, "images": 1, "final_rounds": 1}, "exits": {"width": 0.0}, "baselines": {"which": "none"},
        "jobs": {"workers": 1},
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


GIVEN = {**ASKED.settings, "evolving": ASKED.evolving, "searching": ASKED.searching, "keep": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Asked for in Python, stopped before the last part, and gone on with."""
    path = tmp_path_factory.mktemp("pipeline") / "run"

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "write_report", lambda run: run / "report.html")  # tests of their own have these
        patch.setattr(instanas, "prepare", stopped)
        with pytest.raises(KeyboardInterrupt, match="continue with 'archipel run --evolve --resume"):
            archipel.run(**ASKED.request, evolve=True, settings=GIVEN, out=path, quiet=True)
    with RunFolder.open(path, write=False) as folder:
        assert Asked.of(folder.config) == ASKED
    with pytest.raises(RunError, match="is a run of 'archipel run --evolve'; continue it with"):
        archipel.run(resume=path, quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "write_report", lambda run: run / "report.html")
        done = archipel.run(resume=path, evolve=True, quiet=True)
    assert (done.folder, done.report) == (path, path / "report.html")
    assert {point.kind for point in done.points} == {"instanas"}
    return path, json.loads((path / "result.json").read_text())


def test_every_part_is_a_run_of_its_own(finished: tuple[Path, dict[str, Any]]) -> None:
    path, result = finished
    titles = ["AutoSpace on digits", "ProxylessNAS on digits", "InstaNAS on digits"]
    assert [part["title"] for part in result["parts"]] == titles
    for part, title in zip(pipeline.PARTS, titles):
        assert json.loads((path / part / "result.json").read_text())["title"] == title
    assert {point["kind"] for point in result["points"]} == {"instanas"}


def found_of(search: Mapping[str, Any], evolved: Space, keep: int) -> dict[str, list[str]]:
    """Of every block the `keep` likeliest options and those of the networks that were derived, in their order."""
    kept = {}
    for choice in evolved.choices:
        shares = dict(zip(choice.options, search["probabilities"][choice.name], strict=True))
        likely = sorted(shares, key=lambda option: -shares[option])[:keep]
        taken = [row["architecture"][choice.name] for row in search["derived"]]
        kept[choice.name] = [option for option in choice.options if option in (*likely, *taken)]
    return kept


def test_what_was_found_is_the_space_of_the_last(finished: tuple[Path, dict[str, Any]]) -> None:
    """The fewest options that make enough networks for a latency table, and not one more."""
    path, result = finished
    evolved, found = Space(resolve(str(path / "space" / "evolved-0.json"))), definition(str(path / "found.json"))
    (search,) = json.loads((path / "network" / "result.json").read_text())["searches"]
    tried = [found_of(search, evolved, keep) for keep in range(1, max(len(c.options) for c in evolved.choices) + 1)]
    sizes = [math.prod(map(len, kept.values())) for kept in tried]
    place = next(i for i, size in enumerate(sizes) if size >= pipeline.FEWEST)
    space = Space(found.function)
    assert {choice.name: list(choice.options) for choice in space.choices} == tried[place]
    assert result["space"]["size"] == str(space.size) == str(sizes[place])
    assert place == 0 or sizes[place - 1] < pipeline.FEWEST


def test_the_page_leads_to_the_others(finished: tuple[Path, dict[str, Any]]) -> None:
    path, result = finished
    page = (path / "report.html").read_text()
    for part in pipeline.PARTS:
        assert f'href="{part}/report.html"' in page
    assert page.count('aria-label="Cell ') == sum(len(block) for block in result["parts"][0]["blocks"])
    assert "One network for each budget" in page


def test_a_pipeline_is_repeated_by_its_config(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """As a whole, and with a word of one's own over it."""
    document = read_yaml(finished[0] / "config.yaml")
    assert Asked.of(document) == ASKED
    with RunFolder.create(tmp_path / "run", Asked.of(document).to_config(), "archipel run") as folder:
        assert folder.config == {key: value for key, value in document.items() if key != "archipel"}


def test_the_command_of_a_python_call_repeats_it(finished: tuple[Path, dict[str, Any]]) -> None:
    told = eval(read_yaml(finished[0] / "config.yaml")["archipel"]["command"], {"archipel": SimpleNamespace(run=dict)})
    assert told["evolve"] is True
    assert told["settings"] == GIVEN


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"serch": {}}}, "did you mean 'search'"),
        (
            {"settings": {"evolving": {"evolution": {"populatoin": 4}}}},
            "unknown key 'evolution.populatoin' in",
        ),
        ({"settings": {"searching": {"joint": {"epochs": "many"}}}}, "'joint.epochs' in the given settings"),
        ({"settings": {"search": {"epoch": 3}}}, "unknown key 'search.epoch' in"),
        ({"settings": {"keep": 0}}, "keep is 0"),
        ({"preset": "cpuu"}, "did you mean 'cpu'"),
        ({"data": "digts"}, "did you mean 'digits'"),
        ({"space": "fbnet"}, "leave out --space"),
    ],
)
def test_mistakes_are_told_before_the_first_part(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        archipel.run(**options, evolve=True, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_resumed_pipeline_keeps_what_it_was_asked(finished: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(OptionError, match="leave out everything else"):
        archipel.run(resume=finished[0], evolve=True, images=20, quiet=True)


def test_what_a_pipeline_makes_itself() -> None:
    with pytest.raises(OptionError, match="leave out --table"):
        Asked(request={"table": "x"})
