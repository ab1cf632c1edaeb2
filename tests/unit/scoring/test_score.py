"""Rows in are rows scored and rows quarantined, whatever the source holds."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from secateur.data import delimited
from secateur.data.contract import Contract, ListColumn, NumericColumn, Target
from secateur.scoring import pieces
from secateur.scoring.score import score
from secateur.scoring.scorer import CHUNK_ROWS
from unit.scoring.artifacts import (
    as_table,
    assert_scores_of,
    expected,
    image_contract,
    numbers,
    quarantined,
    scores,
    table_contract,
    weights,
    write_artifact,
    write_parquet_files,
)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("batch_rows", [None, 7])
def test_every_row_is_scored(artifact, tmp_path, threads, batch_rows):
    x = write_parquet_files(tmp_path / "data", [300, 1, 500, 77], row_group_size=90)
    tally = score(
        artifact, tmp_path / "data", tmp_path / "out", threads=threads, batch_rows=batch_rows
    )
    assert (tally.parts, tally.rows, tally.scored, tally.quarantined) == (4, 878, 878, 0)
    assert tally.bytes == sum(f.stat().st_size for f in (tmp_path / "data").iterdir())
    table = scores(tmp_path / "out")
    assert_scores_of(tmp_path / "out", x)
    assert table["row"].to_pylist() == [*range(300), 0, *range(500), *range(77)]
    assert table["source"].to_pylist()[300] == "data-001.parquet"
    assert sorted(os.listdir(tmp_path / "out")) == [
        "ledger.jsonl",
        *(f"part-{i:05d}.parquet" for i in range(4)),
        "tally.json",
    ]


def test_more_rows_than_a_chunk(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [3 * CHUNK_ROWS + 5])
    score(artifact, tmp_path / "data", tmp_path / "out")
    assert_scores_of(tmp_path / "out", x)


def test_large_file_is_many_parts(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces.cut, "__kwdefaults__", {"rows": 100})
    x = write_parquet_files(tmp_path / "data", [1000], row_group_size=50)
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.parts, tally.rows) == (10, 1000)
    assert_scores_of(tmp_path / "out", x)
    assert scores(tmp_path / "out")["row"].to_pylist() == list(range(1000))


@pytest.mark.parametrize("ending", [".csv", ".arrow"])
def test_other_tables(artifact, tmp_path, ending):
    x = numbers(500)
    if ending == ".csv":
        pacsv.write_csv(as_table(x), tmp_path / "data.csv")
    else:
        with pa.ipc.new_file(tmp_path / "data.arrow", as_table(x).schema) as writer:
            writer.write_table(as_table(x))
    tally = score(artifact, tmp_path / f"data{ending}", tmp_path / "out", threads=3)
    assert (tally.rows, tally.scored) == (500, 500)
    assert_scores_of(tmp_path / "out", x)


def test_sequences(tmp_path):
    columns = tuple(NumericColumn(name=f"f{i}", low=-4, high=4) for i in range(6))
    target = Target(name="y", classes=("low", "middle", "high"))
    contract = Contract(kind="sequence", columns=columns, shape=(3, 2), target=target)
    artifact = write_artifact(tmp_path / "artifact", contract)
    x = write_parquet_files(tmp_path / "data", [40], columns=6)
    assert score(artifact, tmp_path / "data", tmp_path / "out").scored == 40
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(x)[0])


def test_sequences_in_a_list_column(tmp_path):
    many = {"length": 6, "mean": (0.0,) * 6, "std": (1.0,) * 6, "low": -4, "high": 4}
    contract = Contract(
        kind="sequence",
        columns=(ListColumn(name="signal", **many),),
        shape=(3, 2),
        target=Target(name="y", classes=("low", "middle", "high")),
    )
    artifact = write_artifact(tmp_path / "artifact", contract)
    x = numbers(20, columns=6)
    signal = [*x.tolist(), [1.0, 2.0]]
    pq.write_table(pa.table({"signal": signal}), tmp_path / "data.parquet")
    tally = score(artifact, tmp_path / "data.parquet", tmp_path / "out")
    assert (tally.scored, tally.quarantined) == (20, 1)
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(x)[0])
    (bad,) = quarantined(tmp_path / "out")
    assert (bad["row"], bad["reason"]) == (20, "column signal: 2 numbers in the list, not 6")


def test_csv_without_a_header(tmp_path):
    fields = ("y", "f0", "f1", "f2", "f3")
    contract = table_contract().model_copy(update={"fields": fields})
    artifact = write_artifact(tmp_path / "artifact", contract)
    x = numbers(30)
    rows = [["low", *row] for row in x.tolist()]
    (tmp_path / "data.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    assert score(artifact, tmp_path / "data.csv", tmp_path / "out").scored == 30
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(x)[0])


def test_key_of_a_csv_file_keeps_its_type_where_a_later_block_has_bad_values(
    artifact, tmp_path, monkeypatch
):
    monkeypatch.setitem(delimited.read_blocks.__kwdefaults__, "block_bytes", 2000)
    x = numbers(300)
    lines = [",".join(map(str, [i, *row])) for i, row in enumerate(x.tolist())]
    lines[250] = "250,abc,0,0,0"
    lines[20] = "20,,0,0,0"
    (tmp_path / "data.csv").write_text("\n".join(["id,f0,f1,f2,f3", *lines]))
    tally = score(artifact, tmp_path / "data.csv", tmp_path / "out", keys=["f0", "id"])
    assert (tally.scored, tally.quarantined, tally.unread) == (298, 2, 0)
    table = scores(tmp_path / "out")
    assert table["id"].type == pa.string()
    np.testing.assert_allclose(table["f0"], np.delete(x[:, 0], [20, 250]), rtol=1e-6)


def test_regression(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(target=Target(name="price")))
    x = write_parquet_files(tmp_path / "data", [40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    table = scores(tmp_path / "out")
    assert table.column_names == ["source", "row", "prediction"]
    np.testing.assert_allclose(table["prediction"], (x @ weights(4, 1))[:, 0], rtol=1e-4, atol=1e-5)


def test_key_columns_of_choice(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    score(artifact, tmp_path / "data", tmp_path / "none", keys=[])
    score(artifact, tmp_path / "data", tmp_path / "two", keys=["f1", "id"], probability=False)
    assert scores(tmp_path / "none").column_names == ["source", "row", "prediction", "probability"]
    assert scores(tmp_path / "two").column_names == ["f1", "id", "source", "row", "prediction"]


def test_bad_rows_are_quarantined_with_place_reason_and_row(artifact, tmp_path):
    lines = ["id,f0,f1,f2,f3"]
    lines += [f"{i},{i / 100},0.5,0.25,-1" for i in range(100)]
    lines[1 + 7] = "7,abc,0.5,0.25,-1"
    lines[1 + 20] = "20,1,0.5"
    lines[1 + 50] = "50,1,,0.25,-1"
    lines[1 + 99] = "99,1,900,0.25,inf"
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    tally = score(artifact, tmp_path / "data.csv", tmp_path / "out", batch_rows=16)
    assert (tally.rows, tally.scored, tally.quarantined) == (100, 96, 4)
    bad = {row["row"]: row for row in quarantined(tmp_path / "out")}
    assert {row: bad[row]["reason"] for row in sorted(bad)} == {
        7: "column f0: 'abc' is not a number",
        20: "3 fields, where 5 are expected",
        50: "column f1: the value is missing, and the training data had none missing",
        99: "column f1: 900 is out of range (-4 to 4 was seen in training); "
        "column f3: the number is infinite",
    }
    assert json.loads(bad[7]["raw"])["f0"] == "abc"
    assert json.loads(bad[20]["raw"]) == "20,1,0.5"
    assert {row["source"] for row in bad.values()} == {"data.csv"}
    rows = scores(tmp_path / "out")["row"].to_pylist()
    assert sorted([*rows, *bad]) == list(range(100))


@pytest.mark.parametrize("seed", range(5))
def test_injected_badness_adds_up(tmp_path, seed):
    artifact = write_artifact(tmp_path / "artifact", table_contract(nullable=True))
    random = np.random.default_rng(seed)
    injected = {}
    for number in range(3):
        x = numbers(int(random.integers(1, 400)), seed=seed)
        bad = random.random(len(x)) < random.choice([0.0, 0.1, 1.0])
        column = random.integers(1, 4)
        x[bad, column] = random.choice([np.nan, np.inf, -np.inf, 1e9])
        x[random.random(len(x)) < 0.2, 0] = np.nan
        injected[f"data-{number}.parquet"] = (len(x), set(np.flatnonzero(bad)))
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(as_table(x), tmp_path / "data" / f"data-{number}.parquet")
    tally = score(artifact, tmp_path / "data", tmp_path / "out", batch_rows=50)
    assert tally.rows == sum(rows for rows, _ in injected.values())
    assert tally.quarantined == sum(len(bad) for _, bad in injected.values())
    found = {name: set() for name in injected}
    for row in quarantined(tmp_path / "out"):
        found[row["source"]].add(row["row"])
    assert found == {name: bad for name, (_, bad) in injected.items()}


def test_model_that_answers_nan_for_a_row(tmp_path):
    contract = table_contract(target=Target(name="price"))
    columns = tuple(c.model_copy(update={"low": -3e38, "high": 3e38}) for c in contract.columns)
    contract = contract.model_copy(update={"columns": columns})
    artifact = write_artifact(tmp_path / "artifact", contract, seed=3)
    x = numbers(10)
    x[4] = 3e38 * np.sign(weights(4, 1, seed=3)[:, 0])
    pq.write_table(as_table(x), tmp_path / "data.parquet")
    tally = score(artifact, tmp_path / "data.parquet", tmp_path / "out")
    assert (tally.scored, tally.quarantined) == (9, 1)
    (bad,) = quarantined(tmp_path / "out")
    assert (bad["row"], bad["reason"]) == (4, "the model's output is not a finite number")


def test_file_that_cannot_be_read_is_quarantined_as_a_whole(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10, 20, 30, 40])
    files = sorted((tmp_path / "data").iterdir())
    files[1].write_bytes(files[1].read_bytes()[:-30])
    pq.write_table(as_table(numbers(30)).drop_columns(["f2"]), files[2])
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.rows, tally.scored, tally.quarantined, tally.unread) == (80, 50, 30, 2)
    cut_short, without = quarantined(tmp_path / "out")
    assert (cut_short["source"], cut_short["row"], cut_short["rows"]) == (files[1].name, None, 0)
    assert cut_short["reason"].startswith("the file cannot be read")
    assert (without["source"], without["row"], without["rows"]) == (files[2].name, None, 30)
    assert without["reason"].startswith("there is no column 'f2'")


def test_file_whose_data_is_damaged_in_the_middle(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [200, 5000], compression="zstd", row_group_size=1000)
    file = tmp_path / "data" / "data-001.parquet"
    metadata = pq.read_metadata(file)
    column = metadata.row_group(3).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    file.write_bytes(content)
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.rows, tally.scored, tally.quarantined, tally.unread) == (5200, 200, 5000, 1)
    assert sorted(f.name for f in (tmp_path / "out").glob("part-*")) == ["part-00000.parquet"]


def test_images(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    x = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3)).astype("uint8")
    for number, pixels in enumerate(x):
        (tmp_path / "data" / str(number % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / str(number % 3) / f"{number:02d}.png")
    (tmp_path / "data" / "0" / "03.png").write_bytes(b"no image")
    (tmp_path / "data" / "1" / "04.png").write_bytes(b"")
    tally = score(artifact, tmp_path / "data", tmp_path / "out", threads=3, batch_rows=4)
    assert (tally.parts, tally.rows, tally.scored, tally.quarantined) == (1, 30, 28, 2)
    table = scores(tmp_path / "out")
    found = dict(zip(table["source"].to_pylist(), table["prediction"].to_pylist(), strict=True))
    good = [i for i in range(30) if i not in (3, 4)]
    assert found == {
        f"{i % 3}/{i:02d}.png": name for i, name in zip(good, expected(x[good])[0], strict=True)
    }
    reasons = {row["source"]: row["reason"] for row in quarantined(tmp_path / "out")}
    assert reasons["1/04.png"] == "the file is empty."
    assert reasons["0/03.png"].startswith("the image cannot be decoded")
