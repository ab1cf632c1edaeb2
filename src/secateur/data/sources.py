"""Where raw data lies: a file, a folder or a glob becomes parts, and a part a stream of blocks.

Parts come in a fixed order, and a part is streamed: memory does not grow with the size of the data.
"""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data.contract import BooleanColumn, Contract, NumericColumn
from secateur.data.delimited import BadRow, Block, Dialect, read_blocks, sniff
from secateur.data.encode import missing_column
from secateur.data.images import SUFFIXES as IMAGE_SUFFIXES
from secateur.errors import ContractError, DataError

__all__ = ["BadRow", "Block", "Part", "find_parts", "names_of", "stream"]

Kind = Literal["parquet", "csv", "arrow", "image"]
BATCH_ROWS = 65_536
IMAGES_PER_PART = 1024

_KINDS: dict[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
}
_COMPRESSED = (".gz", ".bz2", ".zst")
# Without a buffer Arrow holds a whole row group of a Parquet file at once.
_BUFFER = 64 * 1024
_BROKEN = (OSError, pa.ArrowException, UnicodeDecodeError)


@dataclass(frozen=True)
class Part:
    """One piece of raw data, done as a whole.

    Attributes:
        path: the file relative to `root`, with forward slashes; of a chunk of images the first.
        root: the folder that the source names or lies in.
        kind: "parquet", "csv", "arrow" or "image".
        index: the part's place in the order of parts.
        rows: how many rows it has, where that is known without reading it.
        files: the image files of the chunk relative to `root`; empty for other kinds.
        bytes: the size of its file or files.
    """

    path: str
    root: str
    kind: Kind
    index: int
    rows: int | None = None
    files: tuple[str, ...] = ()
    bytes: int = 0

    @property
    def file(self) -> Path:
        """The file, root and all."""
        return Path(self.root, self.path)


def find_parts(
    source: str | Path,
    *,
    kind: Literal["table", "image"] | None = None,
    images_per_part: int = IMAGES_PER_PART,
) -> list[Part]:
    """Find the parts of a source, in the order of their paths.

    Args:
        source: a file, a folder (with all its sub-folders), or a glob such as "data/*.parquet".
        kind: look for tables or for images alone; where None, for what there are more files of.
        images_per_part: how many images make a part.

    Hidden files are passed over, and so are tables in files or folders whose names begin with "_".

    Raises:
        DataError: nothing is there, or nothing that can be read.
    """
    root, files = _find_files(source)
    sorts: dict[Path, Kind | None] = {file: _kind_of(file) for file in files}
    if len(files) == 1 and Path(source).is_file() and sorts[files[0]] is None:
        raise DataError(
            f"files that end in {files[0].suffix or 'nothing'!r} cannot be read.",
            where=source,
            mend="Give CSV, Parquet, Arrow or image files.",
        )
    images = [file for file, sort in sorts.items() if sort == "image"]
    tables: list[tuple[Path, Kind]] = [
        (file, sort)
        for file, sort in sorts.items()
        if sort is not None and sort != "image" and not (len(files) > 1 and _is_log(file, root))
    ]
    wanted = kind or ("image" if len(images) > len(tables) else "table")
    if not (images if wanted == "image" else tables):
        what = {"image": "an image", "table": "a table"}[wanted] if kind else "data"
        raise DataError(
            f"no file that holds {what} is there ({len(files)} files seen).",
            where=source,
            mend="Give CSV, Parquet, Arrow or image files.",
        )
    if wanted == "image":
        starts = range(0, len(images), images_per_part)
        chunks = [images[start : start + images_per_part] for start in starts]
        return [
            Part(
                path=_relative(chunk[0], root),
                root=str(root),
                kind="image",
                index=index,
                rows=len(chunk),
                files=tuple(_relative(file, root) for file in chunk),
                bytes=sum(file.stat().st_size for file in chunk),
            )
            for index, chunk in enumerate(chunks)
        ]
    return [
        Part(
            path=_relative(file, root),
            root=str(root),
            kind=sort,
            index=index,
            rows=_rows(file) if sort == "parquet" else None,
            bytes=file.stat().st_size,
        )
        for index, (file, sort) in enumerate(tables)
    ]


