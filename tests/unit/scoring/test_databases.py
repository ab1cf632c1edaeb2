"""Rows of a database are scored each once, in ranges that a job can go on from."""

import os
import shutil
import subprocess
import traceback
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from secateur.data import databases
from secateur.data.databases import Query, columns_of, resolved
from secateur.data.read import read
from secateur.data.sources import find_parts, names_of, stream
from secateur.errors import ContractError, DataError, OutputError, SecateurError, StoreError
from secateur.scoring.check import check_data
from secateur.scoring.score import score
from unit.scoring.artifacts import (
    as_table,
    assert_scores_of,
    expected,
    numbers,
    quarantined,
    scores,
)

duckdb = pytest.importorskip("duckdb", reason="the extra `databases` is not installed")
pytest.importorskip("adbc_driver_manager", reason="the extra `databases` is not installed")
ROWS = 250


def query(path, sql="SELECT * FROM rows", order_by="id"):
    return Query(f"duckdb:///{path}", sql, order_by)


def run(path, *statements):
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def x():
    return numbers(ROWS)


@pytest.fixture
def database(tmp_path, x, monkeypatch):
    """Write rows in no order, whose ranges have 100 rows."""
    monkeypatch.setattr(databases.cut, "__kwdefaults__", {"rows": 100})
    table = as_table(x).take(pa.array(np.random.default_rng(1).permutation(ROWS)))
    with duckdb.connect(str(tmp_path / "a.db")) as connection:
        connection.register("given", table)
        connection.execute("CREATE TABLE rows AS SELECT *, 'n' || id AS note FROM given")
    return tmp_path / "a.db"


def test_every_row_is_scored_in_order(artifact, database, tmp_path, x):
    tally = score(artifact, query(database), tmp_path / "out")
    assert (tally.parts, tally.scored) == (3, ROWS)
    assert_scores_of(tmp_path / "out", x)
    assert scores(tmp_path / "out")["source"].unique().to_pylist() == [
        "rows-00000",
        "rows-00001",
        "rows-00002",
    ]
    assert score(artifact, query(database), tmp_path / "out").resumed == 3


def test_only_the_columns_that_are_needed_are_asked_for(database):
    part = find_parts(query(database))[0]
    assert names_of(part) == ["id", "f0", "f1", "f2", "f3", "note"]
    (block,) = stream(part, ["note"])
    assert block.table.column_names == ["note"]
    assert block.table["note"].to_pylist() == [f"n{i}" for i in range(100)]
    with pytest.raises(ContractError, match="f9"):
        list(stream(part, ["f9"]))


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("SELECT *, 'it''s ' || lpad(id::VARCHAR, 4, '0') AS k FROM rows", "k"),
        ("SELECT *, DATE '2020-01-01' + id::INTEGER AS k FROM rows;", "k"),
        ('SELECT *, id * -1.5 AS "a ""k""" FROM rows -- a comment', 'a "k"'),
        ("SELECT *, md5(id::VARCHAR)::UUID AS k FROM rows", "k"),
    ],
)
def test_keys_of_any_type(artifact, database, tmp_path, x, sql, key):
    score(artifact, query(database, sql, key), tmp_path / "out")
    found = scores(tmp_path / "out").sort_by("id")
    assert found["id"].to_pylist() == list(range(ROWS))
    assert found["prediction"].to_pylist() == list(expected(x)[0])


def test_rows_that_change_between_two_runs(artifact, database, tmp_path):
    score(artifact, query(database), tmp_path / "out")
    run(database, "DELETE FROM rows WHERE id = 7")
    with pytest.raises(OutputError, match=r"rows-0000\d was scored, and has changed"):
        score(artifact, query(database), tmp_path / "out")
    with pytest.raises(OutputError, match="has changed"):
        score(artifact, query(database, "SELECT * FROM rows WHERE id < 240"), tmp_path / "out")


def test_rows_that_change_while_a_job_runs_are_quarantined(artifact, database, tmp_path):
    part = find_parts(query(database))[1]
    run(database, "DELETE FROM rows WHERE id = 150")
    with pytest.raises(DataError, match="here were 100, now 99"):
        list(stream(part))


def test_rows_that_break_the_contract_are_quarantined(artifact, database, tmp_path):
    run(database, "UPDATE rows SET f1 = NULL WHERE id = 120")
    tally = score(artifact, query(database), tmp_path / "out", columns="all")
    assert (tally.scored, tally.quarantined) == (ROWS - 1, 1)
    assert [(b["source"], b["row"]) for b in quarantined(tmp_path / "out")] == [("rows-00001", 20)]
    assert scores(tmp_path / "out")["note"][0].as_py() == "n0"


def test_training_reads_a_query(database):
    dataset = read(
        query(database, "SELECT f0, f1, id, f0 > 0 AS y FROM rows"), target="y", ignore=["id"]
    )
    assert dataset.rows == ROWS
    assert dataset.contract.reads == ("f0", "f1")


