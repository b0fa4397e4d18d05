"""Progress and tables on a terminal: progress to stderr, results to stdout."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from archipel.progress import Bar

__all__ = ["Terminal", "table"]

_NUMBER = re.compile(r"[-−~<>≤≥±]?\d[\d, \u202f]*(\.\d+)?(e[+-]?\d+)?( ± \d+(\.\d+)?)?(\s?[A-Za-z%]{1,3})?")
"""A number as tables hold it: `1,234`, `12.3 M`, `97.3 ± 0.4 %`, `3.1e+25`."""


class Terminal:
    """`archipel.progress.Progress` on stderr: live bars on a terminal, a plain line per tenth elsewhere.

    Args:
        quiet: show alarms only.
        pause: seconds that pass at least between two lines of one bar in a log file.
        console: where to write; stderr when None.
    """

    def __init__(self, *, quiet: bool = False, pause: float = 1.0, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._pause = pause
        self._live: Progress | None = None
        self._depth = 0

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        """A bar. Bars inside bars stand below each other; in a log file only the outermost one speaks."""
        self._depth += 1
        try:
            if self._quiet or (self._depth > 1 and self._live is None):
                yield _Lines(None, title, total)
            elif not self._console.is_terminal:
                yield _Lines(self._console, title, total, self._pause)
            elif self._live is None:
                with _bars(self._console) as self._live:
                    yield from self._task(self._live, title, total)
            else:
                yield from self._task(self._live, title, total)
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._live = None

    def say(self, text: str) -> None:
        if not self._quiet:
            self._print(Text(text))

    def alarm(self, text: str) -> None:
        self._print(Text(f"! {text}", style="bold yellow"))

    def _task(self, live: Progress, title: str, total: int) -> Iterator[Bar]:
        bar = _LiveBar(live, live.add_task(title, total=total, figures=""))
        yield bar
        if self._depth == 1:
            self._print(Text(bar.summary()))
        else:
            live.remove_task(bar.task)

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)  # a path broken over two lines cannot be copied


class _LiveBar:
    def __init__(self, live: Progress, task: TaskID) -> None:
        self.task = task
        self._live = live
        self._figures: dict[str, float | str] = {}

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self._figures |= figures
        self._live.update(self.task, advance=n, figures=_spell(self._figures))

    def summary(self) -> str:
        """The line that stays when the bar has gone: title, time, last figures."""
        state = next(task for task in self._live.tasks if task.id == self.task)
        figures = f", {_spell(self._figures)}" if self._figures else ""
        return f"{state.description}: {_clock(state.elapsed or 0.0)}{figures}"


class _Lines:
    """A bar for log files: at most one line each tenth, no control codes. Without a console it is silent."""

    def __init__(self, console: Console | None, title: str, total: int, pause: float = 0.0) -> None:
        self._console, self._title, self._total = console, title, total
        self._done = self._tenths = 0
        self._figures: dict[str, float | str] = {}
        self._start = self._spoke = time.monotonic()
        self._pause = pause

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self._done += n
        self._figures |= figures
        tenths = 10 * self._done // self._total if self._total else 10
        now = time.monotonic()
        if self._console is None or tenths == self._tenths or (tenths < 10 and now < self._spoke + self._pause):
            return
        self._tenths, self._spoke = tenths, now
        elapsed = now - self._start
        left = elapsed * max(self._total - self._done, 0) / self._done if self._done else 0.0
        share = f"{min(100 * self._done // self._total, 100) if self._total else 100:3d} %"
        parts = [f"{self._title} {share} ({self._done}/{self._total})", f"{_clock(elapsed)} elapsed"]
        parts += [f"{_clock(left)} left"] * (self._done < self._total)
        parts += [_spell(self._figures)] * bool(self._figures)
        self._console.print(Text(", ".join(parts)), soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, console: Console | None = None
) -> None:
    """Print a table to stdout. Columns of numbers stand right.

    A heading may hold a line break to stay narrow. Rows are wrapped only where the terminal is too narrow for
    them; a file or pipe gets every row on one line.
    """
    console = console or Console(highlight=False)
    cells = [["–" if value is None else str(value) for value in row] for row in rows]
    grid = _grid(title, columns, cells, wrap=False)
    natural = console.measure(grid, options=console.options.update(width=10_000)).maximum
    if not console.is_terminal:
        Console(file=console.file, width=max(natural, 1), highlight=False).print(grid)
    else:
        console.print(grid if natural <= console.width else _grid(title, columns, cells, wrap=True))


def _grid(title: str, columns: Sequence[str], cells: list[list[str]], *, wrap: bool) -> Table:
    grid = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for i, column in enumerate(columns):
        values = [row[i] for row in cells if row[i] != "–"]
        numeric = bool(values) and all(_NUMBER.fullmatch(value) for value in values)
        grid.add_column(
            Text(column),
            justify="right" if numeric else "left",
            no_wrap=not wrap,
            overflow="fold",
            vertical="bottom",
        )
    for row in cells:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def _bars(console: Console) -> Progress:
    """Title, bar, parts, elapsed, left and figures; where room is short it is the figures that are cut."""
    narrow = console.width < 110
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=_column(max_width=22 if narrow else 44)),
        BarColumn(bar_width=8 if narrow else 30),
        MofNCompleteColumn(table_column=_column()),
        TimeElapsedColumn(table_column=_column()),
        TextColumn("left", table_column=_column()),
        TimeRemainingColumn(table_column=_column()),
        TextColumn("{task.fields[figures]}", markup=False, style="cyan", table_column=_column(ratio=1)),
        console=console,
        transient=True,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,  # a forked job that writes to a redirected stderr may wait for a lock nobody frees
    )


def _column(*, max_width: int | None = None, ratio: int | None = None) -> Column:
    return Column(no_wrap=True, overflow="ellipsis", max_width=max_width, ratio=ratio)


def _spell(figures: dict[str, float | str]) -> str:
    return "  ".join(f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in figures.items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
