"""Exit codes, one line for every mistake, and a light start."""

import subprocess
import sys

import pytest
from cyclopts import App

from archipel.cli.app import app, execute

COMMANDS = [
    "run",
    "search",
    "evolve",
    "train",
    "eval",
    "latency",
    "show",
    "export",
    "serve",
    "demo",
    "report",
    "bench",
    "methods",
    "space",
    "spaces",
    "tasks",
]


def test_help_lists_every_command(call):
    ended = call("--help")
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)
    assert [name for name in app if not name.startswith("-")] == COMMANDS


def test_version(call):
    assert call("--version").out == "0.1.0\n"


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        "latency build",
        "latency check",
        "latency measure",
        "latency show",
        "search proxylessnas",
        "search trials",
        "search blockdrop",
        "search convnet_aig",
        "space compare",
        "space drop",
        "space narrow",
        "space shrink",
    ],
)
def test_every_command_has_help(call, command):
    ended = call(*command.split(), "--help")
    assert ended.code == 0
    assert command.split()[-1] in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "rnu",
            "unknown command 'rnu' (run, search, evolve, train, eval, latency, show, export, serve, demo, report, "
            "bench, methods, space, spaces, tasks);",
        ),
        ("latency bild", "unknown command 'bild' (build, check, measure, show); did you mean 'build'?"),
        ("spaces --jsn", "unknown option '--jsn' of 'archipel spaces'; did you mean '--json'?"),
        ("spaces --zzzzzz", "unknown option '--zzzzzz' of 'archipel spaces'; see 'archipel spaces --help'"),
        ("spaces extra", "'extra' is one word too many; see 'archipel spaces --help'"),
        ("show", 'command "show" parameter --what requires an argument; see'),
        ("train mobilenet_v2 --epochs x", "invalid value for --epochs: 'x' is no whole number; see"),
        ("eval x --split tst", 'invalid value "tst" for --split. Choose from: "val", "test"'),
    ],
)
def test_a_slip_is_one_line_and_code_2(call, arguments, words):
    ended = call(*arguments.split())
    assert ended.code == 2
    assert words in ended.line


def program(function) -> App:
    made = App(name="archipel", suppress_keyboard_interrupt=False)
    made.default(function)
    return made


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "archipel: stopped\n"),
        (KeyboardInterrupt("stopped; continue with 'x'"), 130, "archipel: stopped; continue with 'x'\n"),
        (OSError(28, "No space left on device", "a.csv"), 1, "archipel: no space left on the disk (a.csv); free some"),
    ],
)
def test_endings(capsys, error, code, words):
    def fail() -> None:
        raise error

    assert execute(program(fail), []) == code
    assert capsys.readouterr().err.startswith(words)


def test_a_bug_keeps_its_traceback():
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute(program(fail), [])


def python(text: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", text, *words], capture_output=True, text=True, check=False)


def test_help_and_slips_do_not_wait_for_torch():
    calls = "main(['--help']); main(['rnu']); print('torch' in sys.modules)"
    done = python(f"import sys; from archipel.cli import main; {calls}")
    assert done.stdout.endswith("False\n"), done.stderr


def test_as_a_program():
    done = python("import sys; from archipel.cli import main; sys.exit(main())", "tasks", "extra")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "archipel: 'extra' is one word too many; see 'archipel tasks --help'\n"


def test_a_parameters_help_is_a_paragraph(monkeypatch):
    """The line ends of a docstring are none of the help's."""
    monkeypatch.setenv("COLUMNS", "1000")  # read when a process first prints
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has 80 whatever is said
    told = python("import sys; from archipel.cli.app import main; sys.exit(main())", "train", "--help").stdout
    assert "another published network (proxyless_cpu, _gpu, _mobile, _mobile_14, _cifar), a search space with" in told


def test_a_reader_that_leaves_is_no_error():
    program = "import sys; from archipel.cli import main; sys.exit(main())"
    script = f"{sys.executable} -c '{program}' show instanas --json | head -1"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""
