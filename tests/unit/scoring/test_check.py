"""Data is held against a contract, and what would be quarantined is what scoring quarantines."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from secateur.cli.app import app
from secateur.data.contract import Contract
from secateur.data.read import read
from secateur.errors import DataError, SecateurError
from secateur.scoring.check import check_data
from secateur.scoring.findings import DataCheck
from secateur.scoring.score import score
from unit.scoring.artifacts import (
    as_table,
    image_contract,
    numbers,
    quarantined,
    table_contract,
    write_artifact,
)
from unit.scoring.shards import png, write_tar


def frame(rows=3000, shift=0.0, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "a": random.normal(shift, 1, rows),
            "word": random.choice(["x", "y", "z"], rows),
            "truth": random.random(rows) < 0.3,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 500, rows), "D"),
            "y": random.choice(["p", "q"], rows),
        }
    )


@pytest.fixture(scope="module")
def contract():
    return read(frame(), target="y", keys=["id"]).contract


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def columns(found):
    return {column.name: column for column in found.columns}


def test_the_same_kind_of_data(contract, data):
    frame(seed=1).to_parquet(data / "1.parquet")
    frame(seed=2).to_csv(data / "2.csv", index=False)
    found = check_data(data, contract)
    assert (found.rows, found.quarantined, found.parts, found.whole) == (6000, 0, 2, True)
    assert found.usable
    assert not any(column.differs for column in found.columns)
    assert {name: c.reading for name, c in columns(found).items()} == {
        "a": "steady", "word": "steady", "truth": "steady", "day": None, "y": "steady",
    }  # fmt: skip
    assert columns(found)["a"].types == ("double", "text")
    assert DataCheck.model_validate_json(found.model_dump_json()) == found


def test_everything_that_differs_is_told(contract, data):
    moved = frame(shift=1.5).assign(extra=1)
    moved["word"] = moved["word"].replace("x", "new")
    moved["truth"] = moved["truth"].astype(object)
    moved.loc[:9, "truth"] = None
    moved.loc[10:14, "a"] = np.inf
    moved.loc[15:16, "a"] = 1e6
    moved["day"] = moved["day"].astype("datetime64[us]")
    moved.loc[20, "day"] = pd.Timestamp("1890-01-01")
    moved.to_parquet(data / "1.parquet")
    (data / "notes.pdf").write_text("")
    found = check_data(data, contract)
    by = columns(found)
    assert by["a"].reading == "changed"
    assert by["a"].bad == {"infinite": 5, "range": 2}
    assert by["word"].examples == {"new": by["word"].new}
    assert by["word"].reading == "changed"
    assert by["truth"].bad == {"missing": 10}
    assert by["day"].bad == {"range": 1}
    assert by["day"].low.startswith("1890-01-01")
    assert found.extra == {"extra": 1}
    assert found.passed_over == {".pdf": 1}
    assert (found.quarantined, found.usable) == (18, True)
    assert sum(found.reasons.values()) == 18


def test_missing_columns_and_broken_files(contract, data):
    frame().to_parquet(data / "1.parquet")
    frame().drop(columns=["word", "id"]).to_parquet(data / "2.parquet")
    (data / "3.parquet").write_bytes((data / "1.parquet").read_bytes()[:1000])
    frame().assign(a="text").to_parquet(data / "4.parquet")
    found = check_data(data, contract)
    assert found.absent == {"word": 1, "id": 1}
    assert [piece.source for piece in found.unread] == ["2.parquet", "3.parquet"]
    assert (found.rows, found.quarantined, found.unread_parts) == (9000, 6000, 2)
    assert found.usable
    # What the file without a column holds in its other columns is looked at all the same.
    assert columns(found)["truth"].rows == 9000
    assert columns(found)["word"].rows == 6000
    assert columns(found)["a"].bad == {"type": 3000}
    found = check_data(data / "2.parquet", contract)
    assert not found.usable
    assert "there is no column 'word'" in found.unusable


@pytest.mark.parametrize("seed", range(3))
def test_what_it_foretells_is_what_scoring_does(tmp_path, seed):
    random = np.random.default_rng(seed)
    contract = table_contract(keys=("id",))
    artifact = write_artifact(tmp_path / "artifact", contract)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(4):
        x = numbers(300, seed=number)
        bad = random.random(x.shape) < 0.02
        x[bad] = random.choice([np.nan, np.inf, 1e9], bad.sum())
        table = as_table(x, first_id=300 * number)
        if number == 1:
            table = table.drop_columns("f2")
        if number == 2:
            table.to_pandas().to_csv(data / "2.csv", index=False)
            with (data / "2.csv").open("a") as file:
                file.write("1,2\nx,a,b,c,d\n")
            continue
        pq.write_table(table, data / f"{number}.parquet", row_group_size=100)
    (data / "9.parquet").write_text("broken")
    found = check_data(data, contract)
    tally = score(artifact, data, tmp_path / "out", threads=2)
    assert (found.rows, found.quarantined) == (tally.rows, tally.quarantined)
    assert found.unread_parts == tally.unread
    assert sum(found.reasons.values()) == sum(row["rows"] for row in quarantined(tmp_path / "out"))


def test_a_part_of_the_rows(contract, data):
    for number in range(3):
        frame().to_parquet(data / f"{number}.parquet", row_group_size=500)
    found = check_data(data, contract, rows=300)
    assert (found.rows, found.whole) == (300, False)
    assert check_data(data, contract, rows=100_000).whole
    with pytest.raises(SecateurError, match="`rows` is 0"):
        check_data(data, contract, rows=0)


def test_few_rows_shift_no_one(contract, data):
    frame(rows=40, seed=9).to_parquet(data / "1.parquet")
    found = check_data(data, contract)
    assert all(c.reading in (None, "steady") for c in found.columns)


def test_a_contract_without_spreads_still_finds_bad_rows(data):
    contract = table_contract()
    x = numbers(50)
    x[3, 1] = 1e9
    pq.write_table(as_table(x), data / "1.parquet")
    found = check_data(data, contract)
    assert (found.rows, found.quarantined) == (50, 1)
    assert {column.psi for column in found.columns} == {None}
    assert found.reasons == {"column f1: ... is out of range (... to ... was seen in training)": 1}


def test_lists(data):
    random = np.random.default_rng(0)
    cells = list(random.normal(size=(400, 6)))
    labels = random.choice(["p", "q"], 400)
    contract = read(pa.table({"s": cells, "y": labels}), target="y", shape=(3, 2)).contract
    other = [*random.normal(3, 1, (50, 6)), [], [1.0, 2.0], [np.nan] * 6]
    pq.write_table(pa.table({"s": other}), data / "1.parquet")
    found = check_data(data, contract)
    assert found.quarantined == 3
    (column,) = found.columns
    assert column.bad == {"length": 2, "range": 1}
    assert column.reading == "changed"


def photo(path, level, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(str(path)))
    pixels = random.integers(level, level + 50, (*size, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def test_images(tmp_path):
    for number in range(80):
        photo(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number % 40)
    contract = read(tmp_path / "train").contract
    for number in range(60):
        photo(tmp_path / "new" / f"{number}.png", 200, size=(16, 9), mode="L")
    photo(tmp_path / "new" / "cmyk.jpg", 200, mode="CMYK")
    (tmp_path / "new" / "empty.png").write_bytes(b"")
    (tmp_path / "new" / "text.png").write_text("no image")
    found = check_data(tmp_path / "new", contract)
    assert (found.rows, found.quarantined) == (63, 2)
    assert found.images.sizes == {"16 x 9": 60, "8 x 8": 1}
    assert found.images.modes == {"L": 60, "CMYK": 1}
    assert found.images.gray_in_training == 0
    assert found.images.gray > 0.9
    by = columns(found)
    assert by["brightness"].reading == "changed"
    assert by["pixels"].reading == "changed"
    assert set(found.reasons) == {
        "the file is empty.",
        "the image cannot be decoded: not a JPEG, PNG, BMP, GIF or WebP image, or its first bytes "
        "are broken.",
    }


def test_nothing_there(contract, data):
    with pytest.raises(DataError, match="the folder is empty"):
        check_data(data, contract)


def run(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_command(contract, data, tmp_path):
    path = contract.save(tmp_path / "contract.yaml")
    frame(shift=1.0).to_parquet(data / "1.parquet")
    done = run(data, "--contract", path)
    assert done.exit_code == 0, done.output
    assert "changed" in done.stdout
    assert "4 of 5 inputs: no change" in done.stdout
    done = run(data, "--contract", path, "--json")
    assert json.loads(done.stdout)["format"] == 1
    frame().drop(columns="a").to_parquet(data / "2.parquet")
    assert run(data, "--contract", path).exit_code == 0
    assert run(data, "--contract", path, "--max-bad", "1%").exit_code == 3
    done = run(data / "2.parquet", "--contract", path, "--max-bad", "1%")
    assert done.exit_code == 4
    assert "there is no column 'a'" in done.output
    assert run(data, "--contract", tmp_path / "none.yaml").exit_code == 2


def test_command_takes_an_artifact(tmp_path, data):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    photo(data / "1.png", 10)
    done = run(data, "--contract", artifact.path)
    assert done.exit_code == 0, done.output
    assert "1 row in 1 part: 0 would be quarantined" in done.stdout
    assert Contract.load(artifact.path / "contract.json") == artifact.contract


def test_nothing_counts_of_a_shard_that_breaks_off(data):
    write_tar(data / "a.tar", [(f"{i}.png", png(i)[0]) for i in range(6)])
    whole = (data / "a.tar").read_bytes()
    (data / "a.tar").write_bytes(whole[: len(whole) // 3])
    found = check_data(data, image_contract())
    assert (found.rows, found.unread_parts) == (0, 1)
    assert "nothing would be scored" in found.unusable


def test_pieces_that_nobody_can_count_all_count(data):
    for number in range(120):
        text = b"f0,f1,f2,f3\n0,0,0,0\n"
        name = data / f"{number:03d}.csv.gz"
        name.write_bytes(b"no gzip" if number < 60 else gzip.compress(text))
    found = check_data(data, table_contract())
    assert (found.unread_parts, found.uncounted_parts, found.bad_share) == (60, 60, 0.5)
