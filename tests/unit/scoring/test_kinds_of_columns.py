"""A column may arrive in any kind of Arrow: rows are scored or quarantined, and a check says so."""

import datetime
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    ListColumn,
    NumericColumn,
    Target,
)
from secateur.errors import OutputError
from secateur.scoring.arrow import scored
from secateur.scoring.check import check_data
from secateur.scoring.score import score
from unit.scoring.artifacts import CLASSES, quarantined, scores, table_contract, write_artifact

ROWS = 20
HALF = ROWS // 2
MARCH = datetime.datetime(2024, 3, 1)
READ = {
    "numeric": NumericColumn(name="v", low=-4, high=4),
    "boolean": BooleanColumn(name="v"),
    "categorical": CategoricalColumn(name="v", vocabulary=("1", "red")),
    "datetime": DatetimeColumn(name="v", low="2024-01-01", high="2025-01-01"),
    "list": ListColumn(name="v", low=-4, high=4, mean=(0,), std=(1,), length=2),
}


def runs(words):
    return pa.RunEndEncodedArray.from_arrays(pa.array([HALF, ROWS], pa.int32()), words)


def broken_text(*cells):
    """Return text that is no UTF-8, as a careless writer leaves it."""
    return pa.Array.from_buffers(pa.string(), len(cells), pa.array(cells, pa.binary()).buffers())


KINDS = {
    "null": pa.nulls(ROWS),
    "int8": pa.array([1, 0] * HALF, pa.int8()),
    "uint64": pa.array([2**64 - 1, 1] * HALF, pa.uint64()),
    "large int64": pa.array([2**63 - 1, -(2**63)] * HALF),
    "float16": pa.array(np.array([1, 0] * HALF, np.float16)),
    "infinite": pa.array([np.inf, 1.0] * HALF),
    "decimal": pa.array([Decimal("1.50"), None] * HALF),
    "decimal256": pa.array([Decimal(1), Decimal(10) ** 60] * HALF, pa.decimal256(76, 2)),
    "text": pa.array(["1", " red "] * HALF),
    "large text": pa.array(["1", "red"] * HALF, pa.large_string()),
    "text view": pa.array(["1", "red"] * HALF, pa.string_view()),
    "broken text": broken_text(*[b"\xff\xfe", b"red"] * HALF),
    "bytes": pa.array([b"1", b"\xff"] * HALF),
    "bytes view": pa.array([b"1", None] * HALF, pa.binary_view()),
    "words": pa.array(["red", "1"] * HALF).dictionary_encode(),
    "words as views": pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * HALF, pa.int8()), pa.array(["red", "1"], pa.string_view())
    ),
    "a null among words": pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * HALF, pa.int8()), pa.array(["red", None])
    ),
    "runs": runs(pa.array([1.0, 2.0])),
    "runs of views": runs(pa.array(["red", "1"], pa.string_view())),
    "lists": pa.array([[1.0, 2.0], [3.0]] * HALF),
    "lists as views": pa.array([[1.0, 2.0], None] * HALF, pa.list_view(pa.float64())),
    "structs": pa.array([{"a": "x"}, None] * HALF, pa.struct([("a", pa.string_view())])),
    "maps": pa.array([[("a", 1)], None] * HALF, pa.map_(pa.string(), pa.int64())),
    "dates": pa.array([MARCH.date(), None] * HALF),
    "moments": pa.array([MARCH, None] * HALF, pa.timestamp("us", "Europe/Paris")),
    "far moments": pa.array([2**40, None] * HALF, pa.timestamp("s")),
    "times": pa.array([datetime.time(1), None] * HALF),
    "durations": pa.array([datetime.timedelta(1), None] * HALF),
    "truths": pa.array([True, None] * HALF),
}
# No Parquet file holds these.
ARROW_ALONE = ("words as views", "a null among words", "runs", "runs of views", "lists as views")


