"""The files below a folder: none is passed over without a word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from secateur.errors import DataError


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder; a folder that cannot be listed is not passed over."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"the folder cannot be listed: {error.strerror or error}.", where=error.filename
        ) from error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def is_file(file: Path) -> bool:
    """Tell whether a name is a file, or a link that leads nowhere, which is to be told of."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def size_of(file: Path) -> int:
    """Return the size of a file; 0 where it cannot be told."""
    try:
        return file.stat().st_size
    except OSError:
        return 0  # said where the part is read
