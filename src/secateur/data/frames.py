"""Raw rows that can be gone through again and again, block by block, without holding them all.

A table in memory is gone through as it is; Parquet and Arrow files are streamed; CSV is parsed
once, as text, into a Parquet file that lives as long as the frames do.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data.contract import counted
from secateur.data.kinds import Profile
from secateur.data.sources import BATCH_ROWS, Part, names_of, stream
from secateur.data.values import is_text, not_utf8, shown
from secateur.errors import DataError


class Frames(Protocol):
    """Rows in a fixed order."""

    names: tuple[str, ...]
    rows: int

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Yield (number of the block's first row, block), all blocks in order."""
        ...

    def take(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Return the rows of these numbers, in this order."""
        ...


def release() -> None:
    """Give the memory back that Arrow keeps for later: after a pass, hundreds of megabytes."""
    pa.default_memory_pool().release_unused()


class TableFrames:
    """The rows of one Arrow table."""

    def __init__(self, table: pa.Table):
        self.table = table
        self.names = tuple(table.schema.names)
        self.rows = table.num_rows

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Yield the table in slices."""
        table = self.table if columns is None else self.table.select(list(columns))
        for start in range(0, table.num_rows, BATCH_ROWS):
            block = table.slice(start, BATCH_ROWS)
            _demand_utf8(block, start)
            yield start, block

    def take(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Return some rows of the table."""
        return self.table.select(list(columns)).take(pa.array(rows))


class FileFrames:
    """The rows of Parquet or Arrow files, one file after the other.

    Args:
        parts: the files.
        folder: a folder that is removed with the frames.
    """

    def __init__(self, parts: Sequence[Part], folder: Path | None = None):
        self.parts = tuple(parts)
        self.names = tuple(names_of(parts[0]))
        counts = [part.rows if part.rows is not None else _count(part) for part in parts]
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.rows = int(self.starts[-1])
        for part in parts[1:]:
            _same_names(self.names, part, names_of(part))
        if folder is not None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Stream the files."""
        for part, start in zip(self.parts, self.starts[:-1], strict=True):
            for block in stream(part, self.names if columns is None else columns):
                if block.table.num_rows:
                    _demand_utf8(block.table, int(block.rows[0]), part)
                    yield int(start + block.rows[0]), block.table

    def take(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Return some rows, reading the files that they lie in."""
        found: dict[int, pa.Table] = {}
        wanted = np.unique(rows)
        for part, first, last in zip(self.parts, self.starts, self.starts[1:], strict=False):
            left = wanted[(wanted >= first) & (wanted < last)]
            blocks = stream(part, columns) if len(left) else iter(())
            for table, places, _ in blocks:
                here = np.isin(places + first, left)
                for place in np.flatnonzero(here):
                    found[int(first + places[place])] = table.slice(place, 1)
                if first + places[-1] >= left[-1]:
                    break
        pieces = [found[int(row)] for row in rows]
        return pa.concat_tables(pieces, promote_options="permissive")


def open_parts(parts: Sequence[Part], *, header: bool) -> tuple[Frames, Profile, list[str]]:
    """Open files as frames, and see what their columns hold.

    Returns:
        The frames, the profile of their columns, and notes on rows that could not be read.

    Raises:
        DataError: a file cannot be read, or the files do not have the same columns.
    """
    if any(part.kind == "csv" for part in parts):
        if not all(part.kind == "csv" for part in parts):
            raise DataError(
                "CSV files and other tables lie side by side.",
                where=parts[0].root,
                mend="Name the files of one kind, such as 'data/*.csv'.",
            )
        return _parse_once(parts, header)
    frames = FileFrames(parts)
    return frames, profile(frames), []


def profile(frames: Frames) -> Profile:
    """See what the columns hold: text is read, of other types one value is enough."""
    seen = Profile(loose=False)
    for _, table in frames.blocks():
        seen.add(table)
        break
    unsure = [name for name, kind in seen.types.items() if is_text(kind) or not seen.present(name)]
    for start, table in frames.blocks(unsure) if unsure else ():
        if start:
            seen.add(table)
    return seen


def _parse_once(parts: Sequence[Part], header: bool) -> tuple[Frames, Profile, list[str]]:
    folder = Path(tempfile.mkdtemp(prefix="secateur-"))
    try:
        return _parse_into(folder, parts, header)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _parse_into(
    folder: Path, parts: Sequence[Part], header: bool
) -> tuple[Frames, Profile, list[str]]:
    names = names_of(parts[0], header=header)
    seen, rows, bad, first = Profile(loose=True), 0, 0, ""
    path = folder / "rows.parquet"
    schema = pa.schema([(name, pa.string()) for name in names])
    try:
        with pq.ParquetWriter(path, schema, compression="lz4", use_dictionary=False) as writer:
            for part in parts:
                _same_names(names, part, names_of(part, header=header))
                for block in stream(part, names, header=header):
                    seen.add(block.table)
                    writer.write_table(block.table)
                    rows += block.table.num_rows
                    if block.bad and not first:
                        first = f"{part.path}, row {block.bad[0].row}: {block.bad[0].reason}"
                    bad += len(block.bad)
    except OSError as error:
        raise DataError(
            f"the rows cannot be written for reading again: {error.strerror or error}.",
            where=folder,
            mend="Make room there, or set TMPDIR to a folder on a larger disk.",
        ) from error
    notes = [f"{counted(bad, 'row')} that cannot be read left out ({first})"] if bad else []
    if not rows:
        what = f"no row can be read: {first}." if first else "there is a header, but no row."
        raise DataError(what, where=parts[0].file)
    cached = Part(path.name, str(folder), "parquet", 0, rows)
    return FileFrames([cached], folder), seen, notes


def _same_names(names: Sequence[str], part: Part, other: Sequence[str]) -> None:
    for name in set(names) - set(other):
        raise DataError(f"the column {name!r} of the other files is not here.", where=part.file)


def _demand_utf8(table: pa.Table, first: int, part: Part | None = None) -> None:
    """Demand text that can be read: what is learned from is too little to leave rows out of."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        broken = not_utf8(column)
        if broken is not None:
            row = int(broken.argmax())
            raise DataError(
                f"column {name}, row {first + row}: {shown(column, row)} is not UTF-8.",
                where=None if part is None else part.file,
                mend="Write the file anew, with its text in UTF-8.",
            )


def _count(part: Part) -> int:
    return sum(block.table.num_rows for block in stream(part))
