"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from archipel.errors import RunError

__all__ = ["StorageError", "replace", "storage_error"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StorageError(RunError):
    """The disk refused a write. Not the caller's mistake: the command line exits with 1."""


def storage_error(path: Path, error: OSError, size: int = 0) -> RunError:
    """The one line for a failed write of `size` bytes to `path`: the folder, and what to do."""
    folder = path.parent
    if error.errno in _FULL:
        needed = f"{_megabytes(size)} needed, " if size else ""
        free = "free space unknown"
        with suppress(OSError):
            free = f"{_megabytes(shutil.disk_usage(folder).free)} free"
        return StorageError(
            f"no space left to write {path} ({needed}{free}); "
            f"free space on the disk that holds {folder}, for example by deleting older run folders"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return RunError(f"may not write {path} ({error.strerror}); choose a folder you may write to")
    return StorageError(f"cannot write {path} ({error.strerror or error}); the previous file is whole")


def replace(path: Path, content: bytes) -> None:
    """Make `content` the file at `path`, flushed to the disk before the old file goes.

    Raises:
        StorageError: the disk is full or failing. The old file is whole and no temporary file stays.
        RunError: the folder may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise storage_error(path, error, len(content)) from error
    except BaseException:  # Ctrl-C between write and rename must not leave the temporary file either
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
