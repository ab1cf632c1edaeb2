"""Columns that are written in the names of folders, as Hive and Spark do: year=2024/month=01/.

A name is a column of all files of a source; it holds whole numbers where all its values are whole
numbers, and text otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from secateur.data.places import is_remote, without_options

# What Hive writes for a missing value.
_NULL = "__HIVE_DEFAULT_PARTITION__"


class Folder(NamedTuple):
    """A column that a folder names: its value as all folders let it be, and as it is written."""

    name: str
    value: pa.Scalar
    text: str | None


Partition = tuple[Folder, ...]


def partitions(root: str, paths: Sequence[str]) -> list[Partition]:
    """Return the columns that the folders of each path name, with their value there.

    Args:
        root: the root of the source; where it ends in such folders, they count too.
        paths: files relative to it.
    """
    above = PurePosixPath(without_options(root)) if is_remote(root) else Path(root).absolute()
    outer: list[str] = []
    for name in reversed(above.parts):
        if not _is_partition(name):
            break
        outer.insert(0, name)
    found = [_values([*outer, *PurePosixPath(path).parts[:-1]]) for path in paths]
    texts: dict[str, list[str]] = {}
    for row in found:
        for name, value in row.items():
            if value is not None:
                texts.setdefault(name, []).append(value)
    kinds = {
        name: pa.int64() if all(map(_whole, some)) else pa.string() for name, some in texts.items()
    }
    return [
        tuple(
            Folder(name, _scalar(text, kinds.get(name, pa.string())), text)
            for name, text in row.items()
        )
        for row in found
    ]


def in_words(partition: Partition, vocabularies: Mapping[str, Collection[str]]) -> Partition:
    """Return values as they are written where that is a word of the column's vocabulary.

    Which other folders lie beside one decides whether its value is a number, so "01" may have been
    learned as a word, and be the number 1 where it is scored.
    """
    return tuple(
        folder._replace(value=pa.scalar(folder.text))
        if folder.text in vocabularies.get(folder.name, ())
        else folder
        for folder in partition
    )


def add_columns(table: pa.Table, partition: Partition, columns: Sequence[str]) -> pa.Table:
    """Return the table with exactly these columns, those that it has not taken from the folders."""
    values = {folder.name: folder.value for folder in partition}
    return pa.table(
        {
            name: table.column(name)
            if name in table.column_names
            else pa.repeat(values[name], table.num_rows)
            for name in columns
        }
    )


def _is_partition(name: str) -> bool:
    return "=" in name[1:]


def _values(names: Sequence[str]) -> dict[str, str | None]:
    pairs = (name.split("=", 1) for name in names if _is_partition(name))
    return {unquote(name): None if value == _NULL else unquote(value) for name, value in pairs}


def _whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= 18


def _scalar(value: str | None, kind: pa.DataType) -> pa.Scalar:
    if value is not None and pa.types.is_integer(kind):
        return pa.scalar(int(value), kind)
    return pa.scalar(value, kind)
