"""What kind of column each is, decided over all rows, and rows brought to these kinds.

Text that nearly always reads as numbers, dates or truths is that; the odd rows that do not are bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.contract import FLOAT32_MAX
from secateur.data.lists import holds_numbers, list_lengths, list_values
from secateur.data.values import pc

Kind = Literal["numeric", "categorical", "boolean", "datetime", "list"]
# The share of a text column's values that must read as a kind for the column to be of it.
ENOUGH = 0.95
# The years 1 to 9999, in microseconds since 1970.
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
WORDS = {"numeric": "a number", "datetime": "an ISO date", "boolean": "true or false"}


@dataclass
class _Counts:
    present: int = 0
    numbers: int = 0
    integers: int = 0
    moments: int = 0
    truths: int = 0


@dataclass
class Profile:
    """Counts what the columns hold, block after block.

    Args:
        loose: whether text may be meant as numbers and truths, as in CSV; dates it may always be.
    """

    loose: bool
    types: dict[str, pa.DataType] = field(default_factory=dict)
    counts: dict[str, _Counts] = field(default_factory=dict)

    def add(self, table: pa.Table) -> None:
        """Count one block of rows."""
        for name, column in zip(table.schema.names, table.columns, strict=True):
            array = values.flat(column)
            known = self.types.get(name)
            if known is None or pa.types.is_null(known):
                self.types[name] = array.type
            counts = self.counts.setdefault(name, _Counts())
            counts.present += len(array) - array.null_count
            if values.is_text(array.type):
                _count_text(array, counts, self.loose)

    def present(self, name: str) -> int:
        """Return how many values of a column were seen that are not missing."""
        return self.counts[name].present

    def kinds(self) -> dict[str, Kind | None]:
        """Return the kind of each column; None for what no model can read, or is all missing."""
        return {name: self._kind(name) for name in self.types}

    def integers(self) -> set[str]:
        """Return the columns of whole numbers."""
        return {
            name
            for name, kind in self.types.items()
            if pa.types.is_integer(kind)
            or (self.counts[name].integers == self.counts[name].present > 0)
        }

    def _kind(self, name: str) -> Kind | None:
        kind, counts = self.types[name], self.counts[name]
        if not counts.present:
            return None
        if values.is_text(kind):
            if counts.numbers >= ENOUGH * counts.present:
                return "numeric"
            if counts.truths == counts.present:
                return "boolean"
            return "datetime" if counts.moments >= ENOUGH * counts.present else "categorical"
        return kind_of(kind)


def kind_of(kind: pa.DataType) -> Kind | None:
    """Return the kind of column that an Arrow type is; None for what no model can read."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if values.is_number(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        return "numeric"
    if values.is_text(kind):
        return "categorical"
    if pa.types.is_boolean(kind):
        return "boolean"
    if values.is_moment(kind):
        return "datetime"
    return "list" if holds_numbers(kind) else None


class Fault(NamedTuple):
    """Rows that cannot be of a column's kind: a mask, and what is wrong with its first row."""

    column: str
    mask: np.ndarray
    what: str
    example: str


def conform(
    table: pa.Table, kinds: Mapping[str, Kind], length: Mapping[str, int] | None = None
) -> tuple[pa.Table, list[Fault]]:
    """Bring the columns of a table to their kinds; bad values become missing, and are named.

    Args:
        table: raw rows.
        kinds: the kind of each column that is wanted, in the wanted order.
        length: how many numbers the lists of a column of kind "list" have.
    """
    columns: dict[str, pa.Array] = {}
    faults: list[Fault] = []
    for name, kind in kinds.items():
        raw = values.flat(table.column(name))
        columns[name], bad, what = _conform(raw, kind, (length or {}).get(name, 0))
        if bad is not None and bad.any():
            row = int(bad.argmax())
            faults.append(Fault(name, bad, what, values.shown(raw, row)))
    return pa.table(columns), faults


def _conform(raw: pa.Array, kind: Kind, length: int) -> tuple[pa.Array, np.ndarray | None, str]:
    what = f"is not {WORDS.get(kind, '')}"
    if kind == "categorical":
        return values.words(raw), None, ""
    if kind == "list":
        unfit = _unfit(raw, length)
        places = pa.array(np.arange(len(raw)), mask=unfit)
        return raw.take(places), unfit, f"is not a list of {length} finite numbers"
    if kind == "boolean":
        truths, bad = values.truths(raw)
        return _nullable(truths, np.isnan(truths), pa.bool_()), bad, what
    if kind == "datetime":
        micro, bad = values.moments(raw)
        strange = ((micro < FIRST_US) | (micro > LAST_US)) & (micro != values.NOT_A_TIME)
        if strange.any():
            bad = strange if bad is None else bad | strange
            micro = np.where(strange, values.NOT_A_TIME, micro)
        return _nullable(micro, micro == values.NOT_A_TIME, pa.timestamp("us")), bad, what
    numbers, bad = values.numbers(raw)
    huge = np.abs(numbers) > FLOAT32_MAX
    if huge.any():
        bad = huge if bad is None else bad | huge
        return (
            _nullable(numbers, huge | np.isnan(numbers)),
            bad,
            f"{what}, or infinite, or too large",
        )
    if values.is_number(raw.type) and not pa.types.is_decimal(raw.type):
        return raw, bad, what
    return _nullable(numbers, np.isnan(numbers)), bad, what


def _nullable(array: np.ndarray, absent: np.ndarray, kind: pa.DataType | None = None) -> pa.Array:
    if kind == pa.bool_():
        array = np.where(absent, 0, array).astype(bool)
    return pa.array(array, type=kind, mask=absent)


def _unfit(raw: pa.Array, length: int) -> np.ndarray:
    """Return the lists that are missing, of another length, or hold no finite number somewhere."""
    unfit = list_lengths(raw) != length
    right = np.flatnonzero(~unfit)
    numbers = list_values(raw.take(pa.array(right))).reshape(len(right), -1)
    unfit[right] = ~np.isfinite(numbers).all(axis=1)
    return unfit


def _count_text(array: pa.Array, counts: _Counts, loose: bool) -> None:
    present = len(array) - array.null_count
    if loose:
        numbers = _matches(array, values.NUMBER)
        counts.numbers += numbers
        if numbers:
            counts.integers += _matches(array, values.INTEGER)
        if numbers == present:
            return
        words = pa.array([*values.TRUE_WORDS, *values.FALSE_WORDS], array.type)
        counts.truths += _true(pc.is_in(array, words))
    counts.moments += _matches(array, values.MOMENT)


def _matches(array: pa.Array, pattern: str) -> int:
    return _true(pc.match_substring_regex(array, pattern))


def _true(mask: pa.Array) -> int:
    return pc.sum(mask).as_py() or 0
