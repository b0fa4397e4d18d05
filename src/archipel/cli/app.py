"""The `archipel` program: its commands, and how every ending becomes an exit code and at most one line.

0 done, 1 failed, 2 the caller's mistake, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from archipel.errors import ArchipelError, did_you_mean

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

__all__ = ["app", "execute", "main"]


def _paragraphs(console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
    """Cyclopts' own panels; but a text keeps no line ends of the docstring that it stands in."""
    from cyclopts.help import DefaultFormatter
    from rich.text import Text

    for entry in panel.entries:
        text = getattr(entry.description, "primary_renderable", None)
        if isinstance(text, Text):
            text.plain = " ".join(text.plain.split())
    DefaultFormatter()(console, options, panel)


app = App(
    name="archipel",
    help="Neural architecture search that gives back a distribution of networks and a controller that picks one "
    "per input, measured on your device.",
    version=lambda: metadata.version("archipel"),
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative_iterable=(), negative_none=()),
    help_format="plaintext",
    help_formatter=_paragraphs,
)
search = App(
    name="search", help="Search with one method: by trials, by devices and latency budgets, or blocks image by image."
)
space = App(name="space", help="Tools for search spaces: compare them, or make smaller ones of them.")
latency = App(name="latency", help="Latency measured on this device: tables of search spaces, and whole networks.")

app.command("archipel.cli.run:run", name="run", help="The main job: search on your images, measured on your device.")
app.command(search)
search.command(
    "archipel.cli.search:search_proxylessnas",
    name="proxylessnas",
    help="Binarised paths, latency in the loss (arXiv 1812.00332).",
)
search.command(
    "archipel.cli.trials:search_trials",
    name="trials",
    help="Any strategy on any space: every network is trained alone, and given up early where it is not worth it.",
)
search.command(
    "archipel.cli.skipping:search_blockdrop",
    name="blockdrop",
    help="A policy network leaves out blocks for each image (arXiv 1711.08393).",
)
search.command(
    "archipel.cli.skipping:search_convnet_aig",
    name="convnet_aig",
    help="Gates that decide on the way which blocks an image runs (arXiv 1711.11503).",
)
app.command(
    "archipel.cli.evolve:evolve", name="evolve", help="Evolve a search space: cells for every block (arXiv 2103.11833)."
)
app.command("archipel.cli.train:train", name="train", help="Train one network, published or of a search space.")
app.command("archipel.cli.eval:evaluate", name="eval", help="Evaluate the network of a training run again.")
app.command(latency)
latency.command("archipel.cli.latency:build", name="build", help="Measure a search space on this device.")
latency.command("archipel.cli.latency:check", name="check", help="Compare a table with fresh random networks.")
latency.command("archipel.cli.measure:measure", name="measure", help="Time whole networks side by side.")
latency.command("archipel.cli.latency:show", name="show", help="What is in a table.")
app.command("archipel.cli.show:show", name="show", help="A search space, a network or a run.")
app.command("archipel.cli.export:export", name="export", help="Export what a run found, or one network, to ONNX.")
app.command("archipel.cli.serve:serve", name="serve", help="Answer pictures over HTTP with what a run found.")
app.command("archipel.cli.demo:demo", name="demo", help="Write a page whose networks run in the browser.")
app.command("archipel.cli.report:report", name="report", help="Write a run's HTML report again.")
app.command("archipel.cli.bench:run_bench", name="bench", help="Compare search strategies on a tabular benchmark.")
app.command("archipel.cli.methods:methods", name="methods", help="The methods, each with its paper.")
app.command(space)
space.command("archipel.cli.space:compare", name="compare", help="Which space is better to search in.")
space.command("archipel.cli.space_edit:drop", name="drop", help="Leave out options.")
space.command("archipel.cli.space_edit:narrow", name="narrow", help="Leave what good networks have.")
space.command("archipel.cli.space_edit:shrink", name="shrink", help="Leave out what learns least (arXiv 2004.13431).")
app.command("archipel.cli.spaces:spaces", name="spaces", help="The search spaces.")
app.command("archipel.cli.tasks:tasks", name="tasks", help="The data sets that are read by name.")


_SHORT = {"--baselines": "--baselines.which", "--stopping": "--stopping.rule"}
"""A group's own name stands for its first setting; Cyclopts takes that, or the group's other settings, not both."""


def _spelt_out(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{_SHORT.get(name, name)}{equals}{value}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return execute(app, sys.argv[1:] if arguments is None else arguments)


def execute(program: App, arguments: Sequence[str]) -> int:
    """Call `program`; what a caller can mend, or a disk or a person stopped, ends as one line on stderr."""
    arguments = [_spelt_out(word) for word in arguments]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a "±" must not fail on an old terminal
    try:
        program(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _ended(2, _sentence(error))
    except ArchipelError as error:
        from archipel.run.atomic import StorageError

        return _ended(1 if isinstance(error, StorageError) else 2, str(error))
    except KeyboardInterrupt as stop:
        return _ended(130, str(stop) or "stopped")
    except BrokenPipeError:
        # The reader (`head`, `less`) has gone; Python would complain again when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _ended(1, f"no space left on the disk ({error.filename or 'unknown file'}); free some and try again")
    return 0


def _ended(code: int, text: str) -> int:
    print(f"archipel: {' '.join(text.split())}", file=sys.stderr)
    return code


def _sentence(error: CycloptsError) -> str:
    """A parse error in the words of our own: the thing, the value, the nearest spelling."""
    where = " ".join(["archipel", *(error.command_chain or ())])
    if isinstance(error, UnknownOptionError):
        word = (error.token.keyword or error.token.value).partition("=")[0]
        names = [name for argument in error.argument_collection if argument.parse for name in argument.names]
        mend = did_you_mean(word, names) or f"; see '{where} --help'"
        return f"unknown option '{word}' of '{where}'{mend}"
    if isinstance(error, UnknownCommandError):
        word = error.unused_tokens[0] if error.unused_tokens else ""
        commands = [name for name in (error.app or app) if not name.startswith("-")]
        return f"unknown command '{word}' ({', '.join(commands)}){did_you_mean(word, commands)}"
    if isinstance(error, UnusedCliTokensError):
        return f"'{(error.unused_tokens or ['?'])[0]}' is one word too many; see '{where} --help'"
    text = str(error).strip().rstrip(".")
    return f"{text[:1].lower()}{text[1:]}; see '{where} --help'"
