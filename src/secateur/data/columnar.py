"""Parquet and Arrow files, here or in a store: a file in, record batches out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data.faults import missing_column
from secateur.data.places import REQUESTS, Place, failure, open_file, told
from secateur.data.plain import plain
from secateur.errors import ContractError, DataError, StoreError

# Without a buffer Arrow holds a whole row group of a Parquet file at once.
_BUFFER = 64 * 1024
_WHAT = "the file cannot be read"
_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
_BROKEN = (OSError, ValueError, OverflowError, pa.ArrowException)


def parquet_batches(
    file: Path | Place,
    columns: Sequence[str] | None,
    batch_rows: int,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file, of some of its row groups or of all.

    Raises:
        DataError: the file cannot be read.
        ContractError: a column is not in the file.
    """
    # From a store a row group comes in few large requests, and is held as a whole; here it is
    # read bit by bit.
    far = isinstance(file, Place)
    # Checksums of pages are verified where a file has them.
    options: dict[str, Any] = {"pre_buffer": far, "page_checksum_verification": True}
    options |= {} if far else {"buffer_size": _BUFFER}
    with told(file, _WHAT), open_file(file) as source, pq.ParquetFile(source, **options) as parquet:
        demand(columns, parquet.schema_arrow.names, file)
        names = None if columns is None else list(columns)
        wanted = list(range(parquet.num_row_groups) if groups is None else groups)
        for some in [[group] for group in wanted] if far else [wanted]:
            batches = parquet.iter_batches(
                batch_rows, row_groups=some, columns=names, use_threads=False
            )
            yield from map(plain, batches)


def arrow_batches(
    file: Path | Place, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an Arrow IPC file or stream.

    Raises:
        DataError: the file cannot be read.
        ContractError: a column is not in the file.
    """
    with told(file, _WHAT):
        # Not mapped: a mapped file that somebody cuts short ends the whole process.
        reader = _open_arrow(open_file(file))
        demand(columns, reader.schema.names, file)
        batches: Iterable[pa.RecordBatch] = (
            reader
            if isinstance(reader, pa.RecordBatchStreamReader)
            else (reader.get_batch(i) for i in range(reader.num_record_batches))
        )
        for batch in batches:
            chosen = sound(batch if columns is None else batch.select(list(columns)))
            for start in range(0, chosen.num_rows, batch_rows):
                yield chosen.slice(start, batch_rows)


def sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch of an Arrow file in plain kinds, once its offsets are known to hold.

    An offset that a broken file gets wrong would else be followed out of the file. Whether text is
    UTF-8 is asked row by row, elsewhere.

    Raises:
        pa.ArrowInvalid: an offset or a size is wrong.
    """
    for column in batch.columns:
        _as_bytes(column).validate(full=True)
    return plain(batch)


def _as_bytes(column: pa.Array) -> pa.Array:
    """Return text as the bytes that it is written in."""
    kind = _BYTES.get(column.type)
    if kind is not None:
        return column.view(kind)
    if pa.types.is_dictionary(column.type) and column.type.value_type in _BYTES:
        # It checks the indices.
        return pa.DictionaryArray.from_arrays(column.indices, _as_bytes(column.dictionary))
    return column


def names_of(file: Path | Place, *, parquet: bool) -> list[str]:
    """Return the names of the columns of a Parquet or an Arrow file.

    Raises:
        DataError: the file cannot be read, or names two columns alike.
    """
    with told(file, _WHAT), open_file(file) as source:
        names = (pq.read_schema(source) if parquet else _open_arrow(source).schema).names
    demand((), names, file)
    return names


def count_rows(files: Sequence[Path | Place | None]) -> list[int | None]:
    """Return how many rows each Parquet file has; None where there is no file or it is broken."""
    if not any(isinstance(file, Place) for file in files):
        return [_rows(file) for file in files]
    with ThreadPoolExecutor(REQUESTS) as pool:
        return list(pool.map(_rows, files))


def demand(columns: Sequence[str] | None, names: Sequence[str], file: Path | Place) -> None:
    """Raise where a file lacks a column, or names two alike."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"two columns are named {twice!r}.", where=file)
    for name in columns or ():
        if name not in names:
            raise ContractError(missing_column(name, list(names)), where=file)


def _rows(file: Path | Place | None) -> int | None:
    if file is None:
        return None
    try:
        with open_file(file) as source:
            return pq.read_metadata(source).num_rows
    except _BROKEN as error:
        unread = failure(_WHAT, file, error)
        if isinstance(unread, StoreError):
            raise unread from error
        return None  # said where the part is read, so that the other parts can be done


def _open_arrow(source: pa.NativeFile) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)
