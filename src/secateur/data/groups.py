"""Which group each sample of a split belongs to: by a column of a table, or by a path's part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.dataset import Split
from secateur.data.faults import missing_column
from secateur.data.splits import NAMES
from secateur.data.stores import ImageStore, TableStore
from secateur.data.streamed import StreamedStore
from secateur.data.values import pc
from secateur.errors import ContractError, DataError

MOST = 20
_MISSING, _OTHERS = "missing", "all others"
_QUARTERS = 4


@dataclass(frozen=True)
class Groups:
    """The groups of a split: `codes` (rows,) int32, each the place of its name in `names`."""

    names: tuple[str, ...]
    codes: np.ndarray


def groups_of(split: Split, column: str) -> Groups:
    """Return the group of every sample, by a column of the data or a pattern on paths.

    Numbers with more than 20 different values are divided into quarters of the split; of more than
    20 words the most frequent stay, and the rest are one group.

    Args:
        split: the samples, of a table, a sequence with other columns beside it, or image files.
        column: the column's name, which the model need not see. Of image files a regular
            expression on the path, whose first group (or whose match) names the group.

    Raises:
        ContractError: there is no such column.
        DataError: the pattern is none, or samples of arrays were given.
    """
    store = split._store
    place = NAMES.index(split.name)
    if isinstance(store, ImageStore):
        files = [store.files[row] for row in store.rows[place].tolist()]
        return _coded(pa.array(_matches(files, column), pa.string()))
    if not isinstance(store, (TableStore, StreamedStore)):
        raise DataError(
            "samples of arrays have no columns to group them by.",
            where=column,
            mend="Read a table or image files, or leave `groups` out.",
        )
    if column not in store.frames.names:
        raise ContractError(missing_column(column, store.frames.names), where="measure.groups")
    # Streamed: to take the rows of a split by number would go through the files row by row.
    pieces = [
        values.flat(table.column(column)).filter(
            pa.array(store.codes[start : start + table.num_rows] == place)
        )
        for start, table in store.frames.blocks([column])
    ]
    whole = values.flat(pa.chunked_array(pieces))
    numbers, bad = _numbers(whole)
    if bad is None and len(np.unique(numbers[np.isfinite(numbers)])) > MOST:
        return _quarters(numbers)
    return _coded(values.words(whole))


def _numbers(column: pa.Array) -> tuple[np.ndarray, object]:
    if pa.types.is_boolean(column.type) or values.is_moment(column.type):
        return np.zeros(0), None
    if not (values.is_text(column.type) or values.is_number(column.type)):
        return np.zeros(0), None
    numbers, bad = values.numbers(column)
    return numbers, None if bad is None or not bad.any() else bad


def _matches(files: list[str], pattern: str) -> list[str | None]:
    try:
        finder = re.compile(pattern)
    except re.error as error:
        raise DataError(
            f"{pattern!r} is no regular expression: {error}.", where="measure.groups"
        ) from error
    found = [finder.search(file) for file in files]
    if files and not any(found):
        raise DataError(
            f"{pattern!r} matches none of {len(files):,} paths.",
            where="measure.groups",
            mend=f"Write a pattern for paths such as {files[0]}.",
        )
    return [match and (match.group(1) if match.groups() else match.group()) for match in found]


def _coded(words: pa.Array) -> Groups:
    """Give each word a code; the rare ones share one where there are many."""
    words = pc.fill_null(words, _MISSING)
    words = pc.if_else(pc.equal(words, ""), _MISSING, words)
    counts = sorted(
        ((one["counts"], str(one["values"])) for one in pc.value_counts(words).to_pylist()),
        key=lambda one: (-one[0], one[1]),
    )
    kept = [name for _, name in counts[: MOST if len(counts) <= MOST else MOST - 1]]
    codes = pc.fill_null(pc.index_in(words, value_set=pa.array(kept, pa.string())), len(kept))
    names = tuple(kept) + ((_OTHERS,) if len(counts) > len(kept) else ())
    return Groups(names, codes.to_numpy(zero_copy_only=False).astype(np.int32))


def _quarters(numbers: np.ndarray) -> Groups:
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _QUARTERS + 1)))
    codes = np.searchsorted(edges[1:-1], numbers, side="right").astype(np.int32)
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    absent = ~np.isfinite(numbers)
    if absent.any():
        codes[absent] = len(names)
        names.append(_MISSING)
    return Groups(tuple(names), codes)
