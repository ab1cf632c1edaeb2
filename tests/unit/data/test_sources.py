"""Files, folders and globs become parts in a fixed order, and a part streams all its rows."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    Contract,
    DatetimeColumn,
    NumericColumn,
    Target,
)
from secateur.data.encode import encode
from secateur.data.faults import check
from secateur.data.sources import find_parts, names_of, stream
from secateur.errors import ContractError, DataError

TABLE = pa.table({"a": np.arange(10), "b": [f"w{i}" for i in range(10)]})


def write_all(folder):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(TABLE, folder / "1.parquet", row_group_size=3)
    (folder / "2.csv").write_text("a,b\n" + "".join(f"{i},w{i}\n" for i in range(10)))
    with (
        pa.OSFile(str(folder / "3.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, TABLE.schema) as out,
    ):
        out.write_table(TABLE, max_chunksize=4)
    with (
        pa.OSFile(str(folder / "4.ipc"), "wb") as sink,
        pa.ipc.new_stream(sink, TABLE.schema) as out,
    ):
        out.write_table(TABLE)
    return folder


def gray(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)


def test_parts_come_in_order_with_paths_relative_to_the_source(tmp_path):
    write_all(tmp_path / "data" / "sub")
    write_all(tmp_path / "data")
    parts = find_parts(tmp_path / "data")
    paths = ["1.parquet", "2.csv", "3.arrow", "4.ipc"]
    assert [part.path for part in parts] == [*paths, *(f"sub/{path}" for path in paths)]
    assert [part.index for part in parts] == list(range(8))
    assert [part.kind for part in parts[:4]] == ["parquet", "csv", "arrow", "arrow"]
    assert parts[0].rows == 10
    assert parts[1].rows is None
    assert all(part.bytes == part.file.stat().st_size for part in parts)
    assert find_parts(tmp_path / "data") == parts


def test_a_file_and_a_glob(tmp_path):
    write_all(tmp_path)
    (part,) = find_parts(tmp_path / "2.csv")
    assert (part.path, part.root) == ("2.csv", str(tmp_path))
    assert [part.path for part in find_parts(f"{tmp_path}/[12].*")] == ["1.parquet", "2.csv"]
    assert [part.path for part in find_parts(f"{tmp_path}/**/*.ipc")] == ["4.ipc"]


@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_every_kind_streams_the_same_rows(tmp_path, batch_rows):
    write_all(tmp_path)
    contract = Contract(
        kind="table", columns=(NumericColumn(name="a", low=0, high=9),), keys=("b",)
    )
    for part in find_parts(tmp_path):
        blocks = list(stream(part, contract=contract, batch_rows=batch_rows))
        assert all(block.table.num_rows <= batch_rows for block in blocks)
        assert np.concatenate([block.rows for block in blocks]).tolist() == list(range(10))
        table = pa.concat_tables([block.table for block in blocks])
        assert table.select(["a", "b"]).to_pydict() == TABLE.to_pydict()
        assert names_of(part) == ["a", "b"]


def test_images_make_parts_of_chunks(tmp_path):
    for i in range(5):
        gray(tmp_path / "x" / f"{i}.png")
    (tmp_path / "x" / "notes.csv").write_text("a\n1\n")
    parts = find_parts(tmp_path, images_per_part=2)
    assert [part.files for part in parts] == [
        ("x/0.png", "x/1.png"),
        ("x/2.png", "x/3.png"),
        ("x/4.png",),
    ]
    assert [(part.path, part.rows, part.kind) for part in parts][2] == ("x/4.png", 1, "image")
    assert [part.path for part in find_parts(tmp_path, kind="table")] == ["x/notes.csv"]
    with pytest.raises(DataError, match="one by one"):
        list(stream(parts[0]))


def test_what_is_hidden_is_passed_over(tmp_path):
    write_all(tmp_path)
    for name in (".hidden.csv", "_SUCCESS.csv", "_delta_log/0.parquet", "__MACOSX/x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    assert len(find_parts(tmp_path)) == 4


def test_bad_rows_of_csv_are_in_the_stream(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2\n3,y\n")
    (part,) = find_parts(tmp_path)
    blocks = list(stream(part, batch_rows=1))
    bad = [row for block in blocks for row in block.bad]
    assert [(row.row, row.raw) for row in bad] == [(1, "2")]
    assert [block.rows.tolist() for block in blocks] == [[0], [2]]


def test_csv_and_parquet_encode_alike(tmp_path):
    contract = Contract(
        kind="table",
        columns=(
            NumericColumn(name="x", nullable=True, mean=2, low=0, high=9),
            BooleanColumn(name="b"),
            DatetimeColumn(name="t", low="2020-01-01", high="2020-12-31"),
        ),
    )
    table = pa.table(
        {
            "t": pa.array(["2020-02-03", "2020-05-06 07:08"]).cast(pa.timestamp("us")),
            "x": pa.array([1.5, None]),
            "b": [True, False],
        }
    )
    pq.write_table(table, tmp_path / "1.parquet")
    (tmp_path / "2.csv").write_text("x;b;t\n1.5;true;2020-02-03\n;0;2020-05-06T07:08Z\n")
    encoded = []
    for part in find_parts(tmp_path):
        (block,) = stream(part, contract=contract)
        assert check(contract, block.table).good.all()
        encoded.append(encode(contract, block.table))
    np.testing.assert_array_equal(*encoded)


def test_a_headerless_file_may_lack_its_target(tmp_path):
    contract = Contract(
        kind="table",
        columns=tuple(NumericColumn(name=name, low=0, high=9) for name in ("1", "2")),
        target=Target(name="0", classes=("a", "b")),
        fields=("0", "1", "2"),
    )
    (tmp_path / "1.csv").write_text("7,1,2\n")
    (tmp_path / "2.csv").write_text("1,2\n")
    for part in find_parts(tmp_path):
        (block,) = stream(part, contract=contract)
        assert block.table.to_pylist() == [{"1": 1.0, "2": 2.0}]
    (tmp_path / "2.csv").write_text("1,2,3,4\n")
    with pytest.raises(ContractError, match="4 fields, where 3 are expected"):
        list(stream(find_parts(tmp_path)[1], contract=contract))


@pytest.mark.parametrize("name", ["1.parquet", "2.csv", "3.arrow", "4.ipc"])
def test_a_lacking_column_is_named(tmp_path, name):
    write_all(tmp_path)
    (part,) = find_parts(tmp_path / name)
    with pytest.raises(ContractError, match="no column 'c'; there are: a, b"):
        list(stream(part, ["a", "c"]))


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.feather"])
@pytest.mark.parametrize("content", [b"", b"PAR1 but then nothing of use"])
def test_a_broken_file_is_a_data_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (part,) = find_parts(tmp_path / name)
    for function in (lambda: list(stream(part)), lambda: names_of(part)):
        with pytest.raises(DataError, match="cannot be read") as caught:
            function()
        assert caught.value.where.endswith(name)


def test_a_truncated_parquet_file_is_a_data_error(tmp_path):
    write_all(tmp_path)
    path = tmp_path / "1.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read"):
        list(stream(find_parts(path)[0]))


def test_two_columns_of_one_name(tmp_path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="two columns are named 'a'"):
        names_of(find_parts(tmp_path)[0])


def test_reading_starts_no_heavy_package():
    code = (
        "import sys, secateur.data.read, secateur.data.encode, secateur.data.sources;"
        "print({'keras', 'tensorflow', 'pandas', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dat", "no such file or folder.* Did you mean .*data"),
        ("nowhere/at/all", "no such file or folder.*There is no folder"),
        ("data", "the folder is empty"),
        ("*.zip", "no file matches"),
        ("table.xlsx", "end in '.xlsx' cannot be read"),
        ("words", "no file that holds data"),
    ],
)
def test_nothing_to_read_is_said_clearly(tmp_path, source, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "table.xlsx").write_bytes(b"x")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.md").write_text("x")
    with pytest.raises(DataError, match=message):
        find_parts(tmp_path / source)


def test_what_was_a_word_in_training_is_one_in_a_text_file(tmp_path):
    (tmp_path / "t.csv").write_text("country,town\nNA,NA\nDE,Kiel\nnull,\n")
    words = CategoricalColumn(name="country", vocabulary=("DE", "NA"), nullable=True)
    towns = CategoricalColumn(name="town", vocabulary=("Kiel",), nullable=True)
    contract = Contract(kind="table", columns=(words, towns), target=Target(name="y"))
    (part,) = find_parts(tmp_path)
    (block,) = stream(part, ["country", "town"], contract=contract, batch_rows=10)
    assert block.table["country"].to_pylist() == ["NA", "DE", None]
    assert block.table["town"].to_pylist() == [None, "Kiel", None]