def write(file, table):
    file.parent.mkdir(exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    return file


def write_kinds(folder, **beside):
    """Write two files for each kind, and return the kinds by the name of their file."""
    found = {}
    for number, (kind, column) in enumerate(KINDS.items()):
        for ending in ("arrow",) if kind in ARROW_ALONE else ("arrow", "parquet"):
            file = write(folder / f"{number:02d}.{ending}", pa.table({"v": column, **beside}))
            found[file.name] = kind
    return found


@pytest.mark.parametrize("read", READ)
def test_each_row_is_scored_or_quarantined_whatever_the_kind(tmp_path, read):
    contract = Contract(
        kind="sequence" if read == "list" else "table",
        columns=(READ[read],),
        target=Target(name="y", classes=CLASSES),
        shape=(2, 1) if read == "list" else None,
    )
    artifact = write_artifact(tmp_path / "artifact", contract)
    kinds = write_kinds(tmp_path / "data")
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert tally.unread == 0
    told = Counter(scores(tmp_path / "out")["source"].to_pylist()) if tally.scored else Counter()
    told.update(row["source"] for row in quarantined(tmp_path / "out"))
    assert told == dict.fromkeys(kinds, ROWS)
    checked = check_data(tmp_path / "data", contract)
    assert (checked.rows, checked.quarantined) == (tally.rows, tally.quarantined)
    assert checked.unread_parts == 0


def test_any_kind_is_carried_over(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(columns=1, keys=("v",)))
    # One row is bad, so that all columns are filtered.
    numbers = pa.array([99.0] + [1.0] * (ROWS - 1))
    kinds = write_kinds(tmp_path / "data", f0=numbers)
    assert score(artifact, tmp_path / "data", tmp_path / "out").unread == 0
    files = {}
    for part in (tmp_path / "out").glob("part-*"):
        table = pq.read_table(part)
        files[table["source"][0].as_py()] = table["v"]
    assert set(files) == set(kinds)
    for file, kind in kinds.items():
        assert len(files[file]) == (HALF if kind == "broken text" else ROWS - 1), file
        if kind not in ("broken text", "maps", "far moments"):
            assert files[file].to_pylist() == KINDS[kind].to_pylist()[1:], file


def test_a_value_that_no_parquet_file_holds_costs_its_part_alone(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(columns=1, keys=("t",)))
    for name, far in (("a", 2**62), ("b", 2)):
        moments = pa.array([far, 1], pa.timestamp("s"))
        table = pa.table({"f0": pa.array([1.0, 2.0]), "t": moments})
        write(tmp_path / "data" / f"{name}.arrow", table)
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.scored, tally.unread) == (2, 1)
    (bad,) = quarantined(tmp_path / "out")
    assert "carried over cannot be written" in bad["reason"]
    assert not list((tmp_path / "out").glob("*.partial*"))


def test_a_kind_that_no_parquet_file_has_is_refused(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(columns=1, keys=("t",)))
    interval = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    data = write(tmp_path / "data.arrow", pa.table({"f0": pa.array([1.0]), "t": interval}))
    with pytest.raises(OutputError, match="'t' is of the type month_day_nano_interval"):
        score(artifact, data, tmp_path / "out")


def test_text_that_is_not_utf8_in_a_column_that_nobody_reads_costs_nothing(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(columns=1))
    table = pa.table({"f0": pa.array([1.0, 2.0]), "note": broken_text(b"a", b"\xff")})
    data = write(tmp_path / "data.arrow", table)
    assert score(artifact, data, tmp_path / "out").scored == 2
    carrying = score(artifact, data, tmp_path / "all", columns="all")
    assert (carrying.scored, carrying.quarantined) == (1, 1)


def test_streams_of_views_have_reasons_for_bad_rows(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(columns=1, keys=("id",)))
    batch = pa.record_batch(
        {"id": pa.array(["a", "b"], pa.string_view()), "f0": pa.array([1.0, 99.0])}
    )
    (answer,) = scored([batch], artifact)
    assert answer["id"].to_pylist() == ["a", "b"]
    assert [reason is None for reason in answer["reason"].to_pylist()] == [True, False]


def test_lists_of_another_nesting_are_foreseen_by_the_check(tmp_path):
    contract = Contract(
        kind="sequence",
        columns=(ListColumn(name="v", low=-4, high=4, mean=(0,), std=(1,), length=8),),
        target=Target(name="y", classes=CLASSES),
        shape=(4, 2),
    )
    artifact = write_artifact(tmp_path / "artifact", contract)
    cells = [np.ones((4, 2)).tolist(), np.ones((2, 4)).tolist()]
    data = write(tmp_path / "data.arrow", pa.table({"v": cells}))
    tally = score(artifact, data, tmp_path / "out")
    checked = check_data(data, contract)
    assert (tally.scored, tally.quarantined) == (1, 1)
    assert (checked.rows, checked.quarantined) == (2, 1)
