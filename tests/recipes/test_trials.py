"""A search by trials: what is kept of it, a run that is killed and continued, several processes, its page."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import archipel
from archipel.architecture import Architecture
from archipel.cli.train import Training
from archipel.cli.trained import trained
from archipel.cli.trials import show_trials
from archipel.errors import OptionError
from archipel.evaluators import Stopping
from archipel.recipes import trials
from archipel.recipes.trials.settings import Jobs, Network, Retraining, Settings
from archipel.recipes.trials.settings import Training as TrialTraining
from archipel.report import write
from archipel.run.config import to_dict
from archipel.run.folder import RunFolder
from archipel.sharing import evaluate
from archipel.spaces import nasbench_macro
from archipel.tasks import load

SMALL = Settings(
    network=Network(width=0.25),
    training=TrialTraining(epochs=3, lr=0.02),
    stopping=Stopping(curves=6, observe=0.3, patience=1, confidence=0.5),
    retraining=Retraining(epochs=1, networks=2),
)
REQUEST = {"data": "digits", "space": "nasbench_macro", "strategy": "random", "trials": 9, "images": 120,
           "test_images": 40, "threads": 1, "seed": 1}  # fmt: skip


def run(path: Path, progress=None, settings: Settings = SMALL, **asked) -> dict[str, Any]:
    """A new run, or one that goes on."""
    request = trials.Request(**(REQUEST | asked))
    task = load("digits", images=120, test_images=40, seed=1)
    silent = trials.SILENT if progress is None else progress
    prepared = trials.prepare(request, settings, task, nasbench_macro, trials.SILENT, measured=False)
    if (path / "config.yaml").is_file():
        opened = RunFolder.open(path)
    else:
        config = {"recipe": trials.COMMAND} | to_dict(prepared.request) | to_dict(settings)
        opened = RunFolder.create(path, config, "archipel search trials")
    with opened as folder:
        return prepared.run(folder, silent)


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the clock."""
    kept = copy.deepcopy({key: result[key] for key in ("searches", "networks", "points", "awareness", "alarms")})
    for one in kept["searches"]:
        one["seconds"] = 0
        for row in one["trials"]:
            row["seconds"] = 0
    return kept


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("trials") / "run"
    return path, run(path)


class TestOneSearch:
    def test_what_it_found_is_the_best_of_those_that_ran_to_their_end(self, done) -> None:
        (search,) = done[1]["searches"]
        rows, (found,) = search["trials"], search["found"]
        assert len({json.dumps(row["architecture"]) for row in rows}) == len(rows) == 9
        whole = [row for row in rows if row["epochs"] == 3]
        assert rows[found] in whole
        assert search["best"] == rows[found]["valid_accuracy"] == max(row["valid_accuracy"] for row in whole)
        assert search["given_up"] == len(rows) - len(whole) > 0
        assert search["saved"] == pytest.approx(1 - sum(row["epochs"] for row in rows) / 27)
        assert [point["trials"] for point in search["anytime"]] == list(range(1, 10))
        assert search["anytime"][-1] == {"trials": 9, "epochs": search["epochs"], "best": search["best"]}

    def test_its_network_is_a_training_of_its_own(self, done) -> None:
        """`archipel train`, `eval` and `export` take it."""
        path, result = done
        network = next(n for n in result["networks"] if n["name"] == "A-0")
        folder = RunFolder.open(path / network["folder"], write=False)
        request = Training.of(folder)
        task, _, space = request.open(trials.SILENT)
        architecture = Architecture.from_json(request.architecture or {})
        assert architecture.to_json() == network["architecture"] == folder.read_json("architecture.json")
        own = space.build(architecture)
        own.load_state_dict(folder.read_tensors("weights.safetensors")[0])
        assert evaluate(own, task, "test").score == network["accuracy"]
        assert result["points"][0]["accuracy"]["mean"] == network["accuracy"]
        assert sum(p.numel() for p in own.parameters()) == network["parameters"]

    def test_export_and_eval_find_it(self, done) -> None:
        path, result = done
        found = trained(path, None, trials.SILENT)
        assert found.architecture.to_json() == result["networks"][0]["architecture"]
        assert evaluate(found.network, found.task, "test").score == result["networks"][0]["accuracy"]
        images = [found.task.image("test", i) for i in range(4)]
        assert len(archipel.load(path / result["networks"][0]["folder"]).predict(images).labels) == 4
        with pytest.raises(OptionError, match=r"has no network 'A-1' \(A-0, random-0\); did you mean 'A-0'\?"):
            trained(path, "A-1", trials.SILENT)

    def test_killed_and_continued(self, done, tmp_path: Path, killer, killed) -> None:
        """Trials, and what they came to, are those of the run that was let be."""
        with pytest.raises(killed):
            run(tmp_path / "run", killer(40))
        again = run(tmp_path / "run")
        assert told(again) == told(done[1])

    def test_the_page_and_the_table(self, done, capsys) -> None:
        page = write(done[0]).read_text(encoding="utf-8")
        for words in ("How much, how soon", "Which trainings were worth it", "networks/A-0", "random architecture"):
            assert words in page
        assert page.count("<svg") >= 6
        show_trials(done[1])
        out = capsys.readouterr().out
        assert "found by trials best" in out
        assert done[1]["awareness"]["sentence"] in out


def test_several_processes_and_objectives(tmp_path: Path) -> None:
    """Two workers on one study: as many trials as asked, none twice; a front is found, its networks trained again."""
    quick = Settings(
        network=SMALL.network, training=TrialTraining(epochs=1), stopping=Stopping(rule="none"), jobs=Jobs(workers=2),
        retraining=SMALL.retraining,
    )  # fmt: skip
    result = run(tmp_path / "run", settings=quick, trials=6, objectives=("accuracy", "madds"))
    (search,) = result["searches"]
    rows = search["trials"]
    assert len({json.dumps(row["architecture"]) for row in rows}) == len(rows) == 6
    for place in search["found"]:
        own = rows[place]
        assert not any(row["valid_accuracy"] >= own["valid_accuracy"] and row["madds"] < own["madds"] for row in rows)
    assert rows[search["found"][0]]["valid_accuracy"] == search["best"]
    names = [network["name"] for network in result["networks"]]
    assert names == [*(f"{letter}-0" for letter in "AB"[: len(search["found"])]), "random-0"]
    assert "Accuracy and madds" in write(tmp_path / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"objectives": ("accuracy", "latancy")}, "there is no objective 'latancy' .* did you mean 'latency'"),
        ({"objectives": ("latency",)}, "objectives are 'latency'; give accuracy first"),
        ({"strategy": "rnadom"}, "there is no strategy 'rnadom'"),
        ({"strategy": "local_search", "objectives": ("accuracy", "madds")}, "makes one objective better, not 2"),
        ({"trials": 10_000}, "trials is 10000, and space 'nasbench_macro' has 6561; give that or fewer"),
        ({"table": "t.json"}, "--table is of latency, which is no objective here"),
    ],
)
def test_mistakes(asked, said: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=said):
        run(tmp_path / "run", **asked)
