"""Stores and databases as a user meets them: whole processes, an S3 server, kills."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from unit.scoring.artifacts import (
    as_table,
    assert_scores_of,
    numbers,
    scores,
    table_contract,
    write_artifact,
    write_parquet_files,
)

SCORE = """
import json, sys, time
from secateur.scoring.score import score
artifact, source, out, pause = sys.argv[1:]
tally = score(artifact, source, out, threads=2, progress=lambda *_: time.sleep(float(pause)))
print(json.dumps(tally.model_dump()))
"""


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "artifact", table_contract(keys=("id",)))


def secateur(*words):
    command = [sys.executable, "-c", "from secateur.cli import main; main()", "score", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_a_bucket_with_all_columns_compressed(artifact, bucket, tmp_path):
    x = write_parquet_files(tmp_path / "data", [30, 20])
    source = bucket.put_folder(tmp_path / "data", "year=2024")
    out = tmp_path / "out"
    done = secateur(artifact.path, source, out, "--append", "--compression", "zstd", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["scored"] == 50
    assert_scores_of(out, x)
    carried = ["id", "f0", "f1", "f2", "f3", "year"]
    assert scores(out).column_names == [*carried, "source", "row", "prediction", "probability"]
    assert pq.read_metadata(out / "part-00000.parquet").row_group(0).column(0).compression == "ZSTD"


def test_killed_while_it_reads_a_bucket(artifact, bucket, tmp_path):
    x = write_parquet_files(tmp_path / "data", [100] * 20)
    source = bucket.put_folder(tmp_path / "data", "data")
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCORE, str(artifact.path), source, str(out)]
    process = subprocess.Popen([*command, "0.05"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    ledger = out / "ledger.jsonl"
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = subprocess.run([*command, "0"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    tally = json.loads(done.stdout)
    assert 4 <= tally["resumed"] < 20
    assert (tally["parts"], tally["scored"]) == (20, 2000)
    assert_scores_of(out, x)


def test_one_clear_error_and_no_traceback(artifact, bucket, tmp_path):
    for source, out, message in (
        ("s3://there-is-no-such-bucket-3/x", "out", "Check the name of the bucket"),
        (f"{bucket.uri}/nothing", "out", "no such file"),
        (str(tmp_path), f"{bucket.uri}/out", "not to a store"),
    ):
        done = secateur(artifact.path, source, tmp_path / out if "://" not in out else out)
        assert done.returncode == 2
        assert message in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_query(artifact, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="the extra `databases` is not installed")
    pytest.importorskip("adbc_driver_manager", reason="the extra `databases` is not installed")
    x = numbers(40)
    with duckdb.connect(str(tmp_path / "a.db")) as connection:
        connection.register("given", as_table(x))
        connection.execute("CREATE TABLE rows AS SELECT * FROM given ORDER BY f0")
    words = (artifact.path, f"duckdb:///{tmp_path}/a.db", tmp_path / "out", "--query")
    refused = secateur(*words, "SELECT * FROM rows")
    assert (refused.returncode, "--order-by" in refused.stderr) == (2, True)
    done = secateur(*words, "SELECT * FROM rows", "--order-by", "id")
    assert (done.returncode, done.stderr) == (0, "")
    assert_scores_of(tmp_path / "out", x)
