"""A file of delimited text becomes blocks of Arrow columns; a row that cannot be read is named.

A block is parsed straight to the types wanted; only where that fails it is parsed as text.
Encoding: UTF-8 or UTF-16; a line that is not UTF-8 is read as Windows-1252. Blank lines are no
rows.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from secateur.data.places import Place, failure, open_stream
from secateur.data.values import FALSE_WORDS, NULL_WORDS, TRUE_WORDS, is_text, pc
from secateur.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
BLOCK_BYTES = 4 * 2**20
MAX_RECORD_BYTES = 16 * 2**20
_SAMPLE_BYTES = 256 * 2**10
_SHOWN_BYTES = 1024
_LONG = f"longer than {MAX_RECORD_BYTES // 2**20} MiB"
_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


_Whole = Literal["whole", "open", "long"]


class BadRow(NamedTuple):
    """A row that could not be read: its position (the first data row is 0), why, and its text."""

    row: int
    reason: str
    raw: str


class Block(NamedTuple):
    """Some rows of a part: a table, the position of each of its rows, and the bad rows."""

    table: pa.Table
    rows: np.ndarray
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True)
class Dialect:
    """How a file of delimited text is written.

    Attributes:
        delimiter: what stands between fields.
        names: the names of the fields; "0", "1", ... where the file has no header.
        start: the bytes (as UTF-8) before the first row.
    """

    delimiter: str
    names: tuple[str, ...]
    start: int


def sniff(path: Path | Place, *, header: bool = True) -> Dialect:
    """Find the delimiter and the names of the fields from the first lines of a file.

    Raises:
        DataError: the file is missing, empty, or its header names two columns alike.
    """
    sample = b""
    for chunk in _utf8(path, _SAMPLE_BYTES):
        sample += chunk
        if len(sample) >= _SAMPLE_BYTES and b"\n" in chunk:
            break
        if len(sample) > MAX_RECORD_BYTES and b"\n" not in sample:
            raise DataError(f"the first line is {_LONG}.", where=path)
    blank = len(sample) - len(sample.lstrip(b"\r\n"))
    if blank == len(sample):
        raise DataError("the file is empty.", where=path)
    stop = _first_record(sample, blank)
    delimiter = _delimiter(_lines(sample[blank:]))
    record = _text(sample[blank:stop]).rstrip("\r\n")
    try:
        fields = next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"the first line cannot be read: {error}.", where=path) from error
    if not header:
        return Dialect(delimiter, tuple(map(str, range(len(fields)))), blank)
    names = tuple(name.strip() or f"Unnamed: {i}" for i, name in enumerate(fields))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"the header names {twice[0]!r} more than once.",
            where=path,
            mend="Give each column its own name; or is there no header (header: false)?",
        )
    return Dialect(delimiter, names, stop)


def read_blocks(
    path: Path | Place,
    dialect: Dialect,
    *,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    nulls: Mapping[str, Collection[str]] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """Read a file block by block.

    Args:
        path: the file; .gz, .bz2 and .zst are decompressed.
        dialect: what `sniff` found, possibly with other names.
        columns: the columns to read, in this order; all where None.
        types: the type wanted of a column; text where it has none. A column of a block in which
            some value is not of this type arrives as text.
        nulls: the words that stand for a missing value in a column of text, where these are others
            than usual: in a column of keys "NA" is a key, and only a field with nothing in it is
            missing.
        block_bytes: about how much text is read at a time.

    Yields:
        One `Block` a block of text, bad rows in it being those with the wrong number of fields.
    """
    wanted = tuple(dialect.names if columns is None else columns)
    kinds = {name: (types or {}).get(name, pa.string()) for name in wanted}
    position = 0
    for text, whole in _records(path, dialect.start, block_bytes):
        for table, bad in _tables(path, _as_utf8(text), whole, dialect, kinds):
            table = _with_nulls(table, nulls or {})
            count = table.num_rows + len(bad)
            rows = np.arange(position, position + count)
            if bad:
                rows = np.delete(rows, [row.row for row in bad])
                bad = [row._replace(row=row.row + position) for row in bad]
            yield Block(table, rows, tuple(bad))
            position += count


def _tables(
    path: Path | Place,
    text: bytes,
    whole: _Whole,
    dialect: Dialect,
    kinds: Mapping[str, pa.DataType],
) -> Iterator[tuple[pa.Table, list[BadRow]]]:
    """Parse a block; where a quote that is not closed made one row of many, line by line."""
    why = None if whole == "whole" else f"the row is {_LONG}"
    if whole == "open":
        why = "a quote is not closed" if _is_open(text, dialect.delimiter) else None
    if why is not None:
        empty = pa.schema([(name, pa.string()) for name in kinds]).empty_table()
        yield empty, [BadRow(0, why, _text(text).rstrip("\r\n"))]
        return
    table, bad = _parse(path, text, dialect, kinds)
    if whole != "whole" or not _swallowed(table, bad, kinds):
        yield table, bad
        return
    lines = io.BytesIO(text).readlines()
    odd = [place for place, line in enumerate(lines) if line.count(b'"') % 2]
    start = 0
    for place, after in zip(odd, [*odd[1:], None], strict=True):
        if place < start:
            continue
        if place > start:
            yield _parse(path, b"".join(lines[start:place]), dialect, kinds)
        start = place + 1
        if after is not None:
            table, bad = _parse(path, b"".join(lines[place : after + 1]), dialect, kinds)
            if not bad and not _swallowed(table, bad, kinds):
                yield table, bad
                start = after + 1
                continue
        yield from _tables(path, lines[place], "open", dialect, kinds)
    if start < len(lines):
        yield _parse(path, b"".join(lines[start:]), dialect, kinds)


def _swallowed(table: pa.Table, bad: Sequence[BadRow], kinds: Mapping[str, pa.DataType]) -> bool:
    """Tell whether a line end stands where none can be: in a bad row, or in what is not text."""
    if any("\n" in row.raw.rstrip("\r\n") for row in bad):
        return True
    return any(
        pc.any(pc.match_substring(table.column(name), "\n")).as_py()
        for name, kind in kinds.items()
        if not is_text(kind) and is_text(table.column(name).type)
    )


def _parse(
    path: Path | Place, text: bytes, dialect: Dialect, kinds: Mapping[str, pa.DataType]
) -> tuple[pa.Table, list[BadRow]]:
    try:
        return _arrow(text, dialect, kinds)
    except pa.ArrowInvalid:
        pass
    try:
        table, bad = _arrow(text, dialect, dict.fromkeys(kinds, pa.string()))
    except pa.ArrowInvalid as error:
        raise DataError(f"the text cannot be parsed: {error}.", where=path) from error
    table = _with_nulls(table, {name: ("",) for name, kind in kinds.items() if is_text(kind)})
    for index, (name, kind) in enumerate(kinds.items()):
        try:
            table = table.set_column(index, name, table.column(index).cast(kind))
        except pa.ArrowInvalid:
            continue
    return table, bad


def _arrow(
    text: bytes, dialect: Dialect, kinds: Mapping[str, pa.DataType]
) -> tuple[pa.Table, list[BadRow]]:
    bad: list[BadRow] = []

    def skip(row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields, where {row.expected_columns} are expected"
        bad.append(BadRow(row.number - 1, reason, row.text))
        return "skip"

    table = pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(
            column_names=list(dialect.names), use_threads=False, block_size=len(text) + 1
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=skip
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(kinds),
            include_columns=list(kinds),
            null_values=list(NULL_WORDS),
            true_values=list(TRUE_WORDS),
            false_values=list(FALSE_WORDS),
        ),
    )
    return table, bad


def _with_nulls(table: pa.Table, nulls: Mapping[str, Collection[str]]) -> pa.Table:
    """Return a table in whose columns of text the words for what is missing are nulls."""
    for index, name in enumerate(table.column_names):
        column = table.column(index)
        if is_text(column.type):
            words = pa.array(nulls.get(name, NULL_WORDS), column.type)
            missing = pc.is_in(column, value_set=words)
            if pc.any(missing).as_py():
                column = pc.if_else(missing, pa.scalar(None, column.type), column)
                table = table.set_column(index, name, column)
    return table


def _utf8(path: Path | Place, block_bytes: int) -> Iterator[bytes]:
    """Yield the file's bytes as UTF-8, decompressed, without a byte order mark."""
    try:
        with open_stream(path) as stream:
            first = stream.read(block_bytes)
            bom = next((mark for mark in _BOMS if first.startswith(mark)), b"")
            first = first[len(bom) :]
            decoder = None
            if _BOMS.get(bom, "utf-8") != "utf-8":
                decoder = codecs.getincrementaldecoder(_BOMS[bom])()
            old_ends = b"\r" in first and b"\n" not in first
            while first:
                text = decoder.decode(first).encode() if decoder else first
                yield text.replace(b"\r", b"\n") if old_ends else text
                first = stream.read(block_bytes)
            if decoder:
                decoder.decode(b"", final=True)
    except (OSError, UnicodeError) as error:
        raise failure("the file cannot be read", path, error) from error


