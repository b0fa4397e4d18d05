"""The AutoSpace recipe: from a task to a space that other methods take, killed and continued to the same end."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archipel.cost import Device, complexity_cost, madds
from archipel.errors import OptionError, SpaceError
from archipel.evolve.search import Evolution, References
from archipel.metagraph import MetaGraph
from archipel.progress import SILENT
from archipel.recipes import autospace
from archipel.recipes.autospace import PRESETS, Request, Settings, run
from archipel.recipes.autospace.settings import Handover, Network
from archipel.recipes.autospace.stages import Evolve, Study
from archipel.recipes.proxylessnas.settings import Jobs
from archipel.recipes.study import open_space
from archipel.run.folder import RunFolder
from archipel.sharing import Optimisation, train
from archipel.sharing.gates import Gates
from archipel.sharing.policies import Uniform
from archipel.space import Space
from archipel.spaces import definition, fbnet, proxyless, resolve
from archipel.spaces.cell import Placement, reference
from archipel.spaces.evolved import load_space
from archipel.tasks import Classification, load

TINY = Settings(
    network=Network(macro="digits", width=0.25, expand=2, cap=1.5),
    evolution=Evolution(population=4, active=3, iterations=2, keep=2, tournament=2),
    judging=replace(PRESETS["digits"].judging, steps=3, batch=8),
    handover=Handover(expansions=(2, 3)),
    jobs=Jobs(workers=1),
)


@pytest.fixture(scope="module")
def task() -> Classification:
    return load("digits", images=80, test_images=40)


def done(task: Classification, path: Path, settings: Settings = TINY, **others: Any) -> dict[str, Any]:
    with RunFolder.create(path, {}, "archipel evolve") as folder:
        return run(folder, task, Device("cpu", 1), settings, **others)


@pytest.fixture(scope="module")
def finished(task: Classification, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("autospace") / "run"
    return path, done(task, path, seeds=2)


class TestResult:
    @pytest.mark.parametrize("kind", ["evolved", "random"])
    def test_the_files_are_spaces_that_others_search(self, finished: Any, task: Classification, kind: str) -> None:
        path, _ = finished
        space = task.space(resolve(str(path / f"{kind}-0.json")))
        assert [len(choice.options) for choice in space.choices] == [6, 7, 6, 7, 6]
        graph, gates = MetaGraph(space), Gates(space)
        assert graph(task.normalise(task.images[:2]), gates.argmax()).shape == (2, 10)
        assert load_space(path / f"{kind}-0.json").evidence["data"] == "digits"

    def test_what_is_told_is_what_the_file_holds(self, finished: Any) -> None:
        path, result = finished
        assert result["space"]["name"] == "evolved"
        assert result["madds"]["reference"]["mean"] == result["spaces"][0]["madds"]["reference"]
        for told in result["spaces"]:
            kept = load_space(path / told["evolved"])
            for cells, options, at in zip(told["blocks"], kept.blocks, kept.backbone.placements(8, 2)):
                assert [cell["cell"] for cell in cells for _ in (2, 3)] == [str(option.cell) for option in options]
                assert [cell["reference"] for cell in cells] == [False, False, True]
                assert all(cell["madds"] <= 1.5 * reference().madds(at) for cell in cells)
            assert len(told["history"]) == 2

    def test_seeds_differ_and_repeat(self, finished: Any, task: Classification, tmp_path: Path) -> None:
        _, result = finished
        first, second = result["spaces"]
        assert first["blocks"] != second["blocks"]
        again = done(task, tmp_path / "again")
        assert again["spaces"][0]["blocks"] == first["blocks"]
        assert again["spaces"][0]["history"] == first["history"]

    def test_worse_than_the_reference_is_an_alarm(self, finished: Any) -> None:
        _, result = finished
        assert len(result["alarms"]) == sum(space["worse_than_reference"] for space in result["spaces"])
        json.dumps(result)

    def test_without_the_reference(self, task: Classification, tmp_path: Path) -> None:
        """No anchor, no seed, no crossover, not kept; no budget: four cells of their own worth."""
        own = replace(
            TINY,
            network=replace(TINY.network, budget=None),
            evolution=replace(TINY.evolution, iterations=1, references=References(False, False, False, False)),
        )
        (space,) = done(task, tmp_path / "run", own)["spaces"]
        assert all(not cell["reference"] for cells in space["blocks"] for cell in cells)
        assert all(len(cells) == 2 for cells in space["blocks"])


def test_any_strategy_runs_in_it(finished: Any, task: Classification) -> None:
    """Check 12: random search and regularised evolution within a budget, gates, and one path a batch."""
    path, _ = finished
    space = task.space(resolve(str(path / "evolved-0.json")))
    cost = complexity_cost(space, "madds", task.spec.input_shape)
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(40)]
    budget = sorted(map(cost.of, drawn))[20]
    within = [architecture for architecture in drawn if cost.of(architecture) <= budget]
    living = within[:6]
    for _ in range(30):  # the oldest dies; the cheapest of three has a child
        child = space.mutate(min(rng.sample(living, 3), key=cost.of), rng)
        if cost.of(child) <= budget:
            living = [*living[1:], child]
    assert all(cost.of(architecture) <= budget for architecture in living)
    assert max(map(cost.of, living)) < max(map(cost.of, within))
    for architecture in (*within[:3], *living[:2]):
        assert madds(space.build(architecture), task.spec.input_shape) == cost.of(architecture)
        assert all(
            architecture[choice.name] in choice.options for choice in space.choices if choice.name in architecture
        )
    graph, gates = MetaGraph(space), Gates(space)
    assert gates.argmax() == space.canonical(gates.argmax())
    history = train(graph, task, Optimisation(epochs=1, batch=20), title="one path", seed=0, policy=Uniform(space))
    assert history[0]["loss"] > 0


def test_blocks_in_a_row_can_have_one_list(task: Classification, tmp_path: Path) -> None:
    own = replace(
        TINY, network=replace(TINY.network, tied=2), evolution=replace(TINY.evolution, iterations=1),
        judging=replace(TINY.judging, normalisation="raw", weights="bank"),
    )  # fmt: skip
    (space,) = done(task, tmp_path / "run", own)["spaces"]
    names = [[cell["cell"] for cell in cells] for cells in space["blocks"]]
    assert names[0] == names[1] != names[2] == names[3] != names[4]
    assert space["blocks"][0][0]["madds"] != space["blocks"][1][0]["madds"]
    assert len(space["populations"]) == 5


def test_the_evolution_is_an_editor(finished: Any, task: Classification, tmp_path: Path) -> None:
    _, result = finished
    with RunFolder.create(tmp_path / "run", {}, "archipel evolve") as folder:
        space = open_space(task, proxyless, TINY.network)
        study = Study(folder, task, Device("cpu", 1), space, TINY, 0, SILENT)
        made = Evolve(study)(definition("proxyless"), task.space)
        kept = [[str(kept.cell) for kept in block if kept.expand == 2] for block in made.blocks]
        assert kept == [[cell["cell"] for cell in block] for block in result["spaces"][0]["blocks"]]
        with pytest.raises(SpaceError, match="give that space"):
            Evolve(study)(definition("fbnet"), task.space)


class TestRequest:
    def prepared(self, task: Classification, settings: Settings = TINY, function: Any = proxyless) -> Any:
        request = Request(threads=1, space=function.__name__)
        return autospace.prepare(request, settings, task, function, SILENT, measured=False)

    def test_mistakes_are_told_before_anything_runs(self, task: Classification) -> None:
        assert self.prepared(task).request.device == "cpu"
        with pytest.raises(OptionError, match="not in 'fbnet'"):
            self.prepared(task, function=fbnet)
        with pytest.raises(SpaceError, match="did you mean 'compact'"):
            self.prepared(task, replace(TINY, network=replace(TINY.network, macro="compakt")))

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: Network(cap=0.0), "network.cap is 0"),
            (lambda: Network(budget=-1.0), "network.budget is -1"),
            (lambda: Network(expand=0), "network.expand is 0"),
            (lambda: Handover(expansions=()), r"handover.expansions is \[\]"),
            (lambda: Handover(expansions=(3, 3)), r"handover.expansions is \[3, 3\]"),
            (lambda: Handover(kernels=(4,)), r"handover.kernels is \[4\]"),
        ],
    )
    def test_settings_out_of_range(self, make: Any, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            make()


def test_the_faithful_preset_is_what_the_published_files_show() -> None:
    """Nine cells kept a block with the reference; cells from the published codes, all edges there; ProxylessNAS'
    skeleton of 21 blocks; expansions 3 and 6."""
    own = PRESETS["faithful"]
    assert own.cells.size == 12_288
    assert own.evolution.active == 4
    assert own.evolution.keep + own.evolution.references.keep == 9
    assert own.handover == Handover((3, 6), kernels=(5, 7, 9), zero=True)
    backbone = autospace.backbone_of(own, 224)
    assert len(backbone.blocks) == 21
    at = backbone.placements(224, 6)
    assert (at[0], at[-1]) == (Placement(16, 24, 2, 112, 6), Placement(192, 320, 1, 7, 6))
    plain = Space(proxyless, size=224, classes=1000)
    assert len(plain.choices) == len(backbone.blocks)