@pytest.mark.parametrize(
    ("sql", "key", "message"),
    [
        ("SELECT * FROM rows WHERE id < 0", "id", "the query gives no row"),
        ("SELECT nothing FROM rows", "id", "cannot be read: .*nothing"),
        ("SELECT * FROM rows", "ids", "'ids'"),
        ("SELECT * FROM rows UNION ALL FROM rows", "id", "0 are missing and 250 repeat others"),
        ("SELECT nullif(id, 3) AS id FROM rows", "id", "1 are missing and 0 repeat others"),
        ("DELETE FROM rows", "id", "cannot be read"),
    ],
)
def test_queries_that_cannot_be_right(database, sql, key, message):
    with pytest.raises(SecateurError, match=message):
        find_parts(query(database, sql, key))
    with duckdb.connect(str(database)) as connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (ROWS,)


def test_databases_that_are_not_there(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        find_parts(query(tmp_path / "none.db"))
    with pytest.raises(DataError, match="'mysql' cannot be read"):
        find_parts(Query("mysql://host/x", "SELECT 1", "a"))
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(StoreError, match="the database cannot be read"):
        find_parts(query(tmp_path / "text.db"))


def test_a_password_is_never_shown():
    pytest.importorskip("adbc_driver_postgresql", reason="the extra `databases` is not installed")
    hidden = Query("postgresql://me:secret@127.0.0.1:9/x?connect_timeout=2", "SELECT 1 AS a", "a")
    assert str(hidden) == "postgresql://127.0.0.1:9/x"
    with pytest.raises(SecateurError) as caught:
        find_parts(hidden)
    assert "secret" not in str(caught.value)
    assert "Connection refused" in caught.value.what


@pytest.mark.parametrize(
    "secret", ["se%cret", "p[secret", "p/secret", "p#secret", "p?secret", "p@secret"]
)
@pytest.mark.parametrize("form", ["me:{}@127.0.0.1:9/x", "127.0.0.1:9/x?user=me&secret={}"])
def test_a_password_of_any_signs_is_never_shown(secret, form):
    pytest.importorskip("adbc_driver_postgresql", reason="the extra `databases` is not installed")
    hidden = Query(f"postgresql://{form.format(secret)}", "SELECT 1 AS a", "a")
    with pytest.raises(SecateurError) as caught:
        find_parts(hidden)
    told = "".join(traceback.format_exception(caught.value)) + f"{hidden} {hidden!r}"
    assert "cret" not in told


def _binaries():
    found = shutil.which("pg_ctl")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in places if (place / "initdb").exists()), None)


@pytest.fixture
def postgres(tmp_path_factory):
    """Start a server of its own, as another user where this one may not."""
    pytest.importorskip("adbc_driver_postgresql", reason="the extra `databases` is not installed")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed")
    folder = Path("/tmp") / f"pg-{os.getpid()}"
    folder.mkdir()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        shutil.chown(folder, "nobody")
    user = {"user": "nobody"} if root else {}

    def command(*words):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

    control = [str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-w"]
    try:
        command(str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "test", "-A", "trust")
        options = f"-k {folder} -c listen_addresses=''"
        command(*control, "-o", options, "-l", str(folder / "log"), "start")
        yield f"postgresql:///postgres?host={folder}&user=test"
        command(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_postgresql(artifact, postgres, tmp_path, x, monkeypatch):
    import adbc_driver_postgresql.dbapi

    monkeypatch.setattr(databases.cut, "__kwdefaults__", {"rows": 100})
    with adbc_driver_postgresql.dbapi.connect(postgres) as connection:
        with connection.cursor() as cursor:
            cursor.adbc_ingest("given", as_table(x), mode="create")
            cursor.execute(
                "CREATE TABLE rows AS SELECT id, f0::numeric AS f0, f1, f2, f3, "
                "gen_random_uuid() AS u FROM given ORDER BY random()"
            )
        connection.commit()
    source = Query(postgres, "SELECT * FROM rows", "id")
    assert score(artifact, source, tmp_path / "out", columns="all").parts == 3
    assert_scores_of(tmp_path / "out", x)
    found = scores(tmp_path / "out")
    assert found.schema.field("f0").type == pa.float64()
    assert found.schema.field("u").type == pa.string()
    assert "user=test" not in (tmp_path / "out" / "ledger.jsonl").read_text()
    by_uuid = Query(postgres, "SELECT * FROM rows", "u")
    score(artifact, by_uuid, tmp_path / "other")
    assert sorted(scores(tmp_path / "other")["id"].to_pylist()) == list(range(ROWS))
    with pytest.raises(StoreError, match="does not exist"):
        find_parts(Query(postgres, "SELECT * FROM nothing", "id"))


def test_a_database_that_goes_away_stops_the_job(database, artifact, tmp_path):
    (part, *_) = find_parts(query(database))
    database.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match="no such file"):
        list(stream(part))


def test_a_query_for_other_processes_names_its_file_from_the_root(database, monkeypatch):
    monkeypatch.chdir(database.parent)
    found = resolved(Query(f"duckdb:///{database.name}", "SELECT 1 AS id", "id"))
    monkeypatch.chdir("/")
    assert columns_of(found) == ["id"]


def test_rows_of_a_query_are_held_against_a_contract(database, artifact):
    found = check_data(query(database), artifact.contract)
    assert (found.rows, found.unusable) == (ROWS, None)
