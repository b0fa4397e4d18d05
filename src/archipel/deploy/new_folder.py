"""Folders that are whole or not there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from archipel.errors import OptionError
from archipel.run.atomic import storage_error

__all__ = ["new_folder"]


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make a folder to be filled; it is removed again where that fails.

    Raises:
        OptionError: it is there already and holds something.
        RunError: it may not be made.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OptionError(f"{path} is there already; give a new folder by --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        yield
    except BaseException:  # Ctrl-C too
        shutil.rmtree(path, ignore_errors=True)
        raise
