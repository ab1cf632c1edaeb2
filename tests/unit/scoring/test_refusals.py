"""A job that is wrong ends before anything is written, with one clear error."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.data.contract import Contract, Target
from secateur.errors import (
    ArtifactError,
    ContractError,
    DataError,
    OutputError,
    SecateurError,
)
from secateur.scoring.score import score
from unit.scoring.artifacts import (
    image_contract,
    table_contract,
    write_artifact,
    write_parquet_files,
)


def test_job_that_is_wrong_leaves_no_output(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    bare, loop = tmp_path / "bare", tmp_path / "loop"
    bare.mkdir()
    loop.symlink_to(loop)
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
        ({"source": tmp_path / ("x" * 300)}, DataError, "File name too long"),
        ({"source": loop}, DataError, "no such file or folder"),
        ({"out": tmp_path / ("x" * 300)}, OutputError, "File name too long"),
        ({"out": loop}, OutputError, "cannot be written"),
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


def test_a_store_as_the_output_is_shown_without_its_password(artifact, tmp_path):
    with pytest.raises(OutputError, match="not to a store") as caught:
        score(artifact, tmp_path, "s3://me:se/cret@bucket/x?region=eu")
    assert caught.value.where == "s3://bucket/x"


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


def test_source_without_a_header_and_with_other_fields(tmp_path):
    fields = ("y", "f0", "f1", "f2", "f3")
    contract = table_contract().model_copy(update={"fields": fields})
    artifact = write_artifact(tmp_path / "artifact", contract)
    (tmp_path / "data.csv").write_text("1,2\n3,4\n")
    with pytest.raises(ContractError, match="the first row has 2 fields, where 5 are expected"):
        score(artifact, tmp_path / "data.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


def test_scores_that_a_glob_would_find_as_data(artifact, tmp_path):
    data = tmp_path / "data"
    write_parquet_files(data / "jan", [10])
    with pytest.raises(OutputError, match="inside the source"):
        score(artifact, f"{data}/*/*.parquet", data / "out")
    assert not (data / "out").exists()
    assert score(artifact, f"{data}/jan/*.parquet", data / "out").scored == 10


def test_a_name_that_is_no_text(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    odd = os.fsencode(tmp_path / "data") + b"/caf\xe9.parquet"
    try:
        os.rename(tmp_path / "data" / "data-000.parquet", odd)
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    with pytest.raises(DataError, match="not UTF-8 text") as caught:
        score(artifact, tmp_path / "data", tmp_path / "out")
    assert caught.value.where == "caf\\udce9.parquet"
