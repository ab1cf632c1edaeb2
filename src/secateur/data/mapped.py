"""Rows too many for memory: encoded once, into files that are mapped, and read in blocks."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.data.contract import Contract
from secateur.data.feed import Arrays, window_rows
from secateur.data.frames import Frames
from secateur.data.kinds import Kind
from secateur.data.stores import TableStore, row_bytes
from secateur.errors import DataError
from secateur.files import reserve

# A window is mixed from so many blocks: of more there would be more to gather for each batch.
_BLOCKS = 64
# The bytes of the smallest block: less is not worth a reading.
_LEAST = 2**16


class MappedStore(TableStore):
    """Rows of frames, encoded into mapped files when they are first asked for.

    Args:
        contract: how rows are encoded.
        frames: the rows.
        codes: the split of each row.
        kinds: the kind of each input column and of the target.
        lengths: how many numbers the lists of a column of kind "list" have.
        cache_bytes: the most memory that encoded rows may take.

    Attributes:
        block: how many rows are read at a time.
        window: how many rows are mixed with one another.
    """

    def __init__(
        self,
        contract: Contract,
        frames: Frames,
        codes: np.ndarray,
        kinds: Mapping[str, Kind],
        lengths: Mapping[str, int],
        cache_bytes: int,
    ):
        super().__init__(contract, frames, codes, kinds, lengths)
        room = window_rows(contract, cache_bytes)
        self.block = max(room // _BLOCKS, _LEAST // row_bytes(contract), 1)
        self.window = max(room, self.block)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the encoded rows out: another process encodes them anew, into a file of its own."""
        return {**self.__dict__, "_encoded": None}

    def sizes(self, split: int) -> np.ndarray:
        """Return how many rows of a split each block has."""
        self._arrays(split)  # made here: each of the threads that read blocks would begin to
        starts = np.arange(0, self.counts[split], self.block)
        return np.minimum(self.counts[split] - starts, self.block)

    def decode(self, split: int, block: int) -> Arrays:
        """Return a block's rows of one split, and "y", their targets.

        Raises:
            DataError: the mapped file is gone, or was cut short.
        """
        first = block * self.block
        last = min(first + self.block, self.counts[split])
        return {name: _rows(array, first, last) for name, array in self._arrays(split).items()}

    def _allocate(self) -> list[Arrays]:
        folder = _folder(self, row_bytes(self.contract) * sum(self.counts))
        try:
            return [
                {
                    name: _array(folder / f"{split}-{name}", *made)
                    for name, made in self._shapes(split).items()
                }
                for split in range(3)
            ]
        except OSError as error:
            raise _no_room(f"{error.strerror or error}", folder) from error


def _folder(owner: object, needed: int) -> Path:
    """Make a folder for mapped arrays that is removed with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="secateur-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _no_room(f"{needed:,} bytes are needed, and {free:,} are free", folder)
    return folder


def _no_room(what: str, folder: Path) -> DataError:
    return DataError(
        f"the encoded rows cannot be kept: {what}.",
        where=folder.parent,
        mend="Make room there, or set TMPDIR to a folder on a larger disk.",
    )


def _rows(array: np.ndarray, first: int, last: int) -> np.ndarray:
    """Read rows from the file of an array, and nothing around them, as touching its pages would."""
    if not isinstance(array, np.memmap):
        return array[first:last]
    rows = np.empty((last - first, *array.shape[1:]), array.dtype)
    file = Path(str(array.filename))
    try:
        with open(file, "rb") as stream:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            stream.seek(first * array[0].nbytes)
            short = stream.readinto(rows.data) < rows.nbytes
    except OSError as error:
        raise _lost(file, str(error.strerror or error)) from error
    if short:
        raise _lost(file, "it was cut short")
    return rows


def _lost(file: Path, why: str) -> DataError:
    return DataError(
        f"the encoded rows cannot be read: {why}.",
        where=file,
        mend="Keep what tidies temporary files away from it, or set TMPDIR to another folder.",
    )


def _array(file: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if 0 in shape:
        return np.empty(shape, dtype)
    array = np.memmap(file, dtype, mode="w+", shape=shape)
    with open(file, "r+b") as stream:
        reserve(stream.fileno(), array.nbytes)
    return array
