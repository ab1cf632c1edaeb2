"""Folders named year=2024 are columns, of one type for all files of a source."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.partitions import partitions
from secateur.data.read import read
from secateur.data.sources import find_parts, names_of, stream
from secateur.errors import ContractError


def plain(root, paths):
    return [{n: v.as_py() for n, v, _ in row} for row in partitions(str(root), paths)]


def test_whole_numbers_and_text(tmp_path):
    found = partitions(str(tmp_path), ["year=2024/m=01/a.csv", "year=2025/m=x/a.csv"])
    assert [{n: (v.as_py(), v.type) for n, v, _ in row} for row in found] == [
        {"year": (2024, pa.int64()), "m": ("01", pa.string())},
        {"year": (2025, pa.int64()), "m": ("x", pa.string())},
    ]


def test_missing_and_quoted_values(tmp_path):
    paths = [
        "k=__HIVE_DEFAULT_PARTITION__/a",
        "k=7/a",
        "c=a%2Fb%3D/a",
        "plain/a",
        "k=-5/=x/a=b.csv",
    ]
    assert plain(tmp_path, paths) == [{"k": None}, {"k": 7}, {"c": "a/b="}, {}, {"k": -5}]
    assert plain(tmp_path, ["k=__HIVE_DEFAULT_PARTITION__/a"]) == [{"k": None}]
    assert plain(tmp_path, ["k=9999999999999999999/a"]) == [{"k": "9999999999999999999"}]


def test_folders_above_the_root_count(tmp_path):
    assert plain(tmp_path / "a=1" / "b=2", ["c=3/x.csv"]) == [{"a": 1, "b": 2, "c": 3}]
    assert plain("s3://bucket/t/a=1?region=x", ["c=3/x.csv"]) == [{"a": 1, "c": 3}]
    assert plain("s3://bucket/a=1/t", ["x.csv"]) == [{}]


@pytest.fixture
def table(tmp_path):
    """Write three files, of two years."""
    for year, month, rows in ((2023, "12", 2), (2024, "01", 3), (2024, "02", 1)):
        folder = tmp_path / "t" / f"year={year}" / f"month={month}"
        folder.mkdir(parents=True)
        part = pa.table({"a": list(range(rows)), "b": ["x"] * rows})
        pq.write_table(part, folder / "p.parquet")
    return tmp_path / "t"


def rows_of(source, columns=None):
    parts = find_parts(source)
    return [
        row for part in parts for block in stream(part, columns) for row in block.table.to_pylist()
    ]


def test_they_are_read_as_columns(table):
    parts = find_parts(table)
    assert parts[1].path == "year=2024/month=01/p.parquet"
    assert names_of(parts[1]) == ["a", "b", "year", "month"]
    assert rows_of(table)[2] == {"a": 0, "b": "x", "year": 2024, "month": 1}
    assert rows_of(table, ["month", "a"])[-1] == {"month": 2, "a": 0}
    assert [row["year"] for row in rows_of(table, ["year"])] == [2023, 2023, 2024, 2024, 2024, 2024]
    assert rows_of(f"{table}/year=2024/month=0*/*.parquet", ["year"]) == [{"year": 2024}] * 4
    assert rows_of(table / "year=2024" / "month=01" / "p.parquet", ["month"]) == [{"month": 1}] * 3


def test_no_file_is_passed_over(table):
    assert len(rows_of(table)) == 6
    with pytest.raises(ContractError, match="day"):
        rows_of(table, ["day"])


def test_a_column_of_the_file_comes_first(table):
    pq.write_table(pa.table({"a": [1], "year": [1999]}), table / "year=2023" / "own.parquet")
    (part,) = [part for part in find_parts(table) if "own" in part.path]
    (block,) = stream(part)
    assert block.table.to_pylist() == [{"a": 1, "year": 1999}]


def test_csv_has_them_too(tmp_path):
    (tmp_path / "k=5").mkdir()
    (tmp_path / "k=5" / "a.csv").write_text("a,b\n1,x\n2\n3,y\n")
    (part,) = find_parts(tmp_path)
    (block,) = stream(part)
    assert block.table.to_pylist() == [{"a": "1", "b": "x", "k": 5}, {"a": "3", "b": "y", "k": 5}]
    assert [row.row for row in block.bad] == [1]


def test_training_learns_them(tmp_path):
    for k in range(3):
        (tmp_path / f"k={k}").mkdir()
        part = pa.table({"a": [i * 0.5 for i in range(40)], "y": [i % 2 for i in range(40)]})
        pq.write_table(part, tmp_path / f"k={k}" / "p.parquet")
    dataset = read(tmp_path, target="y")
    assert dataset.rows == 120
    assert dataset.contract.reads == ("a", "k")


def test_what_was_learned_as_a_word_is_one_wherever_it_lies(tmp_path):
    for region in ("01", "02", "2A"):
        folder = tmp_path / "t" / f"region={region}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"a": [1.0, 2.0] * 20, "y": ["p", "q"] * 20}), folder / "p.parquet")
    contract = read(tmp_path / "t", target="y").contract
    assert next(c for c in contract.columns if c.name == "region").vocabulary == ("01", "02", "2A")
    (part,) = find_parts(tmp_path / "t" / "region=01")
    (block,) = stream(part, ["region"], contract=contract)
    assert block.table.to_pylist() == [{"region": "01"}] * 40
    (block,) = stream(part, ["region"])
    assert block.table.to_pylist() == [{"region": 1}] * 40
