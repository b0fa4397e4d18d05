"""Comparing strategies: figures against SciPy and closed forms, a run that is stopped and continued, and its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from archipel.cli.bench import show_bench
from archipel.errors import OptionError
from archipel.evaluators import Objective, Tabular
from archipel.progress import SILENT
from archipel.recipes import bench as recipe
from archipel.recipes.bench import Problem, Settings, bench, problems
from archipel.recipes.bench.fronts import Domination
from archipel.recipes.bench.judging import anytime, behind, holm, judged, mean_ranks
from archipel.recipes.bench.published import PUBLISHED
from archipel.recipes.bench.settings import Jobs, Limits
from archipel.report import write
from archipel.run.folder import RunFolder
from archipel.space import Space
from archipel.spaces import nasbench_macro
from archipel.strategies import STRATEGIES
from archipel.trials import Budget


@pytest.fixture(scope="module")
def problem() -> Problem:
    """NAS-Bench-Macro's space with accuracies by a formula, and a validation accuracy that is a little off."""
    space = Space(nasbench_macro)
    architectures = list(space)
    rng = np.random.default_rng(0)
    depth = np.array([sum(v != "Identity" for v in a.values()) for a in architectures])
    test = 80 + depth + rng.normal(0, 0.5, len(depth))
    figures = {
        "valid_accuracy": test + rng.normal(0, 0.3, len(depth)),
        "test_accuracy": test,
        "seconds": 10.0 + depth,
    }
    table = Tabular("planted", space, architectures, figures, (Objective("valid_accuracy"),))
    return Problem("planted", table, Budget(trials=40))


SETTINGS = Settings(jobs=Jobs(workers=1))
SPECS = ("random", "regularised_evolution")


@pytest.fixture(scope="module")
def done(problem: Problem, tmp_path_factory) -> tuple[Path, dict]:
    """A finished run."""
    path = tmp_path_factory.mktemp("bench") / "run"
    with RunFolder.create(path, {"recipe": "bench"}, "archipel bench") as folder:
        return path, bench(folder, [problem], SPECS, SETTINGS, seeds=4, seed=1)


class TestBench:
    def test_a_search_is_judged_by_what_it_did_not_see(self, done, problem: Problem) -> None:
        (one,) = done[1]["sets"]
        runs = RunFolder.open(done[0], write=False).stage_done("search-planted-random")["runs"]
        for run in runs:
            row = int(np.flatnonzero(problem.table.figures["test_accuracy"] == run["final"])[0])
            assert run["seen"] == problem.table.figures["valid_accuracy"][row]
            assert run["trials"] == 40
            assert run["curve"][-1] == run["final"]
            assert run["curve"][0] is None, "a fortieth of a hundredth: nothing is tried yet"
        assert one["strategies"][0]["final"]["values"] == [run["final"] for run in runs]
        assert one["optimum"] == problem.table.best("test_accuracy")
        assert one["published"] == []

    def test_stopped_and_continued(self, done, problem: Problem, tmp_path: Path) -> None:
        with RunFolder.create(tmp_path / "run", {"recipe": "bench"}, "archipel bench") as folder:
            bench(folder, [problem], SPECS[:1], SETTINGS, seeds=4, seed=1)
            again = bench(folder, [problem], SPECS, SETTINGS, seeds=4, seed=1)
        for new, old in zip(again["sets"][0]["strategies"], done[1]["sets"][0]["strategies"], strict=True):
            assert {**new, "cpu_seconds": 0} == {**old, "cpu_seconds": 0}
        assert again["ranks"] == done[1]["ranks"]

    def test_stopped_in_the_middle_of_a_piece(self, done, problem: Problem, tmp_path: Path, monkeypatch) -> None:
        """Two of four searches were kept: the others alone are made."""
        searched = recipe._searched
        left = iter([searched, searched])

        def stopped(*asked):
            if (go := next(left, None)) is None:
                raise KeyboardInterrupt
            return go(*asked)

        with RunFolder.create(tmp_path / "run", {"recipe": "bench"}, "archipel bench") as folder:
            monkeypatch.setattr(recipe, "_KEEP", -1.0)
            monkeypatch.setattr(recipe, "_searched", stopped)
            with pytest.raises(KeyboardInterrupt):
                recipe._work(folder, problem, "random", 4, 1, SILENT)
            left = iter([searched, searched])
            recipe._work(folder, problem, "random", 4, 1, SILENT)
            again = folder.stage_done("search-planted-random")
            assert not list((folder.path / "unfinished").iterdir())
        whole = RunFolder.open(done[0], write=False).stage_done("search-planted-random")
        assert again["runs"] == whole["runs"]

    def test_the_page(self, done) -> None:
        page = write(done[0]).read_text(encoding="utf-8")
        for name in (*SPECS, "planted", "Mean rank", "How much, how soon"):
            assert name in page
        assert page.count("<svg") >= 2
        assert "What papers report" not in page

    def test_searches_that_found_nothing_new_are_told_of(self, done, problem: Problem, tmp_path: Path, capsys) -> None:
        kept = RunFolder.open(done[0], write=False)
        with RunFolder.create(tmp_path / "run", {"recipe": "bench"}, "archipel bench") as folder:
            for spec in SPECS:
                stage = kept.stage_done(f"search-planted-{spec}")
                for run in stage["runs"][: 3 if spec == "random" else 0]:
                    run |= {"ended": "stuck", "trials": 20}
                folder.mark_done(f"search-planted-{spec}", stage)
            result = bench(folder, [problem], SPECS, SETTINGS, seeds=4, seed=1)
        assert done[1]["alarms"] == []
        assert [row["stuck"] for row in result["sets"][0]["strategies"]] == [3, 0]
        show_bench(result)
        said = "3 of 4 searches ended before their budget was spent, after 25 architectures on average"
        assert said in capsys.readouterr().out
        assert said in write(tmp_path / "run").read_text(encoding="utf-8")

    def test_seconds_as_the_budget(self, problem: Problem, tmp_path: Path) -> None:
        timed = Problem("planted", problem.table, Budget(seconds=200.0, repeats=True))
        with RunFolder.create(tmp_path / "run", {"recipe": "bench"}, "archipel bench") as folder:
            result = bench(folder, [timed], ("random",), SETTINGS, seeds=2)
            runs = folder.stage_done("search-planted-random")["runs"]
        assert result["sets"][0]["axis"] == "seconds"
        assert result["sets"][0]["grid"][-1] == 200.0
        assert all(200.0 <= run["seconds"] < 218.0 for run in runs)

    @pytest.mark.parametrize(
        ("specs", "seeds", "said"),
        [
            (("random",), 0, "seeds is 0; give 1 or more"),
            (("random", "random"), 1, "strategy 'random' is named twice; name it once"),
            (("random", "rnadom"), 1, "there is no strategy 'rnadom'"),
        ],
    )
    def test_mistakes(self, problem: Problem, tmp_path: Path, specs, seeds: int, said: str) -> None:
        with (
            RunFolder.create(tmp_path / "run", {"recipe": "bench"}, "archipel bench") as folder,
            pytest.raises(OptionError, match=said),
        ):
            bench(folder, [problem], specs, SETTINGS, seeds=seeds)


