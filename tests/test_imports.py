"""Imports point down only, in no circle, and `import archipel` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import archipel

PACKAGE = Path(archipel.__file__).parent

# From the ground up; a unit (a file or a room of the package) imports its own floor and those below.
FLOORS = [
    {"errors", "progress"},
    {"userfile"},
    {"architecture"},
    {"choice"},
    {"choice_tree", "elastic_value"},
    {"choose"},
    {"space"},
    {"metagraph", "shared_place", "gating", "staging", "routes", "rows", "cost", "tasks", "spaces", "nn"},
    {"instance", "evolve", "trials", "strategies", "evaluators", "sharing"},
    {"recipes"},
    {"api", "classifier", "cli"},
]
# Beside the house: they read anything below the recipes, and only recipes and what a user calls know them.
BESIDE = {"run", "report", "deploy"}
MAY_KNOW_THOSE = {"recipes", "api", "classifier", "cli"} | BESIDE

FLOOR_OF = {unit: i for i, units in enumerate(FLOORS) for unit in units} | dict.fromkeys(BESIDE, len(FLOORS) - 2)


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(module: str, source: str, is_package: bool = False) -> set[str]:
    """The modules of this package that a module names, anywhere in it: also inside functions and for types only."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [base])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return {name for name in found if name.split(".")[0] == "archipel"}


GRAPH = {
    module: imported(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    for module, path in MODULES.items()
}


def unit_of(module: str) -> str:
    return module.split(".")[1]


def upward(module: str, target: str) -> str | None:
    """What is wrong with `module` importing `target`, if anything is."""
    if target == "archipel":
        return "imports the package itself; import the module that has the name"
    if "archipel." + unit_of(target) not in MODULES:
        return f"imports {target}, which does not exist"
    own, other = unit_of(module), unit_of(target)
    if own != other and other in BESIDE and own not in MAY_KNOW_THOSE:
        return f"imports {target}; only recipes and cli know {other}"
    if FLOOR_OF[other] > FLOOR_OF[own]:
        return f"imports {target}, which stands above it"
    return None


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for target in sorted(graph.get(node, ())):
            if found := walk(target, [*path, node]):
                return found
        done.add(node)
        return None

    return next((found for node in sorted(graph) if (found := walk(node, []))), None)


INNER = [module for module in MODULES if module != "archipel"]  # the package's own file lists what users import


@pytest.mark.parametrize("module", INNER)
def test_imports_point_down(module: str) -> None:
    assert unit_of(module) in FLOOR_OF, f"'{unit_of(module)}' has no floor; give it one here and in docs/design.md"
    wrong = [problem for target in sorted(GRAPH[module]) if (problem := upward(module, target))]
    assert not wrong, f"{module} {'; '.join(wrong)}"


def test_no_circle_of_modules() -> None:
    found = circle({module: GRAPH[module] for module in INNER})
    assert not found, " → ".join(found or [])


def test_no_circle_of_rooms() -> None:
    rooms: dict[str, set[str]] = {}
    for module in INNER:
        targets = {unit_of(t) for t in GRAPH[module] if t != "archipel"} - {unit_of(module)}
        rooms.setdefault(unit_of(module), set()).update(targets)
    found = circle(rooms)
    assert not found, " → ".join(found or [])


class TestTheCheckItself:
    """It must be able to fail."""

    def test_it_sees_every_kind_of_import(self) -> None:
        source = (
            "import archipel.cost\n"
            "from archipel import errors\n"
            "from archipel.nn import ConvBN\n"
            "from . import space\n"
            "def f():\n"
            "    from archipel.run.folder import RunFolder\n"
            "if TYPE_CHECKING:\n"
            "    from .metagraph import MetaGraph\n"
            "import torch, archipelago\n"
        )
        names = {"cost", "errors", "nn", "space", "run.folder", "metagraph"}
        assert imported("archipel.choose", source) == {f"archipel.{name}" for name in names}
        assert imported("archipel.nn", "from .blocks import ConvBN", is_package=True) == {"archipel.nn.blocks"}

    def test_it_sees_what_points_up(self) -> None:
        assert "stands above" in (upward("archipel.space", "archipel.metagraph") or "")
        assert "only recipes and cli" in (upward("archipel.cost.device", "archipel.run.folder") or "")
        assert "stands above" in (upward("archipel.run.folder", "archipel.cli") or "")
        assert "the package itself" in (upward("archipel.space", "archipel") or "")
        assert upward("archipel.nn.elastic", "archipel.metagraph") is None

    def test_it_sees_a_circle(self) -> None:
        assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
        assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def loaded_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


HEAVY = {"sklearn", "matplotlib", "optuna", "rich", "umap", "jinja2", "PIL", "yaml", "cyclopts"}


def test_import_is_light() -> None:
    assert not loaded_by("import archipel; archipel.__version__") & {*HEAVY, "torch", "numpy"}


def test_the_core_brings_torch_alone() -> None:
    brought = loaded_by("import archipel, archipel.spaces; [getattr(archipel, n) for n in ('MetaGraph', 'Space')]")
    assert "torch" in brought
    assert not (brought - loaded_by("import torch")) & HEAVY


class TestTheNamesAUserImports:
    def test_every_one_is_there(self) -> None:
        for name in archipel.__all__:
            assert callable(getattr(archipel, name))
            assert name in dir(archipel)

    def test_type_checkers_see_the_same(self) -> None:
        tree = ast.parse(MODULES["archipel"].read_text(encoding="utf-8"))
        guarded = next(node for node in tree.body if isinstance(node, ast.If))
        names = [a.asname or a.name for n in guarded.body if isinstance(n, ast.ImportFrom) for a in n.names]
        assert sorted(names) == sorted(archipel.__all__)

    def test_the_version_is_that_of_the_distribution(self) -> None:
        from importlib.metadata import version

        assert archipel.__version__ == version("archipel")

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(AttributeError, match="module 'archipel' has no attribute 'Metagraph'"):
            _ = archipel.Metagraph
