"""What breaks a contract in a table, value by value.

Whole columns are worked on: only a column in which something is wrong is looked into row by row, to
say what.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    ListColumn,
    NumericColumn,
    describe_number,
    us_to_iso,
)
from secateur.data.lists import list_lengths, list_values, other_nesting
from secateur.errors import ContractError, DataError

Table: TypeAlias = pa.Table | pa.RecordBatch


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
