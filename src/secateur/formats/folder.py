"""A folder is there whole, or not there at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from secateur.errors import OutputError
from secateur.files import PARTIAL, sync


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
