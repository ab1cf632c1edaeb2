"""A folder or a file is there whole, or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from secateur.errors import OutputError

# The ending of what is not whole yet.
PARTIAL = ".partial"


@contextlib.contextmanager
def new_folder(out: str | Path, *, replaces: str | None = None) -> Iterator[Path]:
    """Yield an empty folder that takes the name `out` when the block ends without an error.

    Args:
        out: the folder to make; its parents are made as well.
        replaces: the name of a file; a folder that is already at `out` and holds that file is
            replaced. None never replaces anything.

    Raises:
        OutputError: something is at `out` already, or the folder cannot be written.
    """
    final = Path(out)
    check_free(final, replaces=replaces)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(final)
    except OSError as error:
        raise _cannot_write(final, error) from error
    try:
        yield partial
        _settle(partial)
        _put_in_place(partial, final)
    except OSError as error:
        raise _cannot_write(final, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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


def check_free(out: Path, *, replaces: str | None = None) -> None:
    """Raise `OutputError` where `out` holds something that may not be replaced."""
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() and not out.is_symlink():
        if not any(out.iterdir()) or (replaces is not None and (out / replaces).is_file()):
            return
        mend = "Name another folder, or remove this one."
        if replaces is not None:
            what = f"the folder exists and holds no {replaces}, so it is not replaced."
        else:
            what = "the folder exists and is not empty."
    else:
        what, mend = "there is a file of that name.", "Name another folder."
    raise OutputError(what, where=out, mend=mend)


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


def _settle(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def _beside(final: Path) -> Path:
    """Make a hidden folder beside `final`, on the same disk, so that a rename moves it."""
    folder = final.parent / f".{final.name}.{secrets.token_hex(4)}{PARTIAL}"
    folder.mkdir()
    return folder


def _put_in_place(partial: Path, final: Path) -> None:
    if not final.exists():
        os.rename(partial, final)
    else:
        old = _beside(final)
        os.rename(final, old / "old")
        try:
            os.rename(partial, final)
        except OSError:
            os.rename(old / "old", final)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    sync(final.parent)


def _cannot_write(out: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the folder cannot be written ({error.strerror or error}).",
        where=out,
        mend="Make room on the disk, or choose a folder that you may write to.",
    )
