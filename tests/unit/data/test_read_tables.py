"""Tables of any source become the same dataset; what cannot be used is left out and named."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data import survey
from secateur.data.read import read

ROWS = 400
SPLITS = ("train", "validation", "test")


def frame(rows=ROWS, seed=0):
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


def everything(dataset):
    """Return all that a dataset gives, to compare."""
    out = []
    for name in SPLITS:
        split = dataset.split(name)
        x, y = split.sample(split.rows)
        out.append(x if isinstance(x, dict) else {"": x})
        out[-1]["y"] = y
    return out


def assert_same(one, other):
    for a, b in zip(everything(one), everything(other), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "parquet", "arrow", "folder", "table"])
def test_every_source_gives_the_same_dataset(tmp_path, kind):
    data = frame()
    expected = read(data, target="y", keys=["id"], ignore=["who"])
    path = tmp_path / f"data.{kind}"
    if kind in ("csv", "csv.gz"):
        data.to_csv(path, index=False)
    elif kind == "tsv":
        data.to_csv(path, index=False, sep="\t")
    elif kind == "parquet":
        data.to_parquet(path, row_group_size=50)
    elif kind == "arrow":
        data.to_feather(path)
    elif kind == "folder":
        path.mkdir()
        data[:150].to_parquet(path / "1.parquet")
        data[150:].to_parquet(path / "2.parquet")
    else:
        path = pa.Table.from_pandas(data, preserve_index=False)
    dataset = read(path, target="y", keys=["id"], ignore=["who"])
    assert dataset.contract == expected.contract
    assert dataset.fingerprint == expected.fingerprint
    assert_same(dataset, expected)


@settings(deadline=None, max_examples=15)
@given(
    numbers=st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=20, max_size=60),
    seed=st.integers(0, 100),
)
def test_csv_and_frame_agree_on_any_numbers(tmp_path_factory, numbers, seed):
    data = pd.DataFrame({"x": numbers, "n": range(len(numbers))}, dtype="float64")
    data["y"] = ["a", "b"] * (len(data) // 2) + ["a"] * (len(data) % 2)
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    data.to_csv(path, index=False)
    assert_same(read(path, target="y", seed=seed), read(data, target="y", seed=seed))


def test_splits_cover_all_rows_once_in_exact_shares():
    data = frame()
    dataset = read(data, target="y", keys=["id"])
    ids = [
        {row["id"] for row in dataset.split(name).rows_as_dicts(range(dataset.split(name).rows))}
        for name in SPLITS
    ]
    assert set.union(*ids) == set(data["id"])
    assert sum(map(len, ids)) == ROWS
    for label, total in data["y"].value_counts().items():
        for name, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            assert abs(dataset.split(name).class_counts()[label] - share * total) <= 1


def test_no_group_is_in_two_splits():
    dataset = read(frame(), target="y", keys=["who"], group="who", ignore=["id"])
    groups = [
        {row["who"] for row in dataset.split(name).rows_as_dicts(range(dataset.split(name).rows))}
        for name in SPLITS
    ]
    assert sum(map(len, groups)) == 40
    assert not groups[0] & groups[1]
    assert "who" not in {column.name for column in dataset.contract.columns}


def test_labels_and_rows_belong_together():
    dataset = read(frame(), target="y", keys=["id"])
    rows = dataset.test.rows_as_dicts([3, 0, 7])
    labels = [dataset.contract.classes[code] for code in dataset.test.labels()[[3, 0, 7]]]
    assert [row["y"] for row in rows] == labels
    assert dataset.test.raw(3) == rows[0]


def test_only_training_rows_teach_the_model_and_all_rows_the_range():
    data = frame()
    dataset = read(data, target="y", keys=["id"])
    train = {row["id"] for row in dataset.train.rows_as_dicts(range(dataset.train.rows))}
    chosen = data[data["id"].isin(train)]
    columns = {column.name: column for column in dataset.contract.columns}
    assert columns["x"].mean == pytest.approx(chosen["x"].mean())
    assert columns["x"].std == pytest.approx(chosen["x"].std(ddof=0))
    assert (columns["x"].low, columns["x"].high) == (data["x"].min(), data["x"].max())
    assert columns["gap"].nullable
    assert not columns["x"].nullable
    assert columns["c"].vocabulary == ("blue", "green", "red")
    mean, variance = dataset.contract.moments()
    place = dataset.contract.features().index("x")
    x, _ = dataset.train.sample(ROWS)
    assert x["numeric"][:, place].mean() == pytest.approx(mean[place], rel=1e-5)
    assert x["numeric"][:, place].var() == pytest.approx(variance[place], rel=1e-4)


def test_numbers_alone_are_a_plain_array():
    x, y = read(frame()[["x", "gap", "y"]], target="y").train.sample(5)
    assert isinstance(x, np.ndarray)
    assert (x.shape, x.dtype, y.dtype) == ((5, 3), np.float32, np.int32)


def test_what_the_target_may_be():
    data = frame()
    whole = read(data, target="who", ignore=["id"])
    assert whole.contract.classes == tuple(map(str, range(40)))
    assert any("whole numbers with 40 different values" in note for note in whole.notes)
    number = read(data, target="x", ignore=["id"])
    assert (number.contract.task, number.train.labels().dtype) == ("regression", np.float32)
    assert number.train.class_counts() == {}
    truth = read(data, target="b", ignore=["id"])
    assert truth.contract.classes == ("false", "true")
    above = read(data, target="x", above=10, ignore=["id"])
    assert above.contract.classes == ("<= 10", "> 10")
    gaps = read(data, target="gap", ignore=["id"])
    assert gaps.contract.classes == tuple(map(str, range(9)))
    assert any("without a target (gap) left out" in note for note in gaps.notes)
    many = read(pd.DataFrame({"x": range(300), "y": range(300)}), target="y")
    assert many.contract.task == "regression"


def test_class_names():
    data = frame()
    by_order = read(data, target="b", class_names=["cold", "warm"], ignore=["id"])
    by_name = read(data, target="b", class_names={"true": "warm", "false": "cold"}, ignore=["id"])
    assert by_order.contract == by_name.contract
    assert by_order.contract.classes == ("cold", "warm")
    assert by_order.test.class_counts()["warm"] > 0


def test_rows_that_cannot_be_used_are_left_out_and_named(tmp_path):
    lines = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(100)]
    lines[10] = "10,three,a"
    lines[20] = "20,inf,a"
    lines[30] = "30,3,"
    lines[40] = "40,3"
    path = tmp_path / "t.csv"
    path.write_text("n,x,y\n" + "\n".join(lines))
    dataset = read(path, target="y")
    assert dataset.rows == 96
    notes = "\n".join(dataset.notes)
    assert "1 row that cannot be read left out (t.csv, row 40: 2 fields, where 3" in notes
    assert "2 rows whose column x is not a number, or infinite, or too large left out" in notes
    assert "(first: row 10: 'three')" in notes
    assert "1 row without a target (y) left out" in notes


def test_columns_that_no_model_can_read_are_left_out_and_named(tmp_path):
    data = frame()
    data["empty"] = np.nan
    data["blob"] = [b"x"] * ROWS
    notes = "\n".join(read(data, target="y").notes)
    assert "column id left out: nearly all of its values are different" in notes
    assert "column empty left out: it is empty" in notes
    assert "column blob left out: binary cannot be read" in notes
    data[["x", "y"]].to_csv(tmp_path / "t.csv")
    dataset = read(tmp_path / "t.csv", target="y")
    assert [column.name for column in dataset.contract.columns] == ["x"]
    assert any("Unnamed: 0 left out" in note for note in dataset.notes)


def test_dates_and_vocabularies():
    rng = np.random.default_rng(0)
    days = [str(dt.date(2020, 1, 1) + dt.timedelta(int(i))) for i in rng.integers(0, 500, 3000)]
    days[7] = "someday"
    words = [f"w{int(i)}" for i in np.minimum(rng.exponential(300, 3000), 2500)]
    data = pd.DataFrame({"day": days, "word": words, "y": ["a", "b"] * 1500})
    dataset = read(data, target="y")
    day, word = dataset.contract.columns
    assert (day.kind, day.low) == ("datetime", "2020-01-01T00:00:00")
    assert any("is not an ISO date left out (first: row 7: 'someday')" in n for n in dataset.notes)
    assert len(word.vocabulary) <= 1000
    assert "w0" in word.vocabulary


def test_a_vocabulary_holds_the_thousand_most_frequent_values():
    words = [f"w{i}" for i in range(1500)] * 3 + [f"w{i}" for i in range(900)] * 20
    data = pd.DataFrame({"word": words, "y": ["a", "b"] * (len(words) // 2)})
    dataset = read(data, target="y")
    (word,) = dataset.contract.columns
    assert len(word.vocabulary) == 1000
    assert {f"w{i}" for i in range(900)} <= set(word.vocabulary)
    assert any("rarer values beyond 1,000 count as unknown" in note for note in dataset.notes)
    x, _ = dataset.train.sample(10**4)
    assert x["categorical"].min() == 0
    assert x["categorical"].max() == 1000


def test_copies_and_an_index_are_noted():
    data = frame(100)
    dataset = read(pd.concat([data, data[:80]]), target="y", ignore=["id"])
    assert any("80 rows with the same inputs as another row, kept" in n for n in dataset.notes)
    splits = [
        {row["x"] for row in dataset.split(name).rows_as_dicts(range(dataset.split(name).rows))}
        for name in SPLITS
    ]
    assert len(splits[0] & splits[2]) <= 3
    indexed = read(data.set_index("t"), target="y", ignore=["id"])
    assert any("the index (t) left out" in note for note in indexed.notes)
    assert not any("index" in note for note in read(data, target="y").notes)


def test_sequences_of_columns_and_of_lists(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(200, 4, 2)).round(3)
    labels = rng.integers(0, 2, 200)
    wide = pd.DataFrame(samples.reshape(200, 8))
    wide.insert(0, "y", labels)
    columns = read(wide, target="y", shape=(4, 2))
    assert columns.contract.inputs() == {"sequence": ((4, 2), "float32")}
    nested = pa.table({"s": samples.tolist(), "y": labels})
    pq.write_table(nested, tmp_path / "t.parquet")
    lists = read(tmp_path / "t.parquet", target="y")
    assert lists.contract.shape == (4, 2)
    assert_same(columns, lists)
    np.testing.assert_allclose(columns.contract.moments(), lists.contract.moments(), rtol=1e-5)
    for fault in ([[1.0]], None, [[1.0, float("nan")]] * 4):
        cells = [fault, *samples.tolist()[1:]]
        dataset = read(pa.table({"s": cells, "y": labels}), target="y")
        assert dataset.rows == 199
        assert any("not a list of 8 finite numbers" in note for note in dataset.notes)


def test_a_contract_that_is_known_is_kept(tmp_path):
    known = read(frame(), target="y", keys=["id"], ignore=["who"]).contract
    other = frame(seed=1)
    other.loc[5, "x"] = np.nan
    other.loc[6, "x"] = 1e9
    other.loc[7, "y"] = "never"
    dataset = read(other, contract=known)
    assert dataset.contract == known
    assert dataset.rows == ROWS - 3
    notes = "\n".join(dataset.notes)
    assert "2 rows that break the contract left out (first: row 5: column x: the value is" in notes
    assert "1 row without a target (y)" in notes
    x, _ = dataset.train.sample(ROWS)
    assert np.isfinite(x["numeric"]).all()


def test_a_headerless_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i % 2},{i},{i * 2}\n" for i in range(60)))
    contract = read(path, target="0", header=False).contract
    assert contract.fields == ("0", "1", "2")
    assert [column.name for column in contract.columns] == ["1", "2"]


def test_many_rows_are_split_by_their_own_hash(monkeypatch):
    monkeypatch.setattr(survey, "EXACT_ROWS", 100)
    data = frame(3000)
    one = read(data, target="y", ignore=["id"])
    assert one.rows == 3000
    assert 0.57 < one.train.rows / 3000 < 0.63
    assert one.test.class_counts()["perhaps"] > 0
    assert_same(one, read(data, target="y", ignore=["id"]))


def test_large_tables_are_mapped_from_files_that_go_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = frame(9000)
    data.to_csv(tmp_path / "data.csv", index=False)
    mapped = read(tmp_path / "data.csv", target="y", ignore=["id"], cache_bytes=0)
    assert mapped.train.feed() is not None
    assert_same(mapped, read(data, target="y", ignore=["id"]))
    assert len(list(tmp_path.iterdir())) > 1
    del mapped
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_rows_that_are_left_out_take_no_memory():
    data = pd.DataFrame({"x": np.arange(4000.0), "y": np.arange(4000) % 2})
    few = data.assign(y=data["y"].where(data["x"] < 400))
    assert read(data, target="y", cache_bytes=8000).train.feed() is not None
    assert read(few, target="y", cache_bytes=8000).train.feed() is None


def test_an_untidy_frame_is_read_as_text():
    data = frame()
    data["mixed"] = [1, "two"] * (ROWS // 2)
    column = {c.name: c for c in read(data, target="y").contract.columns}["mixed"]
    assert column.vocabulary == ("1", "two")
