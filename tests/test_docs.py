"""The pages say what is there: commands, links, settings, and programs that run."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cyclopts import App

from archipel import MetaGraph
from archipel.cli.app import app
from archipel.evaluators.predictors import PREDICTORS
from archipel.evaluators.predictors.proxies import PROXIES
from archipel.recipes import autospace, blockdrop, convnet_aig, instanas, proxylessnas, trials
from archipel.report.instance_page import WATCHED
from archipel.sharing.gates import Gates
from archipel.space import Space
from archipel.spaces import resolve

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def prose(page: Path) -> str:
    """A page without code blocks and comments."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"<!--.*?-->", "", text, flags=re.S)


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of our own program or of make that a page shows."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"`((?:archipel|make) [a-z][^`]*)`", prose(page))
    for line in lines:
        words = shlex.split(line.replace("…", "..."), comments=True)
        while words and "=" in words[0]:
            words = words[1:]
        if words and Path(words[0]).name in ("archipel", "make"):
            yield [Path(words[0]).name, *words[1:]]


def command_of(words: list[str]) -> tuple[App, list[str]]:
    """The command that words name, and the words behind it."""
    command: App = app
    while words and not words[0].startswith("-") and words[0] in set(command):
        command, words = command[words[0]], words[1:]
    return command, words


@EVERY_PAGE
def test_commands_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for program, *words in commands(page):
        if program == "make":
            assert words[0] in targets, f"make {words[0]}"
            continue
        command, rest = command_of(words)
        assert command is not app, f"archipel {' '.join(words)}: no such command"
        options = [word for word in rest if word.startswith("--")]
        if list(command):  # a group such as `archipel latency build|check|show`
            continue
        known = {name for argument in command.assemble_argument_collection() for name in argument.names} | {"--help"}
        for option in options:
            assert option in known, f"archipel {' '.join(words)}: no option {option}"


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


@EVERY_PAGE
def test_files_named_in_the_project_exist(page: Path) -> None:
    """Paths from the top (`src/…`, `tests/…`, `docs/…`, `benchmarks/…`)."""
    for path in re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+\w)`", prose(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@EVERY_PAGE
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


METHODS = {
    method.__name__.rpartition(".")[2]: method.PRESETS
    for method in (autospace, instanas, proxylessnas, blockdrop, convnet_aig, trials)
}


@pytest.mark.parametrize("method", METHODS)
class TestMethods:
    def page(self, method: str) -> str:
        return (ROOT / "docs" / "methods" / f"{method}.md").read_text(encoding="utf-8")

    def test_files_in_the_tables_exist(self, method: str) -> None:
        table = self.page(method).partition("## How it is composed")[2].partition("## ")[0]
        last = ""
        for name in re.findall(r"`([\w/]+\.py|[\w]+/)`", table):
            path = ROOT / "src" / "archipel" / name
            if not path.exists():  # the second and later files of a row stand in the first one's folder
                path = (ROOT / "src" / "archipel" / last).parent / name
            else:
                last = name
            assert path.exists(), name

    def test_settings(self, method: str) -> None:
        expected = settings_table(METHODS[method])
        assert expected in self.page(method), f"the settings table should be\n\n{expected}"


def test_alarms_of_instanas() -> None:
    page = (ROOT / "docs" / "methods" / "instanas.md").read_text(encoding="utf-8")
    told = page.partition("## Alarms")[2].partition("## ")[0]
    for kind, _ in WATCHED:
        assert f"| {kind} |" in told


def settings_table(known: Mapping[str, Any]) -> str:
    """Every setting in which the presets are not all alike."""
    presets = {name: dict(leaves(dataclasses.asdict(settings))) for name, settings in known.items()}
    lines = ["| setting | " + " | ".join(f"`{name}`" for name in presets) + " |"]
    lines.append("| --- |" + " --- |" * len(presets))
    for setting in next(iter(presets.values())):
        values = [spelt(preset[setting]) for preset in presets.values()]
        if len(set(values)) > 1:
            lines.append(f"| `{setting}` | " + " | ".join(values) + " |")
    return "\n".join(lines)


def leaves(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def spelt(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


def test_every_predictor_is_on_its_page() -> None:
    for page, names in {"predictors": PREDICTORS, "zero-cost": PROXIES}.items():
        told = (ROOT / "docs" / "methods" / f"{page}.md").read_text(encoding="utf-8")
        assert not [name for name in names if f"`{name}`" not in told]


class TestYourOwnSpace:
    PAGE = ROOT / "docs" / "tutorials" / "your-own-space.md"

    @pytest.fixture
    def written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        file = tmp_path / "my_space.py"
        file.write_text(blocks(self.PAGE, "python")[0])
        return file

    def test_the_file_is_a_space(self, written: Path) -> None:
        space = Space(resolve(f"{written}:my_space"))
        assert space.size == 512
        for architecture in (space.unrank(0), space.unrank(511)):
            assert space.build(architecture)(torch.zeros(2, 3, 8, 8)).shape == (2, 10)

    def test_own_modules_can_be_searched(self) -> None:
        told: dict[str, Any] = {}
        exec(blocks(self.PAGE, "python")[1], told)
        space = Space(told["mine"], classes=3, channels=1, size=8)
        architecture = Gates(space).argmax()
        assert MetaGraph(space)(torch.randn(2, 1, 8, 8), architecture).shape == (2, 3)
        assert space.size == 3**6

    def test_the_python_runs(self, written: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
        monkeypatch.syspath_prepend(str(written.parent))
        exec(blocks(self.PAGE, "python")[2], {})
        assert capsys.readouterr().out.strip() == "Space(my_space: 6 choices, 12 code bits, 512 architectures)"
