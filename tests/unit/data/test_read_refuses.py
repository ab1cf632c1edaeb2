"""What `read` cannot do is said in one clear error that names what is wrong and where."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.read import read
from secateur.errors import ContractError, DataError


def frame(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(10, 3, rows),
            "gap": np.where(rng.random(rows) < 0.2, np.nan, rng.integers(0, 9, rows)),
            "c": rng.choice(["red", "green", "blue"], rows),
            "b": rng.random(rows) < 0.5,
            "t": pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 9999, rows), "h"),
            "who": rng.integers(0, 40, rows),
            "id": [f"id{i}" for i in range(rows)],
            "y": rng.choice(["no", "yes", "perhaps"], rows, p=[0.6, 0.3, 0.1]),
        }
    )


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({}, DataError, "no target was named.*there are: x, gap"),
        ({"target": "z"}, ContractError, "a table in memory, `target`: there is no column 'z'"),
        ({"target": "y", "keys": ["idd"]}, ContractError, "`keys`: .*did you mean 'id'"),
        ({"target": "y", "ignore": ["nope"]}, ContractError, "`ignore`: there is no column 'nope'"),
        ({"target": "y", "group": "whom"}, ContractError, "`group`: .*did you mean 'who'"),
        ({"target": "y", "ignore": ["y"]}, DataError, "the target 'y' is named in `ignore`"),
        ({"target": "y", "keys": ["x", "x"]}, DataError, "`keys` names 'x' twice"),
        ({"target": "t"}, DataError, "target t: .*timestamp.*cannot be predicted"),
        ({"target": "y", "above": 3}, DataError, "`above` asks for a number"),
        ({"target": "x", "above": 1e9}, DataError, "no row has x > 1000000000"),
        ({"target": "y", "split": (0.5, 0.5)}, DataError, "three positive shares"),
        ({"target": "y", "split": (1.0, 0.0, 0.0)}, DataError, "three positive shares"),
        ({"target": "y", "split": (0.6, 0.3, 0.3)}, DataError, "sum to 1.2, not to 1"),
        ({"target": "y", "split": "most"}, DataError, "three positive shares"),
        ({"target": "y", "shape": (4, 2)}, DataError, "'c' is categorical"),
        ({"target": "y", "shape": (0, 2)}, DataError, "positive whole numbers"),
        ({"target": "y", "mode": "CMYK"}, DataError, "`mode` is one of 'RGB', 'L', not 'CMYK'"),
        ({"target": "y", "resize": "squash"}, DataError, "`resize` is one of"),
        (
            {"target": "y", "class_names": ["a"]},
            DataError,
            "1 different `class_names` .* 3 classes",
        ),
        ({"target": "y", "class_names": {"nay": "x"}}, DataError, "names 'nay'"),
        ({"target": "x", "class_names": ["a"]}, DataError, "the target is a number"),
        ({"target": "y", "group": "b"}, DataError, "column b: there are 2 groups"),
        ({"target": "y", "seed": -1}, DataError, "`seed` is a whole number from 0, not -1"),
        ({"target": "x", "above": "15"}, DataError, "`above` is a number, not '15'"),
        ({"target": "y", "group": 3}, DataError, "`group` is the name of a column"),
        ({"target": "y", "image_size": (3,)}, DataError, r"`image_size` is \(height, width\)"),
    ],
)
def test_bad_arguments_are_named(arguments, kind, message):
    with pytest.raises(kind, match=message):
        read(frame(), **arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("x,y\n", "there is a header, but no row"),
        ("x,y\n1\n2\n", "no row can be read: t.csv, row 0: 1 fields, where 2 are expected"),
        ("x,x\n1,2\n", "'x' more than once"),
        (
            "x,y\n1,a\n2,a\n3,a\n4,a\n5,a\n",
            "target y: the target has one class, 'a', in all 5 rows",
        ),
        ("x,y\n1,\n2,\n", "target y: the column holds no value at all"),
        ("x,y\n1,a\n2,b\n", "the .* split is empty: 2 usable rows are too few"),
        ("x,y\n,a\n,b\n,a\n,b\n,a\n", "no column is left"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(path, target="y")


def test_bad_sources_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.csv", target="y")
    with pytest.raises(DataError, match="a dict cannot be read"):
        read({"x": 1}, target="y")
    with pytest.raises(DataError, match="no rows"):
        read(frame(0), target="y")
    twice = pd.DataFrame([[1, 2, 3]], columns=["a", "a", "y"])
    with pytest.raises(DataError, match="two columns are named 'a'"):
        read(twice, target="y")
    with pytest.raises(DataError, match="Give a data frame"):
        read(pd.Series([1, 2]), target="y")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"b.csv: the column 'y' of the other files is not here"):
        read(tmp_path, target="y")
    with pytest.raises(DataError, match="are for images"):
        read(tmp_path / "a.csv", target="y", image_size=(8, 8))
    frame().to_parquet(tmp_path / "c.parquet")
    with pytest.raises(DataError, match="side by side"):
        read(tmp_path, target="y")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"x,y\n1,a\n" * 999)[:-9])
    with pytest.raises(DataError, match=r"t.csv.gz: the file cannot be read"):
        read(tmp_path / "t.csv.gz", target="y")


@pytest.mark.parametrize("ending", ["parquet", "arrow", "memory"])
def test_text_that_is_not_utf8_is_named(tmp_path, ending):
    cells = [b"red"] * 99 + [b"\xff"]
    note = pa.Array.from_buffers(pa.string(), 100, pa.array(cells, pa.binary()).buffers())
    table = pa.table({"note": note, "y": ["a", "b"] * 50})
    source = tmp_path / f"t.{ending}"
    if ending == "parquet":
        pq.write_table(table, source)
    elif ending == "arrow":
        with pa.ipc.new_file(source, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(DataError, match=r"column note, row 99: b'\\xff' is not UTF-8.*anew"):
        read(table if ending == "memory" else source, target="y")


def test_a_group_has_to_be_a_word(tmp_path):
    table = pa.table({"x": range(100), "y": ["a", "b"] * 50, "who": [[i] for i in range(100)]})
    with pytest.raises(DataError, match="group who: rows cannot be grouped by a column of list"):
        read(table, target="y", group="who")


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    class Usage:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    dataset = read(frame(), target="y", cache_bytes=0)
    with pytest.raises(DataError, match="TMPDIR"):
        dataset.train.labels()
