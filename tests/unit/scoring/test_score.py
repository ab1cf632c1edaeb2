"""Rows in are rows scored and rows quarantined, whatever the source holds."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from secateur.data.contract import Contract, NumericColumn, Target
from secateur.errors import (
    ArtifactError,
    ContractError,
    DataError,
    OutputError,
    SecateurError,
    TooManyBadRowsError,
)
from secateur.scoring import pieces
from secateur.scoring.score import score
from secateur.scoring.scorer import CHUNK_ROWS
from unit.scoring.artifacts import (
    as_table,
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


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "artifact", table_contract(keys=("id",)))


def check(table, x):
    """Check that a table holds the scores of all rows of `x`, in order, by id."""
    classes, probabilities = expected(x)
    np.testing.assert_array_equal(table["id"].cast(pa.int64()).to_numpy(), np.arange(len(x)))
    np.testing.assert_array_equal(table["prediction"].to_pylist(), classes)
    np.testing.assert_allclose(table["probability"].to_numpy(), probabilities, rtol=1e-5)


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
    check(table, x)
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
    check(scores(tmp_path / "out"), x)


def test_large_file_is_many_parts(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces.cut, "__kwdefaults__", {"rows": 100})
    x = write_parquet_files(tmp_path / "data", [1000], row_group_size=50)
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.parts, tally.rows) == (10, 1000)
    check(scores(tmp_path / "out"), x)
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
    check(scores(tmp_path / "out"), x)


def test_sequences(tmp_path):
    columns = tuple(NumericColumn(name=f"f{i}", low=-4, high=4) for i in range(6))
    target = Target(name="y", classes=("low", "middle", "high"))
    contract = Contract(kind="sequence", columns=columns, shape=(3, 2), target=target)
    artifact = write_artifact(tmp_path / "artifact", contract)
    x = write_parquet_files(tmp_path / "data", [40], columns=6)
    assert score(artifact, tmp_path / "data", tmp_path / "out").scored == 40
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(x)[0])


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


def test_second_run_does_nothing_again(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    first = score(artifact, tmp_path / "data", tmp_path / "out")
    times = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("part-*")}
    second = score(artifact, tmp_path / "data", tmp_path / "out")
    assert {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("part-*")} == times
    assert (second.resumed, second.rows, second.scored) == (2, first.rows, first.scored)
    assert second.rows_per_second == 0


def test_part_that_is_lost_is_done_again(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [30, 40, 50])
    score(artifact, tmp_path / "data", tmp_path / "out")
    (tmp_path / "out" / "part-00001.parquet").unlink()
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.resumed, tally.parts, tally.rows) == (2, 3, 120)
    check(scores(tmp_path / "out"), x)


def test_file_that_is_added_is_scored(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    pq.write_table(as_table(numbers(5)), tmp_path / "data" / "before.parquet")
    pq.write_table(as_table(numbers(6)), tmp_path / "data" / "a-first.parquet")
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.parts, tally.resumed, tally.rows) == (4, 2, 81)
    assert scores(tmp_path / "out").num_rows == 81


def test_file_that_changed_or_is_gone(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    pq.write_table(as_table(numbers(31)), tmp_path / "data" / "data-000.parquet")
    with pytest.raises(
        OutputError, match=r"data-000\.parquet was scored, and has changed"
    ) as caught:
        score(artifact, tmp_path / "data", tmp_path / "out")
    assert caught.value.where == str(tmp_path / "out")
    (tmp_path / "data" / "data-000.parquet").unlink()
    with pytest.raises(OutputError, match=r"data-000\.parquet was scored"):
        score(artifact, tmp_path / "data", tmp_path / "out")


def test_other_model_is_refused(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30])
    score(artifact, tmp_path / "data", tmp_path / "out")
    other = write_artifact(tmp_path / "other", artifact.contract, seed=1)
    with pytest.raises(OutputError, match="another job: its model is"):
        score(other, tmp_path / "data", tmp_path / "out")


def test_too_many_bad_rows_can_go_on(artifact, tmp_path):
    x = numbers(100)
    x[:11, 0] = np.nan
    (tmp_path / "data").mkdir()
    pq.write_table(as_table(x), tmp_path / "data" / "a.parquet")
    with pytest.raises(
        TooManyBadRowsError, match=r"11 of 100 rows are bad; at most 10\.00%"
    ) as bad:
        score(artifact, tmp_path / "data", tmp_path / "out", max_bad=0.1)
    assert bad.value.where == str(tmp_path / "out" / "quarantine")
    assert bad.value.exit_code == 3
    assert not (tmp_path / "out" / "tally.json").exists()
    tally = score(artifact, tmp_path / "data", tmp_path / "out", max_bad=0.11)
    assert (tally.resumed, tally.quarantined) == (1, 11)


def test_files_that_nobody_could_count_are_too_many(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10, 10])
    (tmp_path / "data" / "data-001.parquet").write_bytes(b"no parquet")
    with pytest.raises(TooManyBadRowsError, match="1 of 2 parts could not be read"):
        score(artifact, tmp_path / "data", tmp_path / "out", max_bad=0.4)


def test_progress(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [300, 400, 500])
    heard = []
    score(artifact, tmp_path / "data", tmp_path / "out", progress=lambda *now: heard.append(now))
    assert heard[0] == (0, 0, 3)
    assert heard[-1] == (1200, 3, 3)
    assert heard == sorted(heard)


def test_progress_that_fails_ends_the_job_and_loses_nothing(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [50] * 20)

    def interrupt(rows, parts, total):
        if parts >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(artifact, tmp_path / "data", tmp_path / "out", threads=1, progress=interrupt)
    assert not list((tmp_path / "out").glob("*.partial"))
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert tally.resumed >= 3
    check(scores(tmp_path / "out"), x)


def test_disk_that_fills_up(artifact, tmp_path, monkeypatch):
    x = write_parquet_files(tmp_path / "data", [50] * 6)
    real, calls = pq.ParquetWriter.write_table, []

    def full(self, *arguments, **options):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OutputError, match="No space left on device"):
        score(artifact, tmp_path / "data", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.partial"))
    monkeypatch.undo()
    score(artifact, tmp_path / "data", tmp_path / "out")
    check(scores(tmp_path / "out"), x)


def test_job_that_is_wrong_leaves_no_output(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    bare = tmp_path / "bare"
    bare.mkdir()
    cases = [
        ({"source": tmp_path / "absent"}, DataError, "no such file or folder"),
        ({"source": bare}, DataError, "the folder is empty"),
        ({"artifact": tmp_path / "data"}, ArtifactError, "holds no manifest"),
        ({"keys": ["idd"]}, ContractError, "no column 'idd'; did you mean 'id'"),
        ({"keys": ["row"]}, ContractError, "'row' has the name of a column of the scores"),
        ({"threads": 0}, SecateurError, "`threads` is 0"),
        ({"batch_rows": 0}, SecateurError, "`batch_rows` is 0"),
        ({"max_bad": 2}, SecateurError, "`max_bad` is 2"),
        ({"engine": "cluster"}, SecateurError, "no engine 'cluster'"),
        ({"out": tmp_path / "data"}, OutputError, "inside the source"),
        ({"out": tmp_path / "data" / "deep"}, OutputError, "inside the source"),
    ]
    for changes, kind, message in cases:
        values = {"artifact": artifact, "source": tmp_path / "data", "out": tmp_path / "out"}
        values |= changes
        with pytest.raises(kind, match=message):
            score(values.pop("artifact"), values.pop("source"), values.pop("out"), **values)
        assert not (tmp_path / "out").exists()
        assert os.listdir(tmp_path / "data") == ["data-000.parquet"]


def test_source_of_which_nothing_can_be_read(artifact, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / "data" / name).write_bytes(b"no parquet")
    with pytest.raises(DataError, match="the file cannot be read") as caught:
        score(artifact, tmp_path / "data", tmp_path / "out")
    assert caught.value.where == str(tmp_path / "data" / "a.parquet")
    assert not (tmp_path / "out").exists()


def test_source_without_the_columns(artifact, tmp_path):
    pq.write_table(pa.table({"id": [1], "f00": [1.0]}), tmp_path / "a.parquet")
    with pytest.raises(ContractError, match="no column 'f0'; did you mean 'f00'"):
        score(artifact, tmp_path / "a.parquet", tmp_path / "out")


def test_artifact_that_cannot_score(tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    contract = Contract(kind="array", shape=(4,), target=Target(name="y", classes=("a", "b")))
    artifact = write_artifact(tmp_path / "arrays", contract)
    with pytest.raises(ArtifactError, match="trained on arrays"):
        score(artifact, tmp_path / "data", tmp_path / "out")


def test_keys_of_images(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    with pytest.raises(ContractError, match="images have no key columns"):
        score(artifact, tmp_path, tmp_path / "out", keys=["id"])
