"""Row groups: the pieces of Parquet and Arrow files that can be read one by one, in any order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data.columnar import sound
from secateur.data.frames import FileFrames, Frames
from secateur.data.kinds import kind_of
from secateur.data.plain import plain
from secateur.data.sources import Part
from secateur.errors import DataError

_BROKEN = (OSError, pa.ArrowException)


class RowGroups:
    """The row groups of some files, in the order of the files.

    Args:
        parts: the files.
        counts: the rows of each row group, file by file.

    Attributes:
        starts: int64 (groups + 1,): the number of the first row of each group, and of all rows.
    """

    def __init__(self, parts: Sequence[Part], counts: Sequence[Sequence[int]]):
        self.parts = tuple(parts)
        flat = np.array([rows for each in counts for rows in each], np.int64)
        self._part = np.repeat(np.arange(len(counts), dtype=np.int32), [len(c) for c in counts])
        self._number = np.concatenate([np.arange(len(c), dtype=np.int32) for c in counts])
        self._files = [Path(str(part.file)) for part in parts]
        self._stamps = [_stamp(file) for file in self._files]
        # What holds no row cannot be drawn from.
        full = flat > 0
        self._part, self._number, flat = self._part[full], self._number[full], flat[full]
        self.starts = np.concatenate([[0], np.cumsum(flat)])

    def __len__(self) -> int:
        return len(self._part)

    def file(self, group: int) -> Path:
        """Return the file that a group is in."""
        return self._files[int(self._part[group])]

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Read some columns of a group.

        Raises:
            DataError: the file is gone, is not what it was, or cannot be read.
        """
        place, number = int(self._part[group]), int(self._number[group])
        part = self.parts[place]
        if _stamp(self._files[place]) != self._stamps[place]:
            raise DataError(
                "the file was changed after the data was looked at.",
                where=part.file,
                mend="Read the data anew, and train from the start.",
            )
        try:
            table = _read(part, number, list(columns))
        except (*_BROKEN, KeyError) as error:
            told = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            raise DataError(
                f"row group {number} cannot be read: {told}.",
                where=part.file,
                mend="Put back a whole copy of the file, and go on with `resume`.",
            ) from error
        rows = int(self.starts[group + 1] - self.starts[group])
        if table.num_rows != rows:
            raise DataError(
                f"row group {number} has {table.num_rows:,} rows, and had {rows:,}.",
                where=part.file,
                mend="Read the data anew, and train from the start.",
            )
        return table


def row_groups(frames: Frames) -> RowGroups | None:
    """Return the row groups of frames; None where they are not in files here that have such.

    Raises:
        DataError: a file is gone, or cannot be read.
    """
    if not isinstance(frames, FileFrames):
        return None
    counts = []
    for part in frames.parts:
        if not isinstance(part.file, Path) or part.partition:
            return None
        try:
            found = _counts(part)
        except _BROKEN as error:
            raise DataError(f"the file cannot be read: {error}.", where=part.file) from error
        if found is None:
            return None
        counts.append(found)
    groups = RowGroups(frames.parts, counts)
    # Rows that were passed over as unreadable have no place in a group.
    return groups if groups.starts[-1] == frames.rows else None


def demand_one_schema(frames: Frames, columns: Sequence[str]) -> None:
    """Demand that each column is of one kind in all files.

    Raises:
        DataError: a column is text in one file and numbers in another, or the like.
    """
    if not isinstance(frames, FileFrames) or len(frames.parts) < 2:
        return
    known: dict[str, tuple[Part, pa.DataType]] = {}
    for part in frames.parts:
        if not isinstance(part.file, Path):
            continue
        try:
            schema = _schema(part)
        except _BROKEN:
            continue  # said where the rows are read
        for name in columns:
            place = schema.get_field_index(name)
            if place < 0 or pa.types.is_null(schema.field(place).type):
                continue
            first, kind = known.setdefault(name, (part, schema.field(place).type))
            if kind_of(kind) != kind_of(schema.field(place).type):
                raise DataError(
                    f"the column {name!r} holds {schema.field(place).type} here, and {kind} in "
                    f"{first.path}.",
                    where=part.file,
                    mend="Write the file anew with the types of the others, or take it away.",
                )


def _stamp(file: Path) -> tuple[int, int]:
    """Return what a file is told by: its size, and when it was written."""
    try:
        found = os.stat(file)
    except OSError as error:
        raise DataError(
            f"the file is gone: {error.strerror or error}.",
            where=file,
            mend="Put it back, and go on with `resume`.",
        ) from error
    return found.st_size, found.st_mtime_ns


def _read(part: Part, number: int, columns: list[str]) -> pa.Table:
    if part.kind == "parquet":
        with pq.ParquetFile(part.file, page_checksum_verification=True) as file:
            return plain(file.read_row_group(number, columns=columns, use_threads=False))
    with pa.OSFile(str(part.file)) as source:
        batch = pa.ipc.open_file(source).get_batch(number).select(columns)
        return pa.Table.from_batches([sound(batch)])


def _counts(part: Part) -> list[int] | None:
    if part.kind == "parquet":
        found = pq.read_metadata(part.file)
        return [found.row_group(i).num_rows for i in range(found.num_row_groups)]
    with pa.OSFile(str(part.file)) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            return None  # a stream, which can be read from its beginning alone
        return [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]


def _schema(part: Part) -> pa.Schema:
    if part.kind == "parquet":
        return pq.read_schema(part.file)
    with pa.OSFile(str(part.file)) as source:
        try:
            return pa.ipc.open_file(source).schema
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).schema
