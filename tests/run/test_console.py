"""Progress is readable for a person on a terminal and in a log file; tables keep their rows whole."""

import io

import pytest
from rich.console import Console

from archipel.progress import Progress
from archipel.run.console import Terminal, table


def drawn(terminal: bool, quiet: bool = False, width: int = 80, pause: float = 0.0) -> tuple[Terminal, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, highlight=False, color_system=None)
    return Terminal(quiet=quiet, pause=pause, console=console), file


def work(progress: Progress, total: int) -> None:
    with progress.bar("pre-training", total) as bar:
        for i in range(total):
            with progress.bar("epoch", 20) as inner:
                inner.advance(20)
            bar.advance(loss=1 / (i + 1), note="fine")


def test_a_log_file_gets_a_line_per_tenth_and_no_control_codes():
    progress, file = drawn(terminal=False)
    work(progress, 40)
    lines = file.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[4].startswith("pre-training  50 % (20/40), 0:00:0")
    assert "left, loss 0.05  note fine" in lines[4]
    assert lines[-1].startswith("pre-training 100 % (40/40)")
    assert "left" not in lines[-1]
    assert "\x1b" not in file.getvalue()


def test_a_short_bar_says_each_part_once():
    progress, file = drawn(terminal=False)
    work(progress, 3)
    assert [line.split("(")[1][:3] for line in file.getvalue().splitlines()] == ["1/3", "2/3", "3/3"]


def test_a_bar_that_is_soon_over_says_one_line():
    progress, file = drawn(terminal=False, pause=60.0)
    work(progress, 30)
    assert file.getvalue().startswith("pre-training 100 % (30/30)")
    assert file.getvalue().count("\n") == 1


def test_an_empty_bar_is_no_error():
    for terminal in (False, True):
        progress, _ = drawn(terminal=terminal)
        with progress.bar("nothing", 0) as bar:
            bar.advance(0)


def test_a_terminal_gets_bars_and_keeps_one_line():
    progress, file = drawn(terminal=True)
    work(progress, 4)
    text = file.getvalue()
    assert "\x1b" in text
    assert "4/4" in text
    assert "pre-training: 0:00:0" in text
    assert "epoch: " not in text


def test_a_narrow_terminal_keeps_parts_and_times():
    progress, file = drawn(terminal=True, width=80)
    with progress.bar("training, searches, baselines, and a long title", 200) as bar:
        bar.advance(7, loss=1.838, val_all_on=0.4669, val_random=0.1985, keep=0.75, another="figure")
    shown = [line for line in file.getvalue().splitlines() if "/200" in line]
    assert any("7/200" in line and "0:00:0" in line and "left" in line and "loss 1.838" in line for line in shown)


def test_bars_can_follow_each_other_and_an_error():
    progress, file = drawn(terminal=True)
    for title in ("one", "two"):
        with pytest.raises(KeyError), progress.bar(title, 2):
            raise KeyError
    with progress.bar("three", 1) as bar:
        bar.advance()
    assert "three: 0:00:0" in file.getvalue()


def test_alarms_are_seen_even_when_quiet():
    progress, file = drawn(terminal=False, quiet=True)
    work(progress, 10)
    progress.say("hello")
    progress.alarm("collapse [seed 0]")
    assert file.getvalue() == "! collapse [seed 0]\n"


def test_long_lines_are_not_broken():
    progress, file = drawn(terminal=False, width=20)
    progress.say("report: " + "x" * 100)
    assert file.getvalue().count("\n") == 1


ROWS = [["A", "97.32 ± 0.41", None, 12], ["MobileNetV2 × 0.5", "9.1 ± 0.41", "1.30", 7]]


def test_a_pipe_gets_whole_rows():
    file = io.StringIO()
    table("Frontier", ["point " * 20, "test\naccuracy", "ms", "n"], ROWS, console=Console(file=file, width=40))
    assert "MobileNetV2 × 0.5" in file.getvalue()
    assert max(map(len, file.getvalue().splitlines())) > 100
    assert "\x1b" not in file.getvalue()


def test_a_narrow_terminal_loses_no_cell():
    file = io.StringIO()
    table("", ["point", "accuracy", "ms", "n"], ROWS, console=Console(file=file, width=30, force_terminal=True))
    text = file.getvalue()
    for word in ("MobileN", "97.32", "0.41", "1.30", "12"):
        assert word in text


def test_numbers_stand_right_and_none_is_a_dash():
    file = io.StringIO()
    table("", ["point", "accuracy", "ms", "n"], ROWS, console=Console(file=file, width=80))
    lines = file.getvalue().splitlines()
    assert lines[-2].split() == ["A", "97.32", "±", "0.41", "–", "12"]
    assert lines[-1].endswith(" 7")
    assert lines[-2].endswith("12")