def _records(path: Path | Place, start: int, block_bytes: int) -> Iterator[tuple[bytes, _Whole]]:
    """Yield (text, "whole") for blocks of whole records, which may hold line ends inside quotes.

    A quote that is not closed would make one record of all that follows: then (line, "open") is
    yielded for the line that it is in, and what follows are records again. Of a line that is too
    long to hold, (its beginning, "long") is yielded, and what is left of it is passed over.
    """
    held, passing = b"", False
    for chunk in _utf8(path, block_bytes):
        if start:
            start, chunk = start - min(start, len(chunk)), chunk[start:]
        if passing:
            stop = chunk.find(b"\n") + 1
            chunk, passing = chunk[stop:] if stop else b"", not stop
        held += chunk
        while True:
            stop = _last_record(held)
            if stop:
                yield held[:stop], "whole"
                held = held[stop:]
            if len(held) <= MAX_RECORD_BYTES:
                break
            line, held = _first_line(held)
            passing = not line.endswith(b"\n")
            yield (line[:_SHOWN_BYTES], "long") if passing else (line, "open")
    while held.strip(b"\r\n"):
        stop = len(held) if held.count(b'"') % 2 == 0 else _last_record(held)
        if stop:
            yield held[:stop], "whole"
            held = held[stop:]
        else:
            line, held = _first_line(held)
            yield line, "open"


