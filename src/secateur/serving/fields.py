"""A row of a table as a form, and a filled form as what a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    NumericColumn,
    describe_number,
)
from secateur.data.encode import encode
from secateur.data.faults import check
from secateur.errors import DataError

_LISTED = 200
_LONGEST = 1000


@dataclass(frozen=True)
class Field:
    """One input of the form: its column, what it may hold, and what it holds at first."""

    name: str
    kind: str
    value: str
    hint: str
    required: bool
    choices: tuple[str, ...] = ()


def fields(contract: Contract) -> tuple[Field, ...]:
    """Return the inputs of a form for a table, filled with a row that is in no way special."""
    return tuple(_field(column) for column in contract.columns)


def encoded(contract: Contract, filled: Mapping[str, Any]) -> np.ndarray | dict[str, np.ndarray]:
    """Check a filled form against the contract and return it as a model reads it, one row.

    Raises:
        DataError: a value is missing, is not of its column's kind, or is out of range.
    """
    columns: dict[str, pa.Array] = {}
    for column in contract.columns:
        text = filled.get(column.name)
        if text is not None and not (isinstance(text, str) and len(text) <= _LONGEST):
            raise DataError(f"column {column.name}: a short text is needed.")
        columns[column.name] = pa.array([text or None], pa.string())
    table = pa.table(columns)
    checked = check(contract, table)
    if checked.reasons:
        raise DataError(f"{checked.reasons[0][1]}.")
    return encode(contract, table)


def _plain(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _field(column: Any) -> Field:
    required = not column.fills
    if isinstance(column, CategoricalColumn):
        words = column.vocabulary
        hint = f"{len(words)} words known" if len(words) > _LISTED else ""
        first = words[0] if words and required else ""
        return Field(column.name, "words", first, hint, required, words[:_LISTED])
    if isinstance(column, BooleanColumn):
        first = "true" if required else ""
        return Field(column.name, "choice", first, "", required, ("true", "false"))
    if isinstance(column, DatetimeColumn):
        hint = f"{_plain(column.low)} to {_plain(column.high)}"
        return Field(column.name, "moment", column.high[:16], hint, required)
    assert isinstance(column, NumericColumn)
    middle = round(column.mean) if column.integer else float(f"{column.mean:.4g}")
    middle = min(max(middle, column.low), column.high)
    hint = f"{describe_number(column.low)} to {describe_number(column.high)}"
    return Field(column.name, "number", describe_number(middle), hint, required)
