"""The command line: one command a file, listed in `app`. Modules of commands are imported when they are called."""

from archipel.cli.app import main

__all__ = ["main"]
