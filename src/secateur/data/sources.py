"""Where raw data lies: a file, a folder or a glob becomes parts, and a part a stream of blocks.

Parts come in a fixed order, and a part is streamed: memory does not grow with the size of the data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pyarrow as pa

from secateur.data import columnar, databases
from secateur.data.columnar import demand
from secateur.data.contract import BooleanColumn, CategoricalColumn, Contract, NumericColumn
from secateur.data.databases import Query, Range
from secateur.data.delimited import BadRow, Block, Dialect, read_blocks, sniff
from secateur.data.images import SUFFIXES as IMAGE_SUFFIXES
from secateur.data.partitions import Partition, add_columns, in_words, partitions
from secateur.data.places import Place, at, find_files, shown
from secateur.data.values import NULL_WORDS
from secateur.errors import ContractError, DataError

__all__ = ["BadRow", "Block", "Part", "find_parts", "names_of", "stream"]

Kind = Literal["parquet", "csv", "arrow", "image", "tar", "query"]
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
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.zst")
_READABLE = "Give CSV, Parquet, Arrow or image files, or tar files of images."


@dataclass(frozen=True)
class Part:
    """One piece of raw data, done as a whole.

    Attributes:
        path: the file relative to `root`, with forward slashes; of a chunk of images the first.
        root: the folder that the source names or lies in, here or in a store.
        kind: "parquet", "csv", "arrow", "image", "tar" for a shard of images, or "query".
        index: the part's place in the order of parts.
        rows: how many rows it has, where that is known without reading it.
        files: the image files of the chunk relative to `root`; empty for other kinds.
        bytes: the size of its file or files.
        partition: the columns that its folders name, such as year=2024, with their value.
        range: the rows of a database that it stands for; None for files.
    """

    path: str
    root: str
    kind: Kind
    index: int
    rows: int | None = None
    files: tuple[str, ...] = ()
    bytes: int = 0
    partition: Partition = ()
    range: Range | None = None

    @property
    def home(self) -> Path | Place:
        """The root, to which `/` adds a path."""
        return at(self.root)

    @property
    def file(self) -> Path | Place:
        """The file, root and all."""
        return self.home / self.path


def find_parts(
    source: str | Path | Query,
    *,
    kind: Literal["table", "image"] | None = None,
    images_per_part: int = IMAGES_PER_PART,
) -> list[Part]:
    """Find the parts of a source, in the order of their paths.

    Args:
        source: a file, a folder (with all its sub-folders), a glob such as "data/*.parquet", any of
            them in a store ("s3://bucket/data"), or the rows of a database.
        kind: look for tables or for images alone; where None, for what there are more files of.
        images_per_part: how many images make a part.

    Hidden files are passed over, and so are tables in files or folders whose names begin with "_".

    Raises:
        DataError: nothing is there, or nothing that can be read.
    """
    if isinstance(source, Query):
        return _query_parts(source, kind)
    root, files = find_files(source)
    sorts: dict[str, Kind | None] = {file.path: _kind_of(file.path) for file in files}
    only = files[0].path
    if len(files) == 1 and PurePosixPath(str(source)).name == only and sorts[only] is None:
        raise DataError(
            f"files that end in {PurePosixPath(only).suffix or 'nothing'!r} cannot be read.",
            where=shown(source),
            mend=_READABLE,
        )
    images = [file for file in files if sorts[file.path] == "image"]
    shards = [file for file in files if sorts[file.path] == "tar"]
    tables = [
        file
        for file in files
        if sorts[file.path] in ("parquet", "csv", "arrow")
        and not (len(files) > 1 and _is_log(file.path))
    ]
    wanted = kind or ("image" if len(images) + len(shards) > len(tables) else "table")
    if not (images or shards if wanted == "image" else tables):
        what = {"image": "an image", "table": "a table"}[wanted] if kind else "data"
        raise DataError(
            f"no file that holds {what} is there ({len(files)} files seen).",
            where=shown(source),
            mend=_READABLE,
        )
    if wanted == "image" and images and shards:
        raise DataError(
            f"{len(images)} images and {len(shards)} tar files lie side by side.",
            where=shown(source),
            mend="Name the files of one kind, such as 'data/*.tar'.",
        )
    if wanted == "image" and images:
        starts = range(0, len(images), images_per_part)
        chunks = [images[start : start + images_per_part] for start in starts]
        return [
            Part(
                path=chunk[0].path,
                root=root,
                kind="image",
                index=index,
                rows=len(chunk),
                files=tuple(file.path for file in chunk),
                bytes=sum(file.bytes for file in chunk),
            )
            for index, chunk in enumerate(chunks)
        ]
    chosen = shards if wanted == "image" else tables
    paths = [file.path for file in chosen]
    rows = columnar.count_rows(
        [at(root) / path if sorts[path] == "parquet" else None for path in paths]
    )
    folders = partitions(root, paths) if wanted == "table" else [()] * len(paths)
    return [
        Part(
            path=file.path,
            root=root,
            kind=sorts[file.path] or "parquet",
            index=index,
            rows=rows[index],
            bytes=file.bytes,
            partition=folders[index],
        )
        for index, file in enumerate(chosen)
    ]


def _query_parts(query: Query, kind: Literal["table", "image"] | None) -> list[Part]:
    if kind == "image":
        raise DataError("images are read from files, not from a database.", where=query)
    return [
        Part(f"rows-{index:05d}", str(query), "query", index, rows=one.rows, range=one)
        for index, one in enumerate(databases.cut(query))
    ]


def stream(
    part: Part,
    columns: Sequence[str] | None = None,
    *,
    contract: Contract | None = None,
    header: bool = True,
    batch_rows: int = BATCH_ROWS,
    groups: Sequence[int] | None = None,
    first: int = 0,
) -> Iterator[Block]:
    """Stream the rows of a part that is a table.

    Args:
        part: what `find_parts` gave.
        columns: the columns to read; where None, those that the contract reads, or all.
        contract: gives the columns of a CSV file their types (without it they are text), and tells
            whether it has a header. A CSV column that is not an input, such as a key, is text.
        header: whether a CSV file has a header, where no contract tells.
        batch_rows: the most rows of a block.
        groups: the row groups of a Parquet file to read; where None, all.
        first: the position of the first row of these row groups.

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
    if part.kind in ("image", "tar"):
        raise DataError("images are read one by one, not as rows.", where=part.path)
    if columns is None and contract is not None:
        columns = contract.reads
    if not part.partition:
        yield from _stream(part, columns, contract, header, batch_rows, groups, first)
        return
    names = _own_names(part, contract, header)
    everything = [*names, *(name for name, *_ in part.partition if name not in names)]
    demand(columns, everything, part.file)
    columns = everything if columns is None else columns
    # Where folders hold all that is asked for, a column of the file still tells the rows.
    own = [name for name in columns if name in names] or names[:1]
    partition = part.partition
    if contract is not None:
        partition = in_words(partition, _vocabularies(contract))
    for block in _stream(part, own, contract, header, batch_rows, groups, first):
        yield block._replace(table=add_columns(block.table, partition, columns))