@pytest.fixture(scope="module")
def two(problem: Problem, tmp_path_factory) -> tuple[Path, dict, Problem]:
    """A finished run for accuracy and cost at once."""
    table = problem.table
    figures = {**table.figures, "phone_ms": table.figures["seconds"] * 2}
    both = replace(table, figures=figures, objectives=(*table.objectives, Objective("phone_ms", maximise=False)))
    twice = Problem("planted-phone_ms", both, Budget(trials=30))
    path = tmp_path_factory.mktemp("bench") / "run"
    with RunFolder.create(path, {"recipe": "bench"}, "archipel bench") as folder:
        return path, bench(folder, [twice], ("random", "nsga2,population=4"), SETTINGS, seeds=3), twice


class TestTwoObjectives:
    def test_a_search_is_judged_by_the_hypervolume_of_its_true_front(self, two) -> None:
        path, result, twice = two
        (one,) = result["sets"]
        domination = Domination(twice.table)
        runs = RunFolder.open(path, write=False).stage_done("search-planted-phone_ms-random")["runs"]
        for run in runs:
            front = np.array(run["front"])
            assert run["final"] == pytest.approx(domination.share(front)) == run["curve"][-1]
            assert 0 < run["final"] < 100
            for accuracy, cost in front:
                at = np.flatnonzero(twice.table.figures["test_accuracy"] == accuracy)
                assert -cost in twice.table.figures["phone_ms"][at], "true accuracies, not those that were seen"
        assert one["strategies"][0]["final"]["values"] == [run["final"] for run in runs]
        assert (one["judged"], one["optimum"], one["cost"]) == ("hypervolume", 100.0, "phone_ms")

    def test_the_table_itself_has_all_of_it(self, two) -> None:
        domination = Domination(two[2].table)
        high = np.flatnonzero(domination.truth[:, 0] > domination.corner[0])
        on_it = [i for i in high if (domination.truth[i] == domination.best).all(1).any()]
        rows = [*on_it, *range(0, len(domination.truth), 20)]
        front = domination.front(domination.truth[rows], rows)
        assert domination.share(front) == pytest.approx(100) == domination.share(domination.best)
        above = front[front[:, 0] > domination.corner[0]]
        assert {tuple(p) for p in above} == {tuple(p) for p in domination.best}
        assert domination.share(domination.best[:1]) < 100
        assert (domination.truth[:, 0] > domination.corner[0]).mean() == pytest.approx(0.5, abs=0.01)

    def test_the_page(self, two) -> None:
        page = write(two[0]).read_text(encoding="utf-8")
        for said in ("planted-phone_ms", "hypervolume, %", "phone, ms", "Fronts", "with 3 seeds"):
            assert said in page
        assert page.count("<svg") >= 4

    def test_devices(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="has no figures of devices; leave out --devices"):
            problems("nasbench_macro", tmp_path, (), Settings(), devices=("pixel3_ms",))
        with pytest.raises(OptionError, match="NAS-Bench-Graph has no figures of devices; leave out --devices"):
            problems("nasbench_graph", tmp_path, (), Settings(), devices=("pixel3_ms",))
        with pytest.raises(OptionError, match="CIFAR-10 networks; give --images cifar10, or none"):
            problems("nasbench201", tmp_path, ("cifar100",), Settings(), devices=("pixel3_ms",))


