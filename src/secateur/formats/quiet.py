"""Keep a library's chatter off the terminal, and keep it for the error that may follow."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import TextIO

# File descriptors belong to the process: two captures at once would swap each other's streams.
_CAPTURING = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what is printed inside the block, from Python or from C++, and every warning.

    An error raised inside passes through, with what was printed attached to it as a note, so that
    nothing that explains it is lost.
    """
    with _CAPTURING, tempfile.TemporaryFile() as chatter, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # A notebook's streams are not the descriptors, so both are turned.
            with (
                open(chatter.fileno(), "w", closefd=False, errors="replace") as text,
                contextlib.redirect_stdout(text),
                contextlib.redirect_stderr(text),
                _redirected(chatter.fileno()),
            ):
                yield
        except Exception as error:
            chatter.seek(0)
            if said := chatter.read().decode(errors="replace").strip():
                error.add_note(said)
            raise


@contextlib.contextmanager
def _redirected(target: int) -> Iterator[None]:
    """Point file descriptors 1 and 2 at `target`, and back again."""
    for stream in (sys.__stdout__, sys.__stderr__):
        _flush(stream)
    saved: dict[int, int] = {}
    try:
        for stream in (1, 2):
            # A service may run with its standard streams closed: then nothing can be printed.
            with contextlib.suppress(OSError):
                saved[stream] = os.dup(stream)
                os.dup2(target, stream)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            _flush(stream)
        for stream, original in saved.items():
            os.dup2(original, stream)
            os.close(original)


def _flush(stream: TextIO | None) -> None:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        if stream is not None:
            stream.flush()
