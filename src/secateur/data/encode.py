"""Rows are checked against a contract, and good rows become what a model reads.

Both work on whole columns: only a column in which something is wrong is looked into row by row, to
say what. Encoding does not normalise: that is a layer of the model.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

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
    NumericColumn,
    Target,
    describe_number,
    us_to_iso,
)
from secateur.data.lists import list_lengths, list_values, other_nesting
from secateur.data.values import pc
from secateur.errors import ContractError, DataError

# Rows and columns that are turned at a time, so that they stay in the processor's cache.
_TILE = (2048, 64)

Table: TypeAlias = pa.Table | pa.RecordBatch
Encoded: TypeAlias = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True)
class Checked:
    """Which rows keep the contract, and why the others do not.

    Attributes:
        good: one boolean a row.
        reasons: (row, reason) for each row that is not good, in order of rows.
    """

    good: np.ndarray
    reasons: list[tuple[int, str]]


def check(contract: Contract, table: Table) -> Checked:
    """Check each row of a table against the contract.

    A row is bad where a value is missing and the training data had none missing, where text is not
    the number, date or truth it should be, where a number is infinite, and where a value lies more
    than one span beyond the range that was seen. An unknown category is not bad: it has a code.

    Raises:
        ContractError: a column that the contract needs is not in the table.
    """
    rows = table.num_rows
    good = np.ones(rows, dtype=bool)
    found: dict[int, list[str]] = {}
    for column in contract.columns if contract.kind in ("table", "sequence") else ():
        for fault in faults_of(column, column_of(table, column.name), contract.shape):
            good &= ~fault.mask
            for row in np.flatnonzero(fault.mask):
                reason = f"column {column.name}: {fault.describe(int(row))}"
                found.setdefault(int(row), []).append(reason)
    return Checked(good, [(row, "; ".join(found[row])) for row in sorted(found)])


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
    if contract.kind not in ("table", "sequence"):
        raise ContractError(
            f"rows of a table cannot be encoded for a contract of kind {contract.kind!r}."
        )
    plain: list[np.ndarray] = []
    indicators: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    for column in contract.columns:
        data = column_of(table, column.name)
        if isinstance(column, CategoricalColumn):
            codes.append(_codes(data, column.vocabulary))
        elif isinstance(column, ListColumn):
            return _lists(column, data).reshape(table.num_rows, *(contract.shape or ()))
        else:
            features, absent = _features(column, data)
            plain.extend(features)
            if absent is not None and contract.kind == "table":
                indicators.append(absent)
    numeric = _matrix(plain + indicators, table.num_rows, np.float32)
    if contract.kind == "sequence":
        return numeric.reshape(table.num_rows, *(contract.shape or ()))
    if not codes:
        return numeric
    categorical = _matrix(codes, table.num_rows, np.int32)
    if not plain:
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


def column_of(table: Table, name: str) -> pa.Array | pa.ChunkedArray:
    """Return a column by name, or say which one may have been meant."""
    index = table.schema.get_field_index(name)
    if index < 0:
        raise ContractError(missing_column(name, table.schema.names))
    return table.column(index)


def missing_column(name: str, names: list[str] | tuple[str, ...]) -> str:
    """Say that a column is not there, and which was meant or which there are."""
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {_some(names)}."
    return f"there is no column {name!r}; {hint}"


def _some(names: list[str] | tuple[str, ...], limit: int = 12) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(str, names[:limit])) + more


class Fault(NamedTuple):
    """Rows of a column that are bad in one way: a mask, the way, and what says it of a row."""

    mask: np.ndarray
    way: Literal["missing", "type", "infinite", "range", "length"]
    describe: Callable[[int], str]


def faults_of(
    column: Any, data: pa.Array | pa.ChunkedArray, shape: tuple[int, ...] | None = None
) -> list[Fault]:
    """Return the ways in which values of a column break the contract; quick where all are good.

    Args:
        column: what the contract says of the column.
        data: its values.
        shape: the shape that lists of lists are of.
    """
    if isinstance(column, CategoricalColumn):
        if pa.types.is_nested(data.type):
            return _not_a(values.flat(data).is_valid().to_numpy(False), data, "text")
        return _absent(column, values.missing(data)) if _may_lack(column, data) else []
    if isinstance(column, ListColumn):
        return _list_faults(column, data, shape)
    if isinstance(column, BooleanColumn):
        read, bad = values.truths(data)
        return _not_a(bad, data, "true or false") + _absent(column, np.isnan(read), bad)
    if isinstance(column, DatetimeColumn):
        return _moment_faults(column, data)
    return _number_faults(column, data)


def _may_lack(column: Any, data: pa.Array | pa.ChunkedArray) -> bool:
    return not column.fills and (data.null_count > 0 or pa.types.is_floating(data.type))


def _not_a(bad: np.ndarray | None, data: pa.Array | pa.ChunkedArray, what: str) -> list[Fault]:
    if bad is None:
        return []
    return [Fault(bad, "type", lambda row: f"{values.shown(data, row)} is not {what}")]


def _absent(column: Any, absent: np.ndarray, bad: np.ndarray | None = None) -> list[Fault]:
    if column.fills:
        return []
    absent = absent if bad is None else absent & ~bad
    if not absent.any():
        return []
    why = "the contract allows none" if column.gaps else "the training data had none missing"
    return [Fault(absent, "missing", lambda row: f"the value is missing, and {why}")]


def _number_faults(column: NumericColumn, data: pa.Array | pa.ChunkedArray) -> list[Fault]:
    numbers, bad = values.numbers(data)
    low, high = column.limits
    if not len(numbers):
        return []
    if bad is None:
        # NaN passes through min and max, so one comparison finds every kind of fault.
        least, most = numbers.min(), numbers.max()
        if least >= low and most <= high:
            return []
        if column.fills and (np.isnan(least) or np.isnan(most)):
            least, most = np.fmin.reduce(numbers), np.fmax.reduce(numbers)
            if np.isnan(least) or (least >= low and most <= high):
                return []
    faults = _not_a(bad, data, "a number")
    faults += _absent(column, np.isnan(numbers), bad)
    return faults + _range_faults(numbers, column.low, column.high, low, high)


def _range_faults(
    numbers: np.ndarray, seen_low: float, seen_high: float, low: float, high: float
) -> list[Fault]:
    faults: list[Fault] = []
    infinite = np.isinf(numbers)
    if infinite.any():
        faults.append(Fault(infinite, "infinite", lambda row: "the number is infinite"))
    beyond = ((numbers < low) | (numbers > high)) & ~infinite
    if beyond.any():
        seen = f"{describe_number(seen_low)} to {describe_number(seen_high)} was seen in training"

        def describe(row: int) -> str:
            return f"{describe_number(float(numbers[row]))} is out of range ({seen})"

        faults.append(Fault(beyond, "range", describe))
    return faults


def _moment_faults(column: DatetimeColumn, data: pa.Array | pa.ChunkedArray) -> list[Fault]:
    micro, bad = values.moments(data)
    absent = micro == values.NOT_A_TIME
    low, high = column.limits
    faults = _not_a(bad, data, "an ISO date") + _absent(column, absent, bad)
    beyond = ((micro < low) | (micro > high)) & ~absent
    if beyond.any():
        seen = f"{column.low} to {column.high} was seen in training"
        faults.append(
            Fault(
                beyond,
                "range",
                lambda row: f"{us_to_iso(int(micro[row]))} is out of range ({seen})",
            )
        )
    return faults


def _list_faults(
    column: ListColumn, data: pa.Array | pa.ChunkedArray, shape: tuple[int, ...] | None
) -> list[Fault]:
    array = values.flat(data)
    try:
        lengths = list_lengths(array)
    except DataError as error:
        message = str(error)
        return [Fault(np.ones(len(array), dtype=bool), "type", lambda row: message)]
    wrong = lengths != column.length
    if wrong.any():
        good_rows = np.flatnonzero(~wrong)
        rest = np.zeros(len(array), dtype=bool)
        inner = [
            fault._replace(mask=_scatter(fault.mask, good_rows, rest))
            for fault in _list_faults(column, array.take(pa.array(good_rows)), shape)
        ]

        def describe(row: int) -> str:
            return f"{lengths[row]} numbers in the list, not {column.length}"

        return [Fault(wrong, "length", describe), *inner]
    faults = []
    if shape is not None and (other := other_nesting(array, shape)).any():
        faults.append(Fault(other, "length", lambda row: f"the lists are not of the shape {shape}"))
    numbers = list_values(array).reshape(-1, column.length)
    low, high = column.limits
    if numbers.size and not (numbers.min() >= low and numbers.max() <= high):
        unfit = np.any(~((numbers >= low) & (numbers <= high)), axis=1)
        what = "a number in the list is missing, infinite or out of range"
        faults.append(Fault(unfit, "range", lambda row: what))
    return faults


def _scatter(mask: np.ndarray, rows: np.ndarray, rest: np.ndarray) -> np.ndarray:
    whole = rest.copy()
    whole[rows] = mask
    return whole


def _lists(column: ListColumn, data: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return list_values(values.flat(data)).astype(np.float32, copy=False)


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


def _matrix(columns: list[np.ndarray], rows: int, dtype: type) -> np.ndarray:
    """Lay columns side by side, a tile at a time: first below one another, then turned."""
    matrix = np.empty((rows, len(columns)), dtype=dtype)
    high, wide = _TILE
    for top in range(0, rows, high):
        bottom = min(top + high, rows)
        for left in range(0, len(columns), wide):
            some = [column[top:bottom] for column in columns[left : left + wide]]
            tile = np.empty((len(some), bottom - top), dtype=dtype)
            np.concatenate(some, out=tile.reshape(-1), casting="same_kind")
            matrix[top:bottom, left : left + wide] = tile.T
    return matrix