class TestProblems:
    @pytest.mark.parametrize(
        ("benchmark", "images", "said"),
        [
            ("nasbench", (), "there is no benchmark 'nasbench' .*did you mean 'nasbench201'"),
            ("nasbench_macro", ("cifar10",), "has one image set, CIFAR-10; leave out --images"),
            ("nasbench201", ("cifar",), "has no image set 'cifar' .*did you mean 'cifar10'"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, benchmark: str, images, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            problems(benchmark, tmp_path, images, Settings())

    @pytest.mark.parametrize(("name", "value"), [("trials", 1), ("seconds", -1.0), ("protocol", "public")])
    def test_limits(self, name: str, value) -> None:
        with pytest.raises(OptionError, match=rf"limits\.{name} is '?{str(value).removesuffix('.0')}'?; give"):
            Limits(**{name: value})


class TestJudging:
    FINALS = {"random": [1.0, 2.0, 3.0, 4.0], "a": [3.0, 4.0, 5.0, 7.0], "b": [1.0, 2.0, 3.0, 4.0]}  # noqa: RUF012

    def test_against_the_control(self) -> None:
        rows = judged(self.FINALS, optimum=7.5)
        assert "p" not in rows["random"]
        assert rows["random"]["final"]["mean"] == 2.5
        welch = stats.ttest_ind(self.FINALS["a"], self.FINALS["random"], equal_var=False).confidence_interval()
        assert [rows["a"]["difference"][k] for k in ("mean", "low", "high")] == pytest.approx([2.25, *welch])
        assert rows["a"]["gap"] == pytest.approx(2.25 / 5.0)
        raw = stats.mannwhitneyu(self.FINALS["a"], self.FINALS["random"], alternative="two-sided").pvalue
        assert rows["a"]["p"] == pytest.approx(2 * raw)
        less = behind(self.FINALS, "a")
        assert set(less) == {"random", "b"}
        assert [less["random"][k] for k in ("mean", "low", "high")] == pytest.approx([2.25, *welch])
        assert rows["b"]["difference"]["mean"] == rows["b"]["gap"] == 0.0
        assert rows["b"]["p"] == 1.0
        assert judged({"random": [1.0]}, 2.0)["random"]["spread"] is None

    def test_holm(self) -> None:
        """The example of Holm's paper, by hand: 0.01·4, 0.02·3, then never less."""
        told = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.02})
        assert told == pytest.approx({"a": 0.04, "d": 0.06, "c": 0.06, "b": 0.06})
        assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}

    def test_ranks(self) -> None:
        ranks = mean_ranks([{"a": [3.0, 1.0], "b": [2.0, 1.0]}, {"a": [0.0, 5.0], "b": [1.0, 4.0]}])
        assert ranks["a"]["values"] == [1.0, 1.5, 2.0, 1.0]
        assert ranks["b"]["mean"] == pytest.approx(6 - 3 - ranks["a"]["mean"])

    def test_anytime(self) -> None:
        found = anytime([1.0, 2.5, 4.0], [10.0, 20.0, 30.0], np.array([0.5, 1.0, 2.4, 2.5, 9.0]))
        assert found == [None, 10.0, 10.0, 20.0, 30.0]


def test_published_figures_name_strategies_that_exist_and_their_source() -> None:
    assert all(row.strategy is None or row.strategy in STRATEGIES for row in PUBLISHED)
    assert all(row.source and row.trust in ("read", "recalled") for row in PUBLISHED)
    assert json.dumps([vars(row) for row in PUBLISHED])
