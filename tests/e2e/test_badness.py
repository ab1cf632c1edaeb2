"""One per cent of every kind of badness: each bad row is found, each good one is scored.

`CELLS`, `LINES` and `bad_files` here, and `PHOTOS` in `test_bad_photos.py`, list what can be wrong.
"""

import datetime
import gzip
import io
import os
import struct

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from e2e.badness import arrow, csv_of, flipped, parquet, picture, spread_out
from secateur.cli.app import app
from secateur.data.contract import (
    BooleanColumn,
    Contract,
    DatetimeColumn,
    ListColumn,
    NumericColumn,
    Target,
)
from secateur.errors import DataError
from secateur.scoring.check import check_data
from secateur.scoring.score import score
from unit.scoring.artifacts import CLASSES, quarantined, scores, write_artifact

ROWS = 3000
TARGET = Target(name="y", classes=CLASSES)
CONTRACT = Contract(
    kind="table",
    columns=(
        *(NumericColumn(name=f"f{i}", low=-4, high=4) for i in range(4)),
        NumericColumn(name="gap", low=-4, high=4, nullable=True),
        BooleanColumn(name="truth"),
        DatetimeColumn(name="day", low="2020-01-01", high="2025-01-01"),
    ),
    target=TARGET,
    keys=("id",),
)

# Kinds of bad cells that CSV and Parquet share: (column, cell, what the reason says).
CELLS = {
    "text for a number": ("f0", "abc", "'abc' is not a number"),
    "nothing": ("f1", "", "the value is missing"),
    "not a number": ("f1", "NaN", "the value is missing"),
    "infinite": ("f2", "inf", "the number is infinite"),
    "minus infinite": ("f2", "-Infinity", "the number is infinite"),
    "out of range": ("f3", "1e9", "out of range"),
    "beyond float32": ("f3", "1e300", "out of range"),
    "a comma for a point": ("f0", '"1,5"', "'1,5' is not a number"),
    "a huge text": ("f0", "9x" * 50_000, "is not a number"),
    "a zero byte": ("f1", "1\0", "is not a number"),
    "a foreign truth": ("truth", "maybe", "'maybe' is not true or false"),
    "no date": ("day", "31.12.2024", "is not an ISO date"),
    "an impossible date": ("day", "2023-02-30", "is not an ISO date"),
    "a date long ago": ("day", "1066-10-14", "out of range"),
}
# Kinds of bad lines of CSV: a function from the good line, and what the reason says.
LINES = {
    "too few fields": (lambda line: line.rsplit(b",", 2)[0], "6 fields, where 8 are expected"),
    "too many fields": (lambda line: line + b",1,2", "10 fields, where 8 are expected"),
    "a quote that is not closed": (
        lambda line: line.replace(b",", b',"', 1),
        "a quote is not closed",
    ),
    "too many fields, not UTF-8": (lambda line: line + b",\xff", "9 fields, where 8 are expected"),
}


def good_rows(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    numbers = {f"f{i}": random.uniform(-3, 3, rows).round(4) for i in range(4)}
    gap = np.where(random.random(rows) < 0.1, np.nan, random.uniform(-3, 3, rows).round(4))
    days = [datetime.datetime(2021, 1, 1) + datetime.timedelta(hours=int(h)) for h in range(rows)]
    return pa.table(
        {
            "id": [f"row {i}" for i in range(rows)],
            **numbers,
            "gap": pa.array(gap, from_pandas=True),
            "truth": random.random(rows) < 0.5,
            "day": days,
        }
    )


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("badness") / "artifact", CONTRACT)


@pytest.fixture(scope="module")
def clean(artifact, tmp_path_factory):
    """Score rows without any badness: what good rows must come to."""
    home = tmp_path_factory.mktemp("clean")
    pq.write_table(good_rows(), home / "rows.parquet")
    score(artifact, home / "rows.parquet", home / "out")
    table = scores(home / "out")
    return dict(zip(table["id"].to_pylist(), table["probability"].to_pylist(), strict=True))


