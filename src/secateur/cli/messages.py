"""What each kind of error says to the user, and the exit code it gives: one table.

An error that is not in the table is a defect of secateur and keeps its traceback.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import typer

from secateur.cli import out
from secateur.errors import SecateurError


class Message(NamedTuple):
    """One line for the user, the mend, and the exit code."""

    text: str
    mend: str | None
    code: int


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that tells the errors of the table and leaves with their exit codes."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BaseException as error:
            message = message_for(error)
            if message is None:
                raise
            out.fail(message.text, message.mend)
            raise typer.Exit(message.code) from None

    return wrapped


def message_for(error: BaseException) -> Message | None:
    """Return what an error says to the user; None for a defect."""
    for kinds, make in _TABLE:
        if isinstance(error, kinds) and (made := make(error)) is not None:
            return made
    return None


def _mendable(error: Any) -> Message:
    where = f"{error.where}: " if error.where else ""
    what = " ".join(str(error.what).split())
    return Message(f"{where}{what}", error.mend, error.exit_code)


def _interrupted(error: Any) -> Message:
    told = "; ".join(getattr(error, "__notes__", ()))
    return Message("interrupted.", told or "Nothing that was finished is lost.", 130)


def _not_installed(error: Any) -> Message | None:
    packages = {"tensorflow": "tensorflow", "tf2onnx": "tensorflow", "mlxtend": "demo"}
    extra = packages.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    return Message(
        f"the package {error.name} is not installed.",
        f"Run `pip install 'secateur[{extra}]'`.",
        2,
    )


def _disk(error: Any) -> Message | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Message(f"{error.filename or 'output'}: the disk is full.", "Make room.", 2)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Message(f"{error.filename}: {os.strerror(error.errno)}.", "Check its rights.", 2)
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
        return Message(f"{error.filename}: {os.strerror(error.errno)}.", "Check the path.", 2)
    return None


def _memory(error: Any) -> Message:
    return Message("there is not enough memory.", "Use a smaller batch.", 2)


_TABLE: tuple[tuple[type[BaseException], Callable[[Any], Message | None]], ...] = (
    (SecateurError, _mendable),
    (KeyboardInterrupt, _interrupted),
    (ModuleNotFoundError, _not_installed),
    (MemoryError, _memory),
    (OSError, _disk),
)
