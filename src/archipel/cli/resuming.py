"""A run folder gone on with: opened, and held against what is said besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from archipel.errors import OptionError, RunError
from archipel.run.config import replaced
from archipel.run.folder import RunFolder

__all__ = ["resumed"]

Request = TypeVar("Request")


@contextmanager
def resumed(
    resume: Path, of: Callable[[RunFolder], Request], asked: Mapping[str, Any], **unwanted: Any
) -> Iterator[tuple[RunFolder, Request]]:
    """The run folder, locked while the block lasts, and what it was asked.

    Args:
        of: reads the request back from the folder.
        asked: fields of the request that were given; they must not contradict it.
        unwanted: options that a resumed run takes from its folder; None where not given.

    Raises:
        OptionError: one of `unwanted` was given.
        RunError: the folder is no such run, or holds another value of what was asked.
    """
    for name, value in unwanted.items():
        if value is not None:
            raise OptionError(f"--resume takes everything from {resume}; leave out --{name}")
    with RunFolder.open(resume) as folder:
        request = of(folder)
        for name, held, value in replaced(folder.config, asked):
            group, _, last = name.rpartition(".")
            option = name.removeprefix("settings.") if group.startswith("settings") else last
            raise RunError(
                f"--{option.replace('_', '-')} {value} contradicts {folder.path}, which has {held}; leave it out"
            )
        yield folder, request
