"""How long work reports how far it is: the contract, and the implementation that says nothing.

The rich implementation is `archipel.run.console`; code below the recipes sees only this protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["SILENT", "Bar", "Progress"]


class Bar(Protocol):
    """One long step with a known number of parts."""

    def advance(self, n: int = 1, **figures: float | str) -> None:
        """`n` more parts are done; `figures` are shown beside the bar."""


class Progress(Protocol):
    """Where a long computation says how far it is."""

    def bar(self, title: str, total: int) -> AbstractContextManager[Bar]:
        """Show a bar of `total` parts for the length of a `with` block."""

    def say(self, text: str) -> None:
        """One line that stays on the screen."""

    def alarm(self, text: str) -> None:
        """One line that must not be overlooked: the result is in doubt."""


class _Silent:
    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:  # noqa: ARG002
        yield self

    def advance(self, n: int = 1, **figures: float | str) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def alarm(self, text: str) -> None:
        pass


SILENT: Progress = _Silent()