def assert_adds_up(out, tally, bad, clean, rows=ROWS):
    """Check each row: scored as it is when nothing is wrong, or quarantined for its own reason."""
    assert (tally.rows, tally.scored, tally.quarantined) == (rows, rows - len(bad), len(bad))
    found = {row["row"]: row for row in quarantined(out) if row["row"] is not None}
    assert sorted(found) == sorted(bad)
    for row, reason in bad.items():
        assert reason in found[row]["reason"], (row, found[row])
        assert found[row]["raw"]
        assert len(found[row]["raw"]) < 10_000
    table = scores(out)
    good = [row for row in range(rows) if row not in bad]
    assert table["row"].to_pylist() == good
    assert table["id"].to_pylist() == [f"row {row}" for row in good]
    wanted = [clean[f"row {row}"] for row in good]
    np.testing.assert_allclose(table["probability"], wanted, rtol=1e-6)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_csv(artifact, clean, tmp_path, ending):
    buffer = io.BytesIO()
    pacsv.write_csv(good_rows(), buffer, pacsv.WriteOptions(quoting_style="none"))
    header, *lines = buffer.getvalue().rstrip(b"\n").split(b"\n")
    names = header.decode().replace('"', "").split(",")
    kinds = spread_out([*CELLS, *LINES], ROWS)
    bad = {}
    for row, kind in kinds.items():
        if kind in LINES:
            change, bad[row] = LINES[kind]
            lines[row] = change(lines[row])
        else:
            column, cell, bad[row] = CELLS[kind]
            fields = lines[row].split(b",")
            fields[names.index(column)] = cell.encode()
            lines[row] = b",".join(fields)
    text = b"\n".join([header, *lines]) + b"\n"
    path = tmp_path / f"rows{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    found = check_data(path, CONTRACT)
    assert (found.rows, found.quarantined) == (ROWS, len(bad))
    for threads, out in ((1, tmp_path / "one"), (3, tmp_path / "three")):
        tally = score(artifact, path, out, threads=threads)
        assert_adds_up(out, tally, bad, clean)


def with_bad_cells(table, kinds):
    """Write the bad cells of text kinds into a table, whose column then is text."""
    bad = {}
    columns = {name: table[name].cast(pa.string()).to_pylist() for name in table.column_names}
    touched = set()
    for row, kind in kinds.items():
        column, cell, bad[row] = CELLS[kind]
        columns[column][row] = cell.strip('"') or None
        touched.add(column)
    for name in touched:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(columns[name], pa.string()))
    return table, bad


