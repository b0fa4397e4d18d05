"""What a command gives back: JSON for a program or a table for a person, on stdout."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["command_line", "facts", "give", "listing", "quoted"]


def give(content: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print `content` as JSON, or call `show`."""
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        show()


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    """A title and aligned "name value" lines; pairs whose value is None are left out."""
    rows = [(name, str(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in rows), default=0)
    print(title)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


def listing(title: str, rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Records with the same keys: a JSON list, or a table with the keys as its columns."""
    from archipel.run.console import table

    columns = list(rows[0]) if rows else []
    give(list(rows), as_json, lambda: table(title, columns, [list(row.values()) for row in rows]))


def command_line() -> str:
    """The command as it was typed, to be kept with the run."""
    return shlex.join(["archipel", *sys.argv[1:]])


def quoted(path: Path | str) -> str:
    """`path` as one word of a shell."""
    return shlex.quote(str(path))
