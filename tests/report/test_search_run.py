from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archipel.report.run_folder import read
from archipel.report.search_run import targets


def test_reads_every_device_with_its_searches(searched: Path) -> None:
    run = read(searched)
    here, elsewhere = targets(run)
    assert (here.label, here.published, here.batch) == ("cpu", False, 1)
    assert (elsewhere.label, elsewhere.published, elsewhere.batch) == ("hw_tables.json:pixel3", True, 32)
    assert elsewhere.fidelity == {}
    assert here.fidelity["tau"] == 0.93
    assert [search.seed for search in here.searches] == ["0", "1", "2"]
    row = run.result["searches"][1]
    second = here.searches[1]
    assert [d.budget for d in second.derived] == list(here.budgets)
    assert second.derived[0].architecture == row["derived"][0]["architecture"]
    assert second.derived[0].interval == (row["derived"][0]["low_ms"], row["derived"][0]["high_ms"])
    assert second.derived[0].candidates == 16
    assert [d.exact for d in second.derived] == [True, False, True]
    assert second.argmax == row["argmax"]["table_ms"]
    np.testing.assert_array_equal(second.pareto, row["pareto"])
    assert second.pareto_size == 813
    np.testing.assert_array_equal(second.probabilities["b2"], row["probabilities"]["b2"])


def test_a_run_of_another_kind_has_none(finished: Path) -> None:
    assert targets(read(finished)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("derived", None),
        ("derived", [None, {"budget_ms": "x"}, {"budget_ms": 1.0}]),
        ("pareto", [[1.0], [None, 2.0], "ab"]),
        ("probabilities", {"b1": [None, 1.0], "b2": "x"}),
        ("probabilities", [1, 2]),
        ("argmax", 3),
        ("pareto_size", "many"),
    ],
)
def test_what_is_damaged_is_absent(
    name: str, value: Any, make_search: Callable[..., Path], edit: Callable[..., Path]
) -> None:
    def damage(result: dict[str, Any]) -> None:
        result["searches"][0][name] = value

    folder = edit(make_search(devices=("cpu",), layers=4, seeds=1, curves=False), damage)
    (search,) = targets(read(folder))[0].searches
    empty = {
        "derived": search.derived == [],
        "pareto": len(search.pareto) == 0,
        "probabilities": search.probabilities == {},
        "argmax": search.argmax is None,
        "pareto_size": search.pareto_size == len(search.pareto) > 0,
    }
    assert [key for key, found in empty.items() if found] in ([name], [name, "pareto_size"])


def test_figures_of_a_network_may_be_missing(make_search: Callable[..., Path], edit: Callable[..., Path]) -> None:
    def thin(result: dict[str, Any]) -> None:
        row = result["searches"][0]["derived"][0]
        result["searches"][0]["derived"] = [{key: row[key] for key in ("budget_ms", "architecture")}]
        result["tables"] = None

    folder = edit(make_search(devices=("cpu",), layers=4, seeds=1, curves=False), thin)
    (target,) = targets(read(folder))
    assert (target.label, target.budgets) == ("cpu", ())
    (network,) = target.searches[0].derived
    assert network.cost is network.interval is network.likeliest is network.candidates is None
