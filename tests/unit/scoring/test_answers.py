"""What a table of scores holds."""

import json

import numpy as np
import pyarrow as pa
import pytest

from secateur.data.contract import Target
from secateur.scoring.answers import Bad, as_json, bad_table, score_table
from unit.scoring.artifacts import CLASSES, table_contract

OUTPUTS = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], "float32")
ROWS = np.array([4, 9])


@pytest.mark.parametrize(
    ("probability", "columns"),
    [
        (True, ["source", "row", "prediction", "probability"]),
        (False, ["source", "row", "prediction"]),
        (
            "all",
            ["source", "row", "prediction", "probability", *(f"probability {c}" for c in CLASSES)],
        ),
    ],
)
def test_classification(probability, columns):
    table = score_table(
        OUTPUTS, table_contract(), probability=probability, source="a.csv", rows=ROWS
    )
    assert table.column_names == columns
    assert table["prediction"].to_pylist() == ["middle", "low"]
    assert table["row"].to_pylist() == [4, 9]
    assert table["source"].to_pylist() == ["a.csv", "a.csv"]
    if probability:
        np.testing.assert_array_equal(table["probability"].to_numpy(), OUTPUTS.max(axis=1))
    if probability == "all":
        np.testing.assert_array_equal(table["probability high"].to_numpy(), OUTPUTS[:, 2])


def test_regression():
    contract = table_contract(target=Target(name="price"))
    table = score_table(
        OUTPUTS[:, :1], contract, probability=True, source=["a.png", "b.png"], rows=ROWS
    )
    assert table.column_names == ["source", "row", "prediction"]
    np.testing.assert_array_equal(table["prediction"].to_numpy(), OUTPUTS[:, 0])
    assert table["source"].to_pylist() == ["a.png", "b.png"]


def test_keys_come_first():
    keys = pa.table({"id": ["x", "y"]})
    table = score_table(
        OUTPUTS, table_contract(), probability=False, source="a", rows=ROWS, keys=keys
    )
    assert table.column_names == ["id", "source", "row", "prediction"]


def test_bad_rows():
    table = bad_table([Bad("a.csv", 3, "wrong", "{}"), Bad("b.csv", None, "broken", rows=7)])
    assert table.to_pylist() == [
        {"source": "a.csv", "row": 3, "rows": 1, "reason": "wrong", "raw": "{}"},
        {"source": "b.csv", "row": None, "rows": 7, "reason": "broken", "raw": None},
    ]


def test_any_row_is_json():
    row = {"a": float("nan"), "b": [1.5, float("inf")], "c": np.datetime64("2026-01-01"), "d": "é"}
    assert json.loads(as_json(row)) == {"a": "nan", "b": [1.5, "inf"], "c": "2026-01-01", "d": "é"}
