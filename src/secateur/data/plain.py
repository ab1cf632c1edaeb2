"""Columns of kinds that Arrow holds but hardly computes with become those that it does.

Views of text are what Polars and DuckDB hand over; runs of equal values and lists as views come
from other writers. Arrow has no `take`, no comparison and few casts for them.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pyarrow as pa

from secateur.data.values import pc

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

# What text of one column may take at once, where offsets are of 32 bits.
_NARROW_BYTES = 2**31 - 1


def plain(rows: Rows) -> Rows:
    """Return a batch or table with its columns in plain kinds; itself, where they are.

    Dictionaries without a null among their words are left as they are.
    """
    columns = [_column(column) for column in rows.columns]
    if all(new is old for new, old in zip(columns, rows.columns, strict=True)):
        return rows
    return type(rows).from_arrays(columns, names=rows.schema.names)


def _column(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_primitive(column.type):
        return column
    wide = column.nbytes > _NARROW_BYTES
    if not isinstance(column, pa.ChunkedArray):
        return _array(column, wide)
    old = column.chunks or [pa.nulls(0, column.type)]
    new = [_array(chunk, wide) for chunk in old]
    same = all(one is other for one, other in zip(new, old, strict=True))
    return column if same else pa.chunked_array(new)


def _array(array: pa.Array, wide: bool) -> pa.Array:
    types, kind = pa.types, array.type
    if types.is_run_end_encoded(kind):
        places = np.arange(array.offset, array.offset + len(array))
        runs = np.searchsorted(array.run_ends.to_numpy(), places, side="right")
        return _array(array.values, wide).take(pa.array(runs))
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        # A cast would leave offsets out.
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
        inner = _array(array.flatten(), wide)
        return pa.LargeListArray.from_arrays(offsets, inner, mask=array.is_null())
    found = _kind(kind, wide)
    if found != kind:
        array = array.cast(found)
    if types.is_dictionary(found) and array.dictionary.null_count:
        # Parquet cannot hold a null that stands among the words of a dictionary.
        encoded = array.dictionary_decode().dictionary_encode()
        indices = encoded.indices.cast(found.index_type)
        array = pa.DictionaryArray.from_arrays(indices, encoded.dictionary, ordered=found.ordered)
    return array


def _kind(kind: pa.DataType, wide: bool) -> pa.DataType:
    """Return the plain kind for one that may be nested."""
    types = pa.types
    if types.is_string_view(kind):
        return pa.large_string() if wide else pa.string()
    if types.is_binary_view(kind):
        return pa.large_binary() if wide else pa.binary()
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _kind(kind.value_type, wide), kind.ordered)
    if types.is_struct(kind):
        return pa.struct([_field(kind.field(i), wide) for i in range(kind.num_fields)])
    if types.is_map(kind):
        return pa.map_(
            _field(kind.key_field, wide), _field(kind.item_field, wide), kind.keys_sorted
        )
    if types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field, wide), kind.list_size)
    if types.is_list(kind):
        return pa.list_(_field(kind.value_field, wide))
    if types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field, wide))
    return kind


def _field(field: pa.Field, wide: bool) -> pa.Field:
    return field.with_type(_kind(field.type, wide))
