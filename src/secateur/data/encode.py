"""Good rows become what a model reads.

Whole columns are worked on. Encoding does not normalise: that is a layer of the model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.contract import (
    DAY_US,
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    ListColumn,
    Target,
)
from secateur.data.faults import Table, column_of
from secateur.data.lists import list_values
from secateur.data.values import pc
from secateur.errors import ContractError

# Rows and columns that are turned at a time, so that they stay in the processor's cache.
_TILE = (2048, 64)

Encoded: TypeAlias = np.ndarray | dict[str, np.ndarray]


def encode(contract: Contract, table: Table) -> Encoded:
    """Encode rows that `check` found good, as the model's inputs.

    Returns:
        float32 (n, d) for a table of numbers alone; {"numeric": float32 (n, d), "categorical":
        int32 (n, c)} for a table with categories; float32 (n, *shape) for a sequence. Missing
        numbers hold the training mean; a nullable column has an "is missing" indicator after all
        the numbers.

    Raises:
        ContractError: a column that the contract needs is not in the table.
    """
    return Features(contract, table).rows(0, table.num_rows)


class Features:
    """The features of rows that `check` found good, not yet laid side by side.

    Rows are made when they are wanted, so that what a model reads is not held for all of them, and
    is in the processor's cache when the model reads it.

    Args:
        contract: of a table or of sequences.
        table: the rows.

    Raises:
        ContractError: a column that the contract needs is not in the table.
    """

    def __init__(self, contract: Contract, table: Table):
        if contract.kind not in ("table", "sequence"):
            raise ContractError(
                f"rows of a table cannot be encoded for a contract of kind {contract.kind!r}."
            )
        self._shape = contract.shape or () if contract.kind == "sequence" else None
        self._lists: np.ndarray | None = None
        self._numeric: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        indicators: list[np.ndarray] = []
        for column in contract.columns:
            data = column_of(table, column.name)
            if isinstance(column, CategoricalColumn):
                self._codes.append(_codes(data, column.vocabulary))
            elif isinstance(column, ListColumn):
                numbers = list_values(values.flat(data))
                self._lists = numbers.reshape(table.num_rows, column.length)
                return
            else:
                features, absent = _features(column, data)
                self._numeric.extend(features)
                if absent is not None and contract.kind == "table":
                    indicators.append(absent)
        self._numeric += indicators

    def rows(self, first: int, last: int) -> Encoded:
        """Return the rows from `first` up to `last`, as `encode` does."""
        if self._lists is not None:
            numeric = self._lists[first:last].astype(np.float32, copy=False)
        else:
            numeric = _matrix(self._numeric, first, last, np.float32)
        if self._shape is not None:
            return numeric.reshape(last - first, *self._shape)
        if not self._codes:
            return numeric
        categorical = _matrix(self._codes, first, last, np.int32)
        if not self._numeric:
            return {Contract.CATEGORICAL: categorical}
        return {Contract.NUMERIC: numeric, Contract.CATEGORICAL: categorical}


def encode_target(contract: Contract, table: Table) -> np.ndarray:
    """Encode the target of rows that have one: int32 class codes (n,), or float32 values (n,).

    Raises:
        ContractError: the contract has no target, the table has no such column, or it holds a value
            that is missing or not one of the classes.
    """
    if contract.target is None:
        raise ContractError("the contract has no target.", mend="Read the data with `target=`.")
    column = column_of(table, contract.target.name)
    codes, bad = target_codes(contract.target, column)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        known = ", ".join(contract.target.raw[:10]) or "a number"
        raise ContractError(
            f"target {contract.target.name} of row {row} is {values.shown(column, row)}; "
            f"known: {known}.",
            mend="Leave such rows out, or read the data anew.",
        )
    return codes


def target_codes(
    target: Target, column: pa.Array | pa.ChunkedArray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes or values of a target column, and which rows have none."""
    if target.classes is not None and target.above is None:
        codes = _codes(column, target.raw) - 1
        return codes, codes < 0
    numbers, bad = values.numbers(column)
    bad = ~np.isfinite(numbers) if bad is None else bad | ~np.isfinite(numbers)
    if target.above is not None:
        return (numbers > target.above).astype(np.int32), bad
    return numbers.astype(np.float32), bad


@lru_cache(maxsize=256)
def _value_set(vocabulary: tuple[str, ...]) -> pa.Array:
    return pa.array(vocabulary, pa.string())


def _codes(data: pa.Array | pa.ChunkedArray, vocabulary: tuple[str, ...]) -> np.ndarray:
    """Return 0 for what is unknown or missing, i + 1 for `vocabulary[i]`."""
    found = pc.index_in(values.words(data), value_set=_value_set(vocabulary))
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False) + 1


def _features(
    column: Any, data: pa.Array | pa.ChunkedArray
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Return a column's features, filled, and what is missing where that is allowed."""
    if isinstance(column, DatetimeColumn):
        micro = values.moments(data)[0]
        absent = micro == values.NOT_A_TIME
        return _date_features(column, micro, absent), absent if column.nullable else None
    if isinstance(column, BooleanColumn):
        numbers, fill = values.truths(data)[0], 0.5
    else:
        numbers, fill = values.numbers(data)[0], column.mean
    if not (column.nullable or column.fills):
        return [numbers], None
    absent = np.isnan(numbers)
    filled = np.where(absent, fill, numbers) if absent.any() else numbers
    return [filled], absent if column.nullable else None


def _date_features(
    column: DatetimeColumn, micro: np.ndarray, absent: np.ndarray
) -> list[np.ndarray]:
    low, high = column.span
    micro = np.where(absent, low, micro)
    days, in_day = np.divmod(micro, DAY_US)
    dates = days.astype("datetime64[D]")
    year_day = (dates - dates.astype("datetime64[Y]")).astype(np.float64)
    turns = (in_day / DAY_US, ((days + 3) % 7) / 7, year_day / 365.25)
    waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
    scaled = np.clip((micro - low) / ((high - low) or DAY_US), -1.0, 2.0)
    if not absent.any():
        return [*waves, scaled]
    return [np.where(absent, 0.0, wave) for wave in waves] + [np.where(absent, 0.5, scaled)]


def _matrix(columns: list[np.ndarray], first: int, last: int, dtype: type) -> np.ndarray:
    """Lay columns side by side, a tile at a time: first below one another, then turned."""
    matrix = np.empty((last - first, len(columns)), dtype=dtype)
    high, wide = _TILE
    for top in range(first, last, high):
        bottom = min(top + high, last)
        for left in range(0, len(columns), wide):
            some = [column[top:bottom] for column in columns[left : left + wide]]
            tile = np.empty((len(some), bottom - top), dtype=dtype)
            np.concatenate(some, out=tile.reshape(-1), casting="same_kind")
            matrix[top - first : bottom - first, left : left + wide] = tile.T
    return matrix