def test_parquet_of_text(artifact, clean, tmp_path):
    table, bad = with_bad_cells(good_rows(), spread_out(CELLS, ROWS))
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=700)
    assert check_data(tmp_path / "rows.parquet", CONTRACT).quarantined == len(bad)
    tally = score(artifact, tmp_path / "rows.parquet", tmp_path / "out")
    assert_adds_up(tmp_path / "out", tally, bad, clean)


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_types_of_their_own(artifact, clean, tmp_path, ending):
    """Badness that typed columns can hold: odd bytes, far moments, NaN beside null."""
    rows = good_rows()
    kinds = {
        "NaN": "the value is missing",
        "null": "the value is missing",
        "infinite": "the number is infinite",
        "beyond float32": "out of range",
        "far away": "out of range",
        "farther": "out of range",
        "odd bytes": "is not UTF-8",
    }
    if ending == ".arrow":
        del kinds["odd bytes"]  # costs the whole file
    places = spread_out(kinds, ROWS)
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    columns["id"] = [key.encode() for key in columns["id"]]
    # Milliseconds that cannot be held in microseconds would wrap around, maybe into the range.
    columns["day"] = (pc.cast(rows["day"], pa.int64()).to_numpy() // 1000).tolist()
    cells = {
        "NaN": ("f1", float("nan")),
        "null": ("f1", None),
        "infinite": ("f1", float("-inf")),
        "beyond float32": ("f2", 1e308),
        "far away": ("day", 2**62),
        "farther": ("day", -(2**63) + 1),
        "odd bytes": ("id", b"row \xff\xfe"),
    }
    for row, kind in places.items():
        column, cell = cells[kind]
        columns[column][row] = cell
    keys = pa.array(columns["id"], pa.binary())
    table = pa.table(
        columns
        | {
            "id": pa.Array.from_buffers(pa.string(), len(keys), keys.buffers()),
            "day": pa.array(columns["day"], pa.int64()).cast(pa.timestamp("ms")),
        }
    )
    path = tmp_path / f"rows{ending}"
    if ending == ".parquet":
        pq.write_table(table, path, row_group_size=700)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    bad = {row: kinds[kind] for row, kind in places.items()}
    assert check_data(path, CONTRACT).quarantined == len(bad)
    tally = score(artifact, path, tmp_path / "out")
    assert_adds_up(tmp_path / "out", tally, bad, clean)


def test_lists_of_the_wrong_kind(tmp_path):
    spread = {"length": 6, "mean": (0.0,) * 6, "std": (1.0,) * 6, "low": -4, "high": 4}
    contract = Contract(
        kind="sequence", columns=(ListColumn(name="s", **spread),), shape=(3, 2), target=TARGET
    )
    artifact = write_artifact(tmp_path / "artifact", contract)
    kinds = {
        "none": (None, "0 numbers in the list, not 6"),
        "empty": ([], "0 numbers in the list, not 6"),
        "short": ([1.0] * 5, "5 numbers in the list, not 6"),
        "long": ([1.0] * 7, "7 numbers in the list, not 6"),
        "hole": ([1.0, None, 1.0, 1.0, 1.0, 1.0], "is missing, infinite or out of range"),
        "NaN": ([float("nan")] * 6, "is missing, infinite or out of range"),
        "infinite": ([float("inf")] * 6, "is missing, infinite or out of range"),
    }
    cells = np.random.default_rng(0).uniform(-3, 3, (ROWS, 6)).tolist()
    places = spread_out(kinds, ROWS)
    for row, kind in places.items():
        cells[row] = kinds[kind][0]
    pq.write_table(pa.table({"s": cells}), tmp_path / "rows.parquet", row_group_size=700)
    tally = score(artifact, tmp_path / "rows.parquet", tmp_path / "out")
    assert (tally.rows, tally.quarantined) == (ROWS, len(places))
    found = {row["row"]: row["reason"] for row in quarantined(tmp_path / "out")}
    assert sorted(found) == sorted(places)
    for row, kind in places.items():
        assert kinds[kind][1] in found[row], kind
    assert sorted([*scores(tmp_path / "out")["row"].to_pylist(), *found]) == list(range(ROWS))


def odd_bytes(table):
    keys = pa.array([b"\xff"] * table.num_rows, pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(keys), keys.buffers())
    return table.set_column(0, "id", strings)


def bad_files():
    """Return files that cannot be used: name -> (content, reason, rows where they are known)."""
    small = good_rows(10)
    twice = pa.Table.from_arrays([*small.columns, small["f0"]], [*small.column_names, "f0"])
    marked = parquet(small, write_page_checksum=True, compression="none", use_dictionary=False)
    value = marked.index(struct.pack("<d", small["f0"][0].as_py()))
    random = np.random.default_rng(0)
    noise = b"".join(b"%d,%d\n" % tuple(pair) for pair in random.integers(0, 2**40, (5000, 2)))
    return {
        "zero.csv": (b"", "the file is empty", 0),
        "zero.parquet": (b"", "the file cannot be read", 0),
        "zero.arrow": (b"", "the file cannot be read", 0),
        "blank.csv": (b"\n\r\n\n", "the file is empty", 0),
        "cut.parquet": (parquet(small)[:-100], "the file cannot be read", 0),
        "cut.arrow": (arrow(small)[:300], "the file cannot be read", 0),
        "cut.csv.gz": (gzip.compress(b"a,b\n" + noise)[:-2000], "", 0),
        "no_gzip.csv.gz": (csv_of(small), "the file cannot be read", 0),
        "text.parquet": (csv_of(small), "the file cannot be read", 0),
        "parquet.csv": (parquet(small), "", 0),
        "image.arrow": (picture((8, 8)), "the file cannot be read", 0),
        "flipped.parquet": (flipped(marked, value), "the file cannot be read", 10),
        "twice.csv": (csv_of(twice), "the header names 'f0' more than once", 0),
        "twice.parquet": (parquet(twice), "two columns are named 'f0'", 10),
        "twice.arrow": (arrow(twice), "two columns are named 'f0'", 0),
        "lacking.csv": (csv_of(small.drop_columns("f2")), "there is no column 'f2'", 0),
        "lacking.parquet": (parquet(small.drop_columns("f2")), "there is no column 'f2'", 10),
        "no_key.parquet": (parquet(small.drop_columns("id")), "there is no column 'id'", 10),
        "half.csv": ("id,f0".encode("utf-16") + b"x", "the file cannot be read", 0),
        "bomb.csv.gz": (gzip.compress(b"0" * 2**25, 9), "the first line is longer than", 0),
    }


def test_files(artifact, clean, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = good_rows()
    pq.write_table(rows.slice(0, 1000), data / "a.parquet")
    (data / "b.csv").write_bytes(csv_of(rows.slice(1000, 1000)))
    (data / "folder.parquet").mkdir()
    (data / "folder.parquet" / "c.arrow").write_bytes(arrow(rows.slice(2000)))
    (data / "empty.parquet").mkdir()
    bad = bad_files()
    for name, (content, _, _) in bad.items():
        (data / name).write_bytes(content)
    (data / "loop.parquet").symlink_to("loop.parquet")
    (data / "nowhere.csv").symlink_to(tmp_path / "nothing.csv")
    bad |= dict.fromkeys(("loop.parquet", "nowhere.csv"), (b"", "the file cannot be read", 0))
    # Rows of a foreign type, or of text that is none, are bad one by one: their file can be read.
    (data / "odd.arrow").write_bytes(arrow(odd_bytes(good_rows(10))))
    foreign = rows.slice(0, 7).set_column(1, "f0", pa.array([{"x": 1}] * 7))
    pq.write_table(foreign, data / "foreign.parquet")
    long_line = (
        b"id,f0,f1,f2,f3,gap,truth,day\nlong," + b"1" * 2**25 + b",1,1,1,1,true,2022-01-01\n"
    )
    (data / "long.csv.gz").write_bytes(gzip.compress(long_line))

    known = sum(count for _, _, count in bad.values())
    tally = score(artifact, data, tmp_path / "out", threads=2)
    assert (tally.rows, tally.scored) == (ROWS + known + 18, ROWS)
    assert (tally.quarantined, tally.unread) == (known + 18, len(bad))
    found = check_data(data, CONTRACT)
    assert (found.rows, found.quarantined) == (tally.rows, tally.quarantined)
    assert found.unread_parts == tally.unread

    lines = quarantined(tmp_path / "out")
    whole = {line["source"]: line for line in lines if line["row"] is None}
    assert sorted(whole) == sorted(bad)
    for name, (_, reason, count) in bad.items():
        assert reason in whole[name]["reason"], (name, whole[name])
        assert whole[name]["rows"] == count
    alone = [line for line in lines if line["row"] is not None]
    assert sum(line["source"] == "foreign.parquet" for line in alone) == 7
    assert sum("is not UTF-8" in line["reason"] for line in alone) == 10
    (long,) = (line for line in alone if line["source"] == "long.csv.gz")
    assert long["reason"] == "the row is longer than 16 MiB"
    table = scores(tmp_path / "out")
    got = dict(zip(table["id"].to_pylist(), table["probability"].to_pylist(), strict=True))
    assert got == pytest.approx(clean, rel=1e-6)


def test_folder_that_may_not_be_listed(artifact, tmp_path, monkeypatch):
    data = tmp_path / "data"
    (data / "closed").mkdir(parents=True)
    pq.write_table(good_rows(10), data / "a.parquet")
    plain = os.scandir

    def scandir(path="."):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="closed: the folder cannot be listed: Permission denied"):
        score(artifact, data, tmp_path / "out")


@pytest.mark.parametrize(("max_bad", "code"), [("30%", 0), ("1%", 3)])
def test_too_much_badness_stops_the_job(artifact, tmp_path, max_bad, code):
    table, bad = with_bad_cells(good_rows(), spread_out(CELLS, ROWS))
    pq.write_table(table, tmp_path / "rows.parquet")
    arguments = ["score", str(artifact.path), str(tmp_path / "rows.parquet"), str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--max-bad", max_bad])
    assert done.exit_code == code, done.output
    assert len(quarantined(tmp_path / "out")) == len(bad)
