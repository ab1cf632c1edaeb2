"""The tables that a job writes: scores, and bad rows with their reasons."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from secateur.data.contract import Contract
from secateur.data.values import UNHELD, written
from secateur.errors import ContractError

SOURCE, ROW, PREDICTION, PROBABILITY = "source", "row", "prediction", "probability"
KEY = "key"  # of a sample in a shard of images
EMBEDDING = "embedding"
RESERVED = (SOURCE, ROW, PREDICTION, PROBABILITY, EMBEDDING)

# The characters that are kept of a text in a bad row.
_LONG = 2_000

Probability = bool | Literal["all"]
# What stands beside the predictions: the key columns, or "all" columns of the data.
Carry = Literal["keys", "all"]

_BAD = pa.schema(
    [
        pa.field(SOURCE, pa.string()),
        pa.field(ROW, pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("raw", pa.string()),
    ]
)


@dataclass(frozen=True)
class Bad:
    """A row without a prediction, or a whole part of which nothing could be read.

    Attributes:
        source: the file.
        row: the row's position in it; None for a whole part.
        rows: how many rows this stands for: 1, or those of the part; 0 where nobody knows.
        reason: what is wrong.
        raw: the row as JSON, where there is one to show.
    """

    source: str
    row: int | None
    reason: str
    raw: str | None = None
    rows: int = 1


def bad_table(bad: Sequence[Bad]) -> pa.Table:
    """Return bad rows as a table."""
    columns = {name: [getattr(row, name) for row in bad] for name in _BAD.names}
    return pa.table(columns, schema=_BAD)


def score_table(
    outputs: np.ndarray,
    contract: Contract,
    *,
    probability: Probability,
    source: str | Sequence[str],
    rows: np.ndarray,
    keys: pa.Table | None = None,
    features: bool = False,
) -> pa.Table:
    """Return scores as a table: key columns, source, row, prediction and its probability.

    Args:
        outputs: probabilities `(rows, classes)`, or values `(rows, 1)`.
        contract: names the classes.
        probability: the probability of the predicted class, of "all" classes, or False for none.
        source: the file of all rows, or of each.
        rows: the position of each row in its file.
        keys: the key columns.
        features: whether the outputs are no predictions but vectors, for the column `embedding`.
    """
    columns: dict[str, Any] = {}
    if keys is not None:
        columns |= dict(zip(keys.column_names, keys.columns, strict=True))
    columns[SOURCE] = _same(source, len(rows)) if isinstance(source, str) else pa.array(source)
    columns[ROW] = pa.array(rows, pa.int64())
    if features:
        flat = pa.array(np.ascontiguousarray(outputs, np.float32).reshape(-1))
        columns[EMBEDDING] = pa.FixedSizeListArray.from_arrays(flat, outputs.shape[1])
        return pa.table(columns)
    if contract.task == "regression":
        columns[PREDICTION] = pa.array(outputs[:, 0])
        return pa.table(columns)
    codes = outputs.argmax(axis=1).astype(np.int32)
    columns[PREDICTION] = pa.DictionaryArray.from_arrays(codes, pa.array(contract.classes))
    if probability:
        columns[PROBABILITY] = pa.array(outputs[np.arange(len(codes)), codes])
    if probability == "all":
        names = probability_columns(contract)
        columns |= {name: pa.array(outputs[:, i]) for i, name in enumerate(names)}
    return pa.table(columns)


def probability_columns(contract: Contract) -> list[str]:
    """Return the names of the columns that hold the probability of each class."""
    return [f"{PROBABILITY} {name}" for name in contract.classes]


def demand_free(names: Sequence[str], contract: Contract, where: object = None) -> None:
    """Raise a `ContractError` where a column to carry over has the name of one of the scores."""
    for name in names:
        if name in RESERVED or name in probability_columns(contract):
            raise ContractError(
                f"the column {name!r} has the name of a column of the scores.",
                where=where,
                mend="Rename it in the data, or do not carry it over.",
            )


def raw_rows(table: pa.Table) -> list[Any]:
    """Return rows as dicts; text that is no UTF-8 comes with its odd bytes written out."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns[name] = column.to_pylist()
        except UNHELD:
            columns[name] = [written(scalar) for scalar in column]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_json(row: Any) -> str:
    """Return a raw row as JSON; what JSON has no word for becomes text."""
    return json.dumps(_plain(row), ensure_ascii=False, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, str | bytes) and len(value) > _LONG:
        shown = value if isinstance(value, str) else value.decode(errors="backslashreplace")
        return f"{shown[:_LONG]}... ({len(value):,} in all)"
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _same(text: str, rows: int) -> pa.DictionaryArray:
    """Return one text for all rows, held once."""
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([text]))
