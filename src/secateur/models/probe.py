"""Look through an HDF5 file and say what in it no Keras writes; run as a process of its own.

The HDF5 library can go round in circles on a damaged file, in code that nothing in the same process
can stop. As a process, this one is ended by the system once it has used its seconds.

    python -m secateur.models.probe FILE      # exits with REFUSED and one line, or with 0
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py

REFUSED = 3
# Below this nothing is refused for its size, whatever the size of its file.
FLOOR = 256 * 2**20
# Weights that compress more than this many times are not weights.
MOST_GROWTH = 100
MOST_OBJECTS = 200_000

_SECONDS = 4
_MEMORY = 8 * 2**30


class _RefusedError(Exception):
    pass


def look(source: Path | IO[bytes], *, through: bool = False) -> str:
    """Return what is wrong with an HDF5 file, "" where nothing is.

    Args:
        source: the file.
        through: read attributes and chunks as well, to see that reading them ends.

    Raises:
        Exception: what the library raises on a damaged file.
    """
    declared = 0
    try:
        with h5py.File(source, "r") as file:
            for name, here in _objects(file):
                if through:
                    list(here.attrs.items())
                if not isinstance(here, h5py.Dataset):
                    continue
                declared += _size(name, here, declared)
                if through and here.chunks and here.dtype.kind != "O":
                    here[()]
    except _RefusedError as error:
        return str(error)
    return ""


def _size(name: str, dataset: h5py.Dataset, before: int) -> int:
    if dataset.external or dataset.is_virtual:
        raise _RefusedError(f"the dataset {name!r} keeps its numbers in other files")
    if dataset.dtype.hasobject and h5py.check_string_dtype(dataset.dtype) is None:
        raise _RefusedError(f"the dataset {name!r} holds no numbers")
    size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if before + size > FLOOR and size > MOST_GROWTH * stored:
        raise _RefusedError(
            f"the dataset {name!r} says that it has {size:,} bytes, and {stored:,} are stored"
        )
    return size


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield every object once; links, which can lead in circles or elsewhere, are refused."""
    waiting: list[tuple[str, Any]] = [("", file)]
    seen: set[Any] = set()
    yield "/", file
    while waiting:
        above, group = waiting.pop()
        for name in group:
            where = f"{above}/{name}"
            if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                raise _RefusedError(f"{where!r} is a link")
            here = group[name]
            address = h5py.h5o.get_info(here.id).addr  # pyright: ignore[reportAttributeAccessIssue]
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise _RefusedError(f"the file holds more than {MOST_OBJECTS:,} objects")
            yield where, here
            if isinstance(here, h5py.Group):
                waiting.append((where, here))


def _bound() -> None:
    """Let the system end this process where it takes too much."""
    try:
        import resource
    except ImportError:  # Windows, where the caller's clock has to do
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + _SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


if __name__ == "__main__":
    _bound()
    what = look(Path(sys.argv[1]), through=True)
    print(what)
    sys.exit(REFUSED if what else 0)