def _first_line(data: bytes) -> tuple[bytes, bytes]:
    stop = data.find(b"\n") + 1 or len(data)
    return data[:stop], data[stop:]


def _is_open(line: bytes, delimiter: str) -> bool:
    """Tell whether a line opens a quoted field and does not close it."""
    try:
        list(csv.reader([_text(line)], delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "field limit" not in str(error)
    return False


def _last_record(data: bytes) -> int:
    """Return where the last whole record ends: a line end after an even number of quotes."""
    stop = data.rfind(b"\n") + 1
    if data.count(b'"', 0, stop) % 2 == 0:
        return stop
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == 10)
    even = ends[np.searchsorted(np.flatnonzero(array == 34), ends) % 2 == 0]
    return int(even[-1]) + 1 if len(even) else 0


def _first_record(data: bytes, start: int) -> int:
    """Return where the first record ends."""
    stop = start
    while stop := data.find(b"\n", stop) + 1:
        if data.count(b'"', start, stop) % 2 == 0:
            return stop
    return len(data)


def _lines(sample: bytes) -> list[str]:
    """Return the first lines of a sample, the last one only where it is alone: it may be cut."""
    plain = "".join(_text(sample[:65536]).split('"')[::2])  # without what stands in quotes
    lines = [line for line in plain.split("\n") if line.strip("\r")]
    return lines[:50] if len(lines) <= 1 else lines[:-1][:50]


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that occurs most often, and equally often in most lines."""
    scores: dict[str, tuple[float, int]] = dict.fromkeys(DELIMITERS, (0.0, 0))
    for delimiter in DELIMITERS if lines else ():
        counts = Counter(line.count(delimiter) for line in lines)
        count, agreeing = max(counts.items(), key=lambda item: (item[1], item[0]))
        scores[delimiter] = (agreeing / len(lines) if count else 0.0, count)
    best = max(DELIMITERS, key=lambda delimiter: scores[delimiter])
    return best if scores[best][1] else ","


def _as_utf8(text: bytes) -> bytes:
    """Return text that is all UTF-8.

    Arrow would pass over a row of too many fields without a word where it is not.
    """
    if text.isascii():
        return text
    try:
        text.decode()
    except UnicodeDecodeError:
        return _text(text).encode()
    return text


def _text(data: bytes) -> str:
    """Decode UTF-8, line by line as Windows-1252 where a line is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\n".join(map(_line, data.split(b"\n")))


def _line(data: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return data.decode("latin-1")  # which has a character for every byte