def names_of(part: Part, *, contract: Contract | None = None, header: bool = True) -> list[str]:
    """Return the names of a part's columns, with those that its folders name.

    Args:
        part: what `find_parts` gave.
        contract: tells whether a CSV file has a header, and names the columns of one without.
        header: whether a CSV file has a header, where no contract tells.

    Raises:
        DataError: the file cannot be read.
        ContractError: a CSV file without a header has another number of fields than the contract.
    """
    names = _own_names(part, contract, header)
    return [*names, *(name for name, *_ in part.partition if name not in names)]


def _own_names(part: Part, contract: Contract | None, header: bool) -> list[str]:
    if part.kind == "csv":
        return list(_dialect(part, contract, header).names)
    if part.range is not None:
        return databases.columns_of(part.range.query)
    return columnar.names_of(part.file, parquet=part.kind == "parquet")


def _stream(
    part: Part,
    columns: Sequence[str] | None,
    contract: Contract | None,
    header: bool,
    batch_rows: int,
    groups: Sequence[int] | None,
    first: int,
) -> Iterator[Block]:
    """Stream the rows of a file, which knows nothing of the columns in the names of folders."""
    if part.kind == "csv":
        dialect = _dialect(part, contract, header)
        demand(columns, dialect.names, part.file)
        types = {} if contract is None else _types(contract)
        nulls = {} if contract is None else _nulls(contract, dialect.names)
        for block in read_blocks(part.file, dialect, columns=columns, types=types, nulls=nulls):
            yield from _cut(block, batch_rows)
        return
    position = first
    if part.range is not None:
        batches = databases.batches(part.range, columns, batch_rows)
    elif part.kind == "parquet":
        batches = columnar.parquet_batches(part.file, columns, batch_rows, groups)
    else:
        batches = columnar.arrow_batches(part.file, columns, batch_rows)
    for batch in batches:
        rows = np.arange(position, position + batch.num_rows)
        position += batch.num_rows
        yield Block(pa.Table.from_batches([batch]), rows)


def _nulls(contract: Contract, names: Iterable[str]) -> dict[str, Collection[str]]:
    """Return the words for what is missing of the columns in which they are not the usual ones.

    What a model does not read is handed on as it is written; what was a word in training stays one.
    """
    handed_on = set(names) - set(_read_names(contract))
    found: dict[str, Collection[str]] = dict.fromkeys(handed_on, ("",))
    for column in contract.columns:
        known = column.vocabulary if isinstance(column, CategoricalColumn) else ()
        if not set(NULL_WORDS).isdisjoint(known):
            found[column.name] = [word for word in NULL_WORDS if word not in known]
    return found


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


def _vocabularies(contract: Contract) -> dict[str, tuple[str, ...]]:
    """Return the words that columns of categories, and a target of classes, may hold."""
    found = {
        column.name: column.vocabulary
        for column in contract.columns
        if isinstance(column, CategoricalColumn)
    }
    if contract.target is not None:
        found[contract.target.name] = contract.target.raw
    return found


def _read_names(contract: Contract) -> Iterator[str]:
    """Yield the columns that the contract says something of; others are carried as they are."""
    yield from (column.name for column in contract.columns)
    if contract.target is not None:
        yield contract.target.name


def _types(contract: Contract) -> dict[str, pa.DataType]:
    kinds: dict[type, pa.DataType] = {NumericColumn: pa.float64(), BooleanColumn: pa.bool_()}
    return {column.name: kinds.get(type(column), pa.string()) for column in contract.columns}


def _is_log(path: str) -> bool:
    """Tell whether a table lies in what Spark and Delta write beside tables, such as _delta_log."""
    return any(part.startswith("_") for part in path.split("/"))


def _kind_of(path: str) -> Kind | None:
    name = path.lower()
    if name.endswith(TAR_SUFFIXES):
        return "tar"
    for ending in _COMPRESSED:
        if name.endswith(ending):
            kind = _KINDS.get(PurePosixPath(name.removesuffix(ending)).suffix)
            return kind if kind == "csv" else None
    return _KINDS.get(PurePosixPath(name).suffix)
