"""A file is there whole, or as it was before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from secateur.errors import OutputError

# The ending of what is not whole yet.
PARTIAL = ".partial"


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to, which takes the name `path` when the block ends without an error.

    A file that is already at `path` is replaced, or stays as it was. Raises what the system raises.
    """
    final = Path(path)
    partial = final.with_name(final.name + PARTIAL)
    try:
        yield partial
        sync(partial)
        os.replace(partial, final)
        sync(final.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> Path:
    """Write a text file, whole or not at all; the folders above it are made.

    Raises:
        OutputError: the file cannot be written; what stood there before is left as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the file cannot be written: {error.strerror or error}.",
            where=path,
            mend="Choose a folder that can be written and has room.",
        ) from None
    return path


def reserve(handle: int, size: int) -> None:
    """Give an open file its size, and room for it on the disk. Raises what the system raises.

    A mapped file with holes kills the process when the disk is full; a whole one cannot.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)


def lock(file: IO[bytes] | int) -> bool:
    """Take an open file for this process alone until it is closed; False where another has it.

    Args:
        file: the file, or the descriptor of a file or a folder.

    Raises:
        OutputError: the file system has no locks, as Lustre where it is mounted without them.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where two jobs on one file are not told apart
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise OutputError(
            f"its file system has no locks ({error.strerror}).",
            where=getattr(file, "name", None),
            mend="Mount it with them (Lustre: the option flock), or name a folder on another disk.",
        ) from error
    return True


def sync(path: Path) -> None:
    """Wait until a file or a folder's list of names is on the disk."""
    flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) if path.is_dir() else os.O_RDONLY
    try:
        handle = os.open(path, flags)
    except PermissionError:
        # Windows opens no folder; there the rename alone has to do.
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
