"""Scores do not depend on where the data lies, nor on how it is packed."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from secateur.data import sources
from secateur.data.contract import BooleanColumn, Contract, NumericColumn, Target
from secateur.errors import ContractError, DataError, OutputError, SecateurError, StoreError
from secateur.scoring import pieces
from secateur.scoring.rehearsal import rehearse
from secateur.scoring.score import score
from unit.scoring.artifacts import (
    CLASSES,
    as_table,
    assert_scores_of,
    expected,
    image_contract,
    numbers,
    quarantined,
    scores,
    table_contract,
    write_artifact,
    write_parquet_files,
)
from unit.scoring.shards import png, write_tar


def test_a_bucket_gives_the_scores_of_a_folder(artifact, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces.cut, "__kwdefaults__", {"rows": 100})
    x = write_parquet_files(tmp_path / "data", [300, 20, 500], row_group_size=50)
    source = bucket.put_folder(tmp_path / "data", "some/data")
    here = score(artifact, tmp_path / "data", tmp_path / "here")
    there = score(artifact, source, tmp_path / "there")
    assert_scores_of(tmp_path / "there", x)
    assert there.parts == here.parts == 9
    assert there.bytes == here.bytes
    for file in (tmp_path / "here").glob("part-*"):
        assert pq.read_table(file).equals(pq.read_table(tmp_path / "there" / file.name))


def test_a_job_on_a_bucket_goes_on_and_knows_when_the_data_changes(artifact, bucket, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 20])
    source = bucket.put_folder(tmp_path / "data", "d")
    assert score(artifact, source, tmp_path / "out").resumed == 0
    assert score(artifact, f"{source}/", tmp_path / "out").resumed == 2
    assert bucket.uri in (tmp_path / "out" / "ledger.jsonl").read_text()
    pq.write_table(as_table(numbers(20, seed=9)), tmp_path / "data" / "data-001.parquet")
    bucket.put_folder(tmp_path / "data", "d")
    with pytest.raises(OutputError, match=r"data-001\.parquet was scored, and has changed"):
        score(artifact, source, tmp_path / "out")


def test_broken_files_of_a_bucket_are_quarantined(artifact, bucket, tmp_path):
    x = write_parquet_files(tmp_path / "data", [30, 20])
    source = bucket.put_folder(tmp_path / "data", "d")
    bucket.put("d/data-002.parquet", (tmp_path / "data/data-001.parquet").read_bytes()[:-40])
    tally = score(artifact, source, tmp_path / "out")
    assert (tally.scored, tally.unread) == (50, 1)
    assert_scores_of(tmp_path / "out", x)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["parquet", "csv", "image", "tar"])
def test_a_store_that_goes_away_stops_the_job_and_loses_nothing(bucket, own_server, tmp_path, kind):
    table = table_contract(keys=("id",))
    contract = table if kind in ("parquet", "csv") else image_contract()
    artifact = write_artifact(tmp_path / "artifact", contract)
    shards(tmp_path / "tar", [3] * 8)
    write_parquet_files(tmp_path / "parquet", [30] * 8)
    (tmp_path / "csv").mkdir()
    for file in sorted((tmp_path / "parquet").iterdir()):
        pacsv.write_csv(pq.read_table(file), tmp_path / "csv" / f"{file.stem}.csv")
    (tmp_path / "image").mkdir()
    for i in range(24):
        (tmp_path / "image" / f"{i:02d}.png").write_bytes(png(i)[0])
    source = bucket.put_folder(tmp_path / kind, "d") + own_server.options
    before = sources.find_parts.__kwdefaults__["images_per_part"]
    sources.find_parts.__kwdefaults__["images_per_part"] = 3
    try:
        with pytest.raises(StoreError) as caught:
            score(
                artifact,
                source,
                tmp_path / "out",
                threads=1,
                progress=lambda rows, done, parts: own_server.stop() if done >= 2 else None,
            )
        assert "endpoint" in caught.value.mend
        own_server.start()
        tally = score(artifact, source, tmp_path / "out")
    finally:
        sources.find_parts.__kwdefaults__["images_per_part"] = before
    assert 2 <= tally.resumed < tally.parts == 8
    assert (tally.quarantined, tally.unread) == (0, 0)
    assert tally.scored == (240 if contract is table else 24)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_csv_of_a_bucket(artifact, bucket, tmp_path, ending):
    x = numbers(50)
    pacsv.write_csv(as_table(x), tmp_path / "a.csv")
    content = (tmp_path / "a.csv").read_bytes()
    content = pa.compress(content, "gzip", asbytes=True) if ending == ".csv.gz" else content
    bucket.put(f"a{ending}", content)
    score(artifact, f"{bucket.uri}/a{ending}", tmp_path / "out")
    assert_scores_of(tmp_path / "out", x)


def test_images_of_a_bucket(bucket, tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    pixels = []
    for i in range(7):
        content, found = png(i)
        pixels.append(found)
        bucket.put(f"d/{i}.png", content)
    bucket.put("d/bad.png", b"no image")
    tally = score(artifact, f"{bucket.uri}/d", tmp_path / "out", batch_rows=3)
    assert (tally.scored, tally.quarantined) == (7, 1)
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(np.stack(pixels))[0])
    assert quarantined(tmp_path / "out")[0]["source"] == "bad.png"


def test_scores_are_not_written_to_a_store(artifact, bucket, tmp_path):
    write_parquet_files(tmp_path / "data", [3])
    with pytest.raises(OutputError, match="not to a store") as caught:
        score(artifact, tmp_path / "data", f"{bucket.uri}/out")
    assert "copy it" in caught.value.mend
    assert bucket.keys() == []
    assert not (tmp_path / "s3:").exists()


def test_file_addresses(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [3])
    score(artifact, f"file://{tmp_path}/data", tmp_path / "out")
    assert_scores_of(tmp_path / "out", x)
    with pytest.raises(OutputError, match="inside the source"):
        score(artifact, f"file://{tmp_path}/data", tmp_path / "data" / "out")
    with pytest.raises(DataError):
        score(artifact, "file://data", tmp_path / "out2")


def shards(folder, sizes):
    folder.mkdir(exist_ok=True)
    pixels, first = [], 0
    for number, size in enumerate(sizes):
        members = []
        for i in range(first, first + size):
            content, found = png(i)
            pixels.append(found)
            members += [(f"{i:06d}.png", content), (f"{i:06d}.cls", b"1")]
        write_tar(folder / f"shard-{number:06d}.tar", members)
        first += size
    return np.stack(pixels)


@pytest.mark.parametrize("batch_rows", [None, 2])
def test_shards_of_images(tmp_path, batch_rows):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    x = shards(tmp_path / "data", [5, 1, 7])
    tally = score(artifact, tmp_path / "data", tmp_path / "out", batch_rows=batch_rows)
    assert (tally.parts, tally.rows, tally.scored) == (3, 13, 13)
    table = scores(tmp_path / "out")
    assert table.column_names == ["key", "source", "row", "prediction", "probability"]
    assert table["prediction"].to_pylist() == list(expected(x)[0])
    assert table["key"].to_pylist() == [f"{i:06d}" for i in range(13)]
    assert table["row"].to_pylist() == [*range(5), 0, *range(7)]
    assert table["source"].to_pylist()[5] == "shard-000001.tar"
    assert {p.name for p in tmp_path.iterdir()} == {"artifact", "data", "out"}


def test_bad_samples_and_a_shard_that_breaks_off(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    shards(tmp_path / "data", [4, 6])
    whole = (tmp_path / "data/shard-000001.tar").read_bytes()
    (tmp_path / "data/shard-000001.tar").write_bytes(whole[: len(whole) // 3])
    write_tar(
        tmp_path / "data/shard-000002.tar",
        [("a.png", png(1)[0]), ("b.png", b"no image"), ("c.txt", b"text"), ("d.png", png(2)[0])],
    )
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.rows, tally.scored, tally.quarantined, tally.unread) == (8, 6, 2, 1)
    bad = quarantined(tmp_path / "out")
    assert [(b["source"], b["row"], b["raw"]) for b in bad] == [
        ("shard-000001.tar", None, None),
        ("shard-000002.tar", 1, '{"key": "b"}'),
        ("shard-000002.tar", 2, '{"key": "c"}'),
    ]
    assert "samples before that can be read" in bad[0]["reason"]
    assert bad[2]["reason"] == "there is no image of this key."


def test_shards_of_a_bucket(bucket, tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    x = shards(tmp_path / "data", [5, 2])
    source = bucket.put_folder(tmp_path / "data", "d")
    assert score(artifact, f"{source}/shard-*.tar", tmp_path / "out").scored == 7
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(x)[0])


def test_columns_in_the_names_of_folders(tmp_path):
    columns = tuple(NumericColumn(name=n, low=-4, high=2030) for n in ("f0", "f1", "year", "f2"))
    contract = table_contract(keys=("id", "month")).model_copy(update={"columns": columns})
    artifact = write_artifact(tmp_path / "artifact", contract)
    x = numbers(12)
    x[:, 2] = [2023] * 5 + [2024] * 7
    table = as_table(x).drop_columns(["f2", "f3"]).append_column("f2", pa.array(x[:, 3]))
    for year, month, first, stop in ((2023, "12", 0, 5), (2024, "01", 5, 9), (2024, "02", 9, 12)):
        folder = tmp_path / "data" / f"year={year}" / f"month={month}"
        folder.mkdir(parents=True)
        pq.write_table(table.slice(first, stop - first), folder / "part.parquet")
    assert score(artifact, tmp_path / "data", tmp_path / "out").scored == 12
    found = scores(tmp_path / "out")
    assert found["prediction"].to_pylist() == list(expected(x)[0])
    assert found["id"].to_pylist() == list(range(12))
    assert found["month"].to_pylist() == [12] * 5 + [1] * 4 + [2] * 3
    assert found["source"].to_pylist()[0] == "year=2023/month=12/part.parquet"


@pytest.mark.parametrize("threads", [1, 3])
def test_all_columns_of_the_data_are_written(artifact, tmp_path, threads):
    x = numbers(50)
    data = as_table(x).append_column("note", pa.array([f"n{i}" for i in range(50)]))
    data = data.append_column("tags", pa.array([[i, i + 1] for i in range(50)]))
    data = data.set_column(1, "f0", pa.array([None, *x[1:, 0].tolist()], pa.float32()))
    pq.write_table(data, tmp_path / "a.parquet")
    score(
        artifact,
        tmp_path / "a.parquet",
        tmp_path / "out",
        columns="all",
        threads=threads,
        batch_rows=7,
    )
    found = scores(tmp_path / "out")
    assert found.column_names == [*data.column_names, "source", "row", "prediction", "probability"]
    assert found.select(data.column_names).to_pydict() == data.slice(1).to_pydict()
    assert found["prediction"].to_pylist() == list(expected(x[1:])[0])
    assert [bad["row"] for bad in quarantined(tmp_path / "out")] == [0]


def test_all_columns_of_csv_are_written_in_one_type(artifact, tmp_path):
    x = numbers(3)
    header = "note,id,f0,f1,f2,f3\n"
    rows = [f"{note},{i},{','.join(map(str, x[i]))}\n" for i, note in enumerate(("7", "b", "007"))]
    (tmp_path / "a.csv").write_text(header + "".join(rows))
    score(artifact, tmp_path / "a.csv", tmp_path / "out", columns="all", batch_rows=1)
    found = scores(tmp_path / "out")
    assert found["note"].to_pylist() == ["7", "b", "007"]
    assert found["f0"].type == pa.float64()


def test_columns_that_scores_would_hide_are_refused(artifact, tmp_path):
    data = as_table(numbers(3)).append_column("prediction", pa.array([1, 2, 3]))
    pq.write_table(data, tmp_path / "a.parquet")
    with pytest.raises(ContractError, match="'prediction' has the name of a column of the scores"):
        score(artifact, tmp_path / "a.parquet", tmp_path / "out", columns="all")
    write_parquet_files(tmp_path / "data", [5])
    shutil.copy(tmp_path / "a.parquet", tmp_path / "data" / "z.parquet")
    tally = score(artifact, tmp_path / "data", tmp_path / "out2", columns="all")
    assert (tally.scored, tally.quarantined, tally.unread) == (5, 3, 1)


def test_another_choice_of_columns_is_another_job(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [5])
    score(artifact, tmp_path / "data", tmp_path / "out")
    with pytest.raises(OutputError, match='its columns is "keys", and now it is "all"'):
        score(artifact, tmp_path / "data", tmp_path / "out", columns="all")


@pytest.mark.parametrize("compression", ["snappy", "zstd", "lz4", "gzip", "none"])
def test_compression(artifact, tmp_path, compression):
    x = write_parquet_files(tmp_path / "data", [5])
    score(artifact, tmp_path / "data", tmp_path / "out", compression=compression)
    column = pq.read_metadata(tmp_path / "out" / "part-00000.parquet").row_group(0).column(0)
    assert column.compression == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())
    assert_scores_of(tmp_path / "out", x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": "some"}, "`columns` is 'some'"),
        ({"compression": "brotli"}, "there is no compression 'brotli'"),
    ],
)
def test_options_that_mean_nothing(artifact, tmp_path, options, message):
    with pytest.raises(SecateurError, match=message):
        score(artifact, tmp_path, tmp_path / "out", **options)


def test_images_have_no_columns_to_append(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    with pytest.raises(DataError, match="nor others"):
        score(artifact, tmp_path, tmp_path / "out", columns="all")


def test_text_that_is_carried_over_stays_as_it_is_written(artifact, tmp_path):
    rows = [f"{key},0,0,0,0" for key in ("NA", "None", "nan", "k")]
    (tmp_path / "data.csv").write_text("\n".join(["id,f0,f1,f2,f3", *rows]))
    score(artifact, tmp_path / "data.csv", tmp_path / "out", keys="id")
    assert scores(tmp_path / "out")["id"].to_pylist() == ["NA", "None", "nan", "k"]


def test_truths_that_are_carried_over_are_alike_in_all_blocks(tmp_path):
    contract = Contract(
        kind="table", columns=(BooleanColumn(name="b"),), target=Target(name="y", classes=CLASSES)
    )
    artifact = write_artifact(tmp_path / "artifact", contract)
    text = "b\n" + "1\n" * 5 + "maybe\n" + "true\n" * 5
    (tmp_path / "data.csv").write_text(text)
    tally = score(artifact, tmp_path / "data.csv", tmp_path / "out", columns="all", batch_rows=3)
    assert (tally.scored, tally.quarantined) == (10, 1)
    assert scores(tmp_path / "out")["b"].to_pylist() == [True] * 10


def test_a_column_that_parquet_cannot_hold_is_named(artifact, tmp_path):
    table = as_table(numbers(3)).append_column("odd", pa.array([{}] * 3, pa.struct([])))
    with pa.ipc.new_file(str(tmp_path / "data.arrow"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(OutputError, match="'odd' is of the type struct<>"):
        score(artifact, tmp_path / "data.arrow", tmp_path / "out", keys=["odd"])


def test_files_that_are_no_data_are_told_of(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.jfif", "c.tif", "d.tif", "e"):
        Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name, format="PNG")
    tally = score(artifact, tmp_path / "photos", tmp_path / "out")
    assert (tally.rows, tally.passed_over) == (2, {".tif": 2, "e": 1})
    assert rehearse(artifact, tmp_path / "photos", tmp_path / "o").passed_over == tally.passed_over
