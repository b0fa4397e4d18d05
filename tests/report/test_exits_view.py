"""Where images left a network with early exits."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from archipel.errors import RunError
from archipel.report import write
from archipel.report.exits_view import COLUMNS, PICTURES, exits, exits_table
from archipel.report.run_folder import read


def left_at(folder: Path, exits_of: dict[str, list[int]]) -> Path:
    """`exits.csv`: image i of a point leaves at its i-th number; every third answer is wrong."""
    with (folder / "exits.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for name, numbers in exits_of.items():
            for i, number in enumerate(numbers):
                writer.writerow([name, i, "cat", "dog" if i % 3 == 0 else "cat", int(i % 3 > 0), 0.25 * number, number])
    return folder


def test_shares_and_accuracies_of_every_point(make_run: Callable[..., Path]) -> None:
    run = read(left_at(make_run(images=12, layers=2, seeds=1), {"A": [2] * 12, "B": [1] * 6 + [2] * 3 + [3] * 3}))
    table = exits_table(run)
    assert table is not None
    assert table.head[1:] == ["leave at exit 1", "leave at exit 2", "leave at exit 3", "mean, ms"]
    first, second = table.rows
    assert first == ["A", "none", "100 %, of which 67 % right", "none", "0.500"]
    assert second[1:4] == [f"{share} %, of which 67 % right" for share in (50, 25, 25)]
    assert second[4] == "0.438"


def test_pictures_stand_at_the_exit_where_they_left(make_run: Callable[..., Path]) -> None:
    numbers = [1, 2] * 40
    run = read(left_at(make_run(images=80, layers=2, seeds=1), {"A": [1] * 80, "B": numbers, "C": numbers}))
    found = exits(run)
    assert found is not None
    name, parts = found
    assert name == "B"
    assert [(part.name, len(part.images)) for part in parts] == [("exit 1", PICTURES), ("exit 2", PICTURES)]
    for number, part in enumerate(parts):
        for place, (uri, said, right) in enumerate(part.images):
            index = 2 * place + number
            assert uri.startswith("data:image/png")
            assert said.startswith(f"test image {index}: cat")
            assert right == ("taken for dog" not in said) == (index % 3 > 0)


def test_the_page_has_the_part_only_where_the_run_has_the_file(make_run: Callable[..., Path]) -> None:
    folder = make_run(images=12, layers=2, seeds=1)
    assert "Where images leave" not in write(folder).read_text(encoding="utf-8")
    html = write(left_at(folder, {"A": [1, 2] * 6})).read_text(encoding="utf-8")
    assert "Where images leave" in html
    assert "Point A, exit by exit" in html


@pytest.mark.parametrize(
    ("text", "said"), [("a,b\n", "has not the columns"), (",".join(COLUMNS) + "\nA,1\n", "line 2")]
)
def test_a_damaged_file_is_one_line(text: str, said: str, make_run: Callable[..., Path]) -> None:
    folder = make_run(images=12, layers=2, seeds=1)
    (folder / "exits.csv").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=said):
        exits_table(read(folder))
