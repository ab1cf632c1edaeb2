"""Bad rows are found with their reasons; good rows become what the contract promises."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    ListColumn,
    NumericColumn,
    Target,
)
from secateur.data.encode import encode, encode_target
from secateur.data.faults import check
from secateur.data.read import read
from secateur.errors import ContractError

NUMBER = NumericColumn(name="x", mean=5, std=2, low=0, high=10)
MIXED = Contract(
    kind="table",
    columns=(
        NUMBER,
        NumericColumn(name="gap", nullable=True, mean=-1, low=-3, high=3),
        CategoricalColumn(name="c", nullable=True, vocabulary=("a", "b")),
        BooleanColumn(name="b", nullable=True),
        DatetimeColumn(name="when", nullable=True, low="2020-01-01", high="2020-12-31"),
    ),
)


def only(column, **values):
    return Contract(kind="table", columns=(column,), **values)


def reason(column, values):
    checked = check(only(column), pa.table({column.name: values}))
    assert checked.good.tolist() == [False]
    assert len(checked.reasons) == 1
    assert checked.reasons[0][0] == 0
    return checked.reasons[0][1]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (NUMBER, pa.array([None], pa.float64()), "column x: the value is missing"),
        (NUMBER, [float("nan")], "column x: the value is missing"),
        (NUMBER, ["abc"], "column x: 'abc' is not a number"),
        (NUMBER, ["1,5"], "'1,5' is not a number"),
        (NUMBER, [dt.date(2020, 1, 1)], "is not a number"),
        (NUMBER, [float("inf")], "infinite"),
        (NUMBER, ["-inf"], "infinite"),
        (NUMBER, [20.5], "20.5 is out of range (0 to 10 was seen in training)"),
        (NUMBER, [-11], "-11 is out of range"),
        (BooleanColumn(name="b"), ["maybe"], "column b: 'maybe' is not true or false"),
        (BooleanColumn(name="b"), [2], "2 is not true or false"),
        (BooleanColumn(name="b"), pa.array([None], pa.bool_()), "missing"),
        (CategoricalColumn(name="c", vocabulary=("a",)), pa.array([None], pa.string()), "missing"),
        (CategoricalColumn(name="c", vocabulary=("a",)), [["a"]], "not text"),
        (MIXED.columns[4], ["2020-02-31"], "'2020-02-31' is not an ISO date"),
        (MIXED.columns[4], ["last week"], "is not an ISO date"),
        (MIXED.columns[4], [17], "is not an ISO date"),
        (MIXED.columns[4], ["1950-01-01"], "1950-01-01T00:00:00 is out of range"),
        (
            ListColumn(name="s", length=2, mean=(0, 0), std=(1, 1), low=0, high=1),
            [[1.0]],
            "1 numbers in the list, not 2",
        ),
        (
            ListColumn(name="s", length=2, mean=(0, 0), std=(1, 1), low=0, high=1),
            [[1.0, None]],
            "missing, infinite or out of range",
        ),
    ],
)
def test_each_fault_has_its_reason(column, value, message):
    assert message in reason(column, value)


def test_good_and_bad_rows_are_told_apart():
    table = pa.table(
        {
            "x": ["1", "zero", None, "3.5", "1e9"],
            "gap": ["", "1", "2", None, "x"],
            "c": ["a", "b", None, "unseen", "a"],
            "b": ["true", "0", "FALSE", None, "no"],
            "when": ["2020-05-05", None, "2020-05-05 12:00", "2020-05-05T12:00:00+02:00", "?"],
        }
    )
    checked = check(MIXED, table)
    assert checked.good.tolist() == [True, False, False, True, False]
    assert [row for row, _ in checked.reasons] == [1, 2, 4]
    last = checked.reasons[-1][1]
    assert all(name in last for name in ("column x", "column gap", "column b", "column when"))
    x = encode(MIXED, table.filter(pa.array(checked.good)))
    assert isinstance(x, dict)
    features = MIXED.features()
    numeric = dict(zip(features, x["numeric"].T, strict=True))
    assert numeric["x"].tolist() == [1, 3.5]
    assert numeric["gap"].tolist() == [-1, -1]
    assert numeric["gap is missing"].tolist() == [1, 1]
    assert numeric["b"].tolist() == [1, 0.5]
    assert numeric["b is missing"].tolist() == [0, 1]
    assert numeric["when is missing"].tolist() == [0, 0]
    assert x["categorical"].tolist() == [[1], [0]]
    assert (x["numeric"].dtype, x["categorical"].dtype) == (np.float32, np.int32)


def test_dates_are_waves_and_a_scale():
    column = DatetimeColumn(name="t", low="2020-01-01", high="2020-01-03")
    moments = ["2020-01-01T00:00", "2020-01-02T06:00", "2020-01-03T12:00"]
    table = pa.table({"t": pa.array([dt.datetime.fromisoformat(m) for m in moments])})
    x = encode(only(column), table)
    hour_sin, hour_cos, week_sin, _, _, _, scaled = x.T
    np.testing.assert_allclose(hour_sin, [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(hour_cos, [1, 0, -1], atol=1e-6)
    np.testing.assert_allclose(scaled, [0, 0.625, 1.25], atol=1e-6)
    assert week_sin[0] == pytest.approx(np.sin(2 * np.pi * 2 / 7), abs=1e-6)  # a Wednesday


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["2020-03-01", "2020-03-02"]),
        pa.array(["2020-03-01T00:00:00Z", "2020-03-02T00:00:00Z"]),
        pa.array(["2020-03-01 01:00:00+01:00", "2020-03-02"]),
        pa.array(["2020-03-01 00:00:00.000000000", "2020-03-02"]),
        pa.array([dt.date(2020, 3, 1), dt.date(2020, 3, 2)]),
        pa.array([dt.datetime(2020, 3, 1), dt.datetime(2020, 3, 2)], pa.timestamp("ns")),
        pa.array([dt.datetime(2020, 3, 1), dt.datetime(2020, 3, 2)], pa.timestamp("s", "UTC")),
        pa.array(["2020-03-01", "2020-03-02"]).dictionary_encode(),
    ],
)
def test_dates_of_any_type_encode_alike(values):
    contract = only(MIXED.columns[4])
    expected = encode(contract, pa.table({"when": ["2020-03-01", "2020-03-02"]}))
    assert check(contract, pa.table({"when": values})).good.all()
    np.testing.assert_array_equal(encode(contract, pa.table({"when": values})), expected)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(21, 1)]
)
def test_numbers_of_any_type_encode_alike(kind):
    array = pa.array([1, 2, 3]).cast(kind, safe=False)
    chunked = pa.chunked_array([array.slice(0, 1), array.slice(1)])
    for values in (array, chunked):
        table = pa.table({"x": values})
        assert check(only(NUMBER), table).good.all()
        assert encode(only(NUMBER), table).tolist() == [[1], [2], [3]]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-3, 3, width=32)), min_size=1, max_size=40))
def test_text_encodes_as_the_numbers_it_stands_for(numbers):
    contract = only(MIXED.columns[1])
    typed = pa.table({"gap": pa.array(numbers, pa.float64())})
    text = pa.table({"gap": pa.array([None if n is None else repr(n) for n in numbers])})
    assert check(contract, typed).good.all()
    assert check(contract, text).good.all()
    np.testing.assert_array_equal(encode(contract, typed), encode(contract, text))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=3)), max_size=30))
def test_any_text_is_checked_without_an_exception_and_good_rows_encode_finite(cells):
    text = pa.array([None if c is None else str(c) for c in cells], pa.string())
    table = pa.table(dict.fromkeys(("x", "gap", "c", "b", "when"), text))
    checked = check(MIXED, table)
    assert {row for row, _ in checked.reasons} == set(np.flatnonzero(~checked.good).tolist())
    x = encode(MIXED, table.filter(pa.array(checked.good)))
    assert isinstance(x, dict)
    assert np.isfinite(x["numeric"]).all()


def test_a_record_batch_and_an_empty_table_will_do():
    batch = pa.record_batch({"x": pa.array([1.0, 99.0])})
    assert check(only(NUMBER), batch).good.tolist() == [True, False]
    empty = pa.table({"x": pa.array([], pa.float64())})
    assert check(only(NUMBER), empty).good.tolist() == []
    assert encode(only(NUMBER), empty).shape == (0, 1)


def test_a_lacking_column_is_named_with_the_one_that_was_meant():
    contract = only(NumericColumn(name="distance", low=0, high=1))
    for function in (check, encode):
        with pytest.raises(ContractError, match="no column 'distance'; did you mean 'distanse'"):
            function(contract, pa.table({"distanse": [1.0]}))


def test_a_sequence_is_cut_into_steps_and_has_no_indicators():
    columns = tuple(
        NumericColumn(name=str(i), nullable=True, mean=9, low=0, high=9) for i in range(4)
    )
    contract = Contract(kind="sequence", columns=columns, shape=(2, 2))
    table = pa.table({"0": [1.0], "1": [2.0], "2": pa.array([None], pa.float64()), "3": [4.0]})
    assert encode(contract, table).tolist() == [[[1, 2], [9, 4]]]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.int16()), pa.list_(pa.float64(), 4)]
)
def test_lists_are_sequences(kind):
    column = ListColumn(name="s", length=4, mean=(0,) * 4, std=(1,) * 4, low=0, high=9)
    contract = Contract(kind="sequence", columns=(column,), shape=(2, 2))
    table = pa.table({"s": pa.array([[1, 2, 3, 4], [5, 6, 7, 8]], kind)})
    assert check(contract, table).good.all()
    assert encode(contract, table).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    nested = pa.table({"s": pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])})
    np.testing.assert_array_equal(encode(contract, nested), encode(contract, table))


def test_targets():
    def codes(target, values):
        return encode_target(Contract(kind="table", target=target), pa.table({"y": values}))

    classes = Target(name="y", classes=("no", "yes"), labels=("0", "1"))
    assert codes(classes, [1, 0]).tolist() == [1, 0]
    assert codes(classes, ["1", "0"]).tolist() == [1, 0]
    assert codes(classes, [1.0, 0.0]).dtype == np.int32
    above = Target(name="y", classes=("<= 15", "> 15"), above=15)
    assert codes(above, [15, 15.5]).tolist() == [0, 1]
    truths = Target(name="y", classes=("false", "true"))
    assert codes(truths, [True, False]).tolist() == [1, 0]
    number = codes(Target(name="y"), ["1.5", "2"])
    assert (number.tolist(), number.dtype) == ([1.5, 2], np.float32)
    with pytest.raises(ContractError, match=r"row 1 is 'c'; known: a, b"):
        codes(Target(name="y", classes=("a", "b")), ["a", "c"])
    with pytest.raises(ContractError, match="row 0 is None"):
        codes(Target(name="y"), pa.array([None], pa.float64()))
    with pytest.raises(ContractError, match="no column 'y'"):
        encode_target(Contract(kind="table", target=classes), pa.table({"z": [1]}))
    with pytest.raises(ContractError, match="no target"):
        encode_target(Contract(kind="table"), pa.table({"z": [1]}))


def test_lists_in_lists_of_another_shape_are_bad():
    table = pa.table({"s": [[[1.0, 2], [3, 4], [5, 6]], [[1.0, 2, 3], [4, 5, 6]]], "y": [0, 1]})
    rows = pa.table({"s": [[[1.0, 2], [3, 4], [5, 6]]] * 8, "y": [0, 1] * 4})
    contract = read(rows, target="y").contract
    assert contract.shape == (3, 2)
    checked = check(contract, table)
    assert checked.good.tolist() == [True, False]
    assert "not of the shape (3, 2)" in checked.reasons[0][1]
    assert check(contract, pa.table({"s": [[1.0, 2, 3, 4, 5, 6]]})).good.all()