def stream(
    part: Part,
    columns: Sequence[str] | None = None,
    *,
    contract: Contract | None = None,
    header: bool = True,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[Block]:
    """Stream the rows of a part that is a table.

    Args:
        part: what `find_parts` gave.
        columns: the columns to read; where None, those that the contract reads, or all.
        contract: gives the columns of a CSV file their types (without it they are text), and tells
            whether it has a header. A CSV column that is not an input, such as a key, is text.
        header: whether a CSV file has a header, where no contract tells.
        batch_rows: the most rows of a block.

    Yields:
        `Block(table, rows, bad)`: a table of at most `batch_rows` rows, the position of each of its
        rows in the part (the first is 0), and the rows that could not be read at all, as
        `BadRow(row, reason, raw)`. Rows in the tables and bad rows together are all the rows of the
        part. What can be read but breaks the contract, `check` finds: where a block of CSV holds a
        value that is not of the column's type, that column arrives as text.

    Raises:
        DataError: the file cannot be read.
        ContractError: a column that is asked for is not in the file.
    """
    if part.kind == "image":
        raise DataError("images are read one by one, not as rows.", where=part.path)
    if columns is None and contract is not None:
        columns = contract.reads
    if part.kind == "csv":
        yield from _stream_csv(part, columns, contract, header, batch_rows)
        return
    position = 0
    try:
        for batch in _batches(part, columns, batch_rows):
            rows = np.arange(position, position + batch.num_rows)
            position += batch.num_rows
            yield Block(pa.Table.from_batches([batch]), rows)
    except _BROKEN as error:
        raise DataError(f"the file cannot be read: {_short(error)}.", where=part.file) from error


def names_of(part: Part, *, contract: Contract | None = None, header: bool = True) -> list[str]:
    """Return the names of a part's columns.

    Args:
        part: what `find_parts` gave.
        contract: tells whether a CSV file has a header, and names the columns of one without.
        header: whether a CSV file has a header, where no contract tells.

    Raises:
        DataError: the file cannot be read.
        ContractError: a CSV file without a header has another number of fields than the contract.
    """
    if part.kind == "csv":
        return list(_dialect(part, contract, header).names)
    try:
        parquet = part.kind == "parquet"
        schema = pq.read_schema(part.file) if parquet else _open_arrow(part.file).schema
        names = schema.names
    except _BROKEN as error:
        raise DataError(f"the file cannot be read: {_short(error)}.", where=part.file) from error
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two columns are named {twice!r}.", where=part.file)
    return names


def _stream_csv(
    part: Part,
    columns: Sequence[str] | None,
    contract: Contract | None,
    header: bool,
    batch_rows: int,
) -> Iterator[Block]:
    dialect = _dialect(part, contract, header)
    _demand(columns, dialect.names, part)
    types = {} if contract is None else _types(contract)
    for block in read_blocks(part.file, dialect, columns=columns, types=types):
        yield from _cut(block, batch_rows)


def _cut(block: Block, batch_rows: int) -> Iterator[Block]:
    """Cut a block to `batch_rows`; its bad rows go with the first piece."""
    bad = block.bad
    for start in range(0, max(block.table.num_rows, 1), batch_rows):
        yield Block(
            block.table.slice(start, batch_rows), block.rows[start : start + batch_rows], bad
        )
        bad = ()


def _dialect(part: Part, contract: Contract | None, header: bool) -> Dialect:
    if contract is None or contract.fields is None:
        return sniff(part.file, header=header if contract is None else contract.header)
    return _named(part, sniff(part.file, header=False), contract)


def _named(part: Part, dialect: Dialect, contract: Contract) -> Dialect:
    """Name the fields of a file without a header, be its target there or not."""
    fields = contract.fields or ()
    target = contract.target.name if contract.target else None
    for names in (fields, tuple(name for name in fields if name != target)):
        if len(names) == len(dialect.names):
            return Dialect(dialect.delimiter, names, dialect.start)
    raise ContractError(
        f"the first row has {len(dialect.names)} fields, where {len(fields)} are expected "
        f"({len(fields) - 1} without the target).",
        where=part.file,
    )


def _types(contract: Contract) -> dict[str, pa.DataType]:
    kinds: dict[type, pa.DataType] = {NumericColumn: pa.float64(), BooleanColumn: pa.bool_()}
    return {column.name: kinds.get(type(column), pa.string()) for column in contract.columns}


def _batches(
    part: Part, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    if part.kind == "parquet":
        with pq.ParquetFile(part.file, pre_buffer=False, buffer_size=_BUFFER) as file:
            _demand(columns, file.schema_arrow.names, part)
            names = None if columns is None else list(columns)
            yield from file.iter_batches(batch_rows, columns=names, use_threads=False)
        return
    reader = _open_arrow(part.file)
    _demand(columns, reader.schema.names, part)
    batches: Iterable[pa.RecordBatch] = (
        reader
        if isinstance(reader, pa.RecordBatchStreamReader)
        else (reader.get_batch(i) for i in range(reader.num_record_batches))
    )
    for batch in batches:
        chosen = batch if columns is None else batch.select(list(columns))
        # Its offsets are read as they stand: wrong ones lead out of the buffers.
        chosen.validate(full=True)
        for start in range(0, chosen.num_rows, batch_rows):
            yield chosen.slice(start, batch_rows)


def _open_arrow(file: Path) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    # A mapped file that somebody cuts short while it is read ends the whole process.
    source = pa.OSFile(str(file))
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)


def _demand(columns: Sequence[str] | None, names: Sequence[str], part: Part) -> None:
    for name in columns or ():
        if name not in names:
            raise ContractError(missing_column(name, list(names)), where=part.file)


def _find_files(source: str | Path) -> tuple[Path, list[Path]]:
    """Return the root, and the files below it in order."""
    path = Path(source)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and not any(map(is_hidden, file.relative_to(path).parts))
        )
        if not files:
            raise DataError("the folder is empty.", where=source)
        return path, files
    if glob.has_magic(str(source)):
        files = sorted(file for file in map(Path, glob.glob(str(source), recursive=True)))
        files = [file for file in files if file.is_file()]
        if not files:
            raise DataError("no file matches.", where=source)
        return _fixed_part(path), files
    raise DataError("there is no such file or folder.", where=source, mend=_close_path(path))


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before the first part of a pattern that is not a plain name."""
    for parent in [pattern, *pattern.parents]:
        if not glob.has_magic(str(parent)):
            return parent
    return Path()


def _close_path(path: Path) -> str | None:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"There is no folder {path.parent} either."
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is no data: hidden, or left by an archiver."""
    return name.startswith((".", "__"))


def _is_log(file: Path, root: Path) -> bool:
    """Tell whether a table lies in what Spark and Delta write beside tables, such as _delta_log."""
    return any(part.startswith("_") for part in file.relative_to(root).parts)


def _relative(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _kind_of(file: Path) -> Kind | None:
    name = file.name.lower()
    for ending in _COMPRESSED:
        if name.endswith(ending):
            kind = _KINDS.get(Path(name.removesuffix(ending)).suffix)
            return kind if kind == "csv" else None
    return _KINDS.get(file.suffix.lower())


def _rows(file: Path) -> int | None:
    try:
        return pq.read_metadata(file).num_rows
    except _BROKEN:
        return None  # said where the part is read, so that the other parts can be done


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
