"""Streamed rows are those that are held, in an order that seed and epoch alone decide."""

import os
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.data import learn, survey, tables
from secateur.data.order import Order
from secateur.data.read import read
from secateur.errors import DataError

ROWS, FILES = 1200, 3


def write(folder, *, arrow=False, group=100, rows=ROWS):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 3)).astype("float32")
    table = pa.table(
        {
            "row": np.arange(rows, dtype="float64"),
            **{f"x{i}": x[:, i] for i in range(3)},
            "word": random.choice(["red", "green"], rows),
            "y": np.where(x[:, 0] > 1, "rare", "usual"),
        }
    )
    folder.mkdir(exist_ok=True)
    for place, start in enumerate(range(0, rows, rows // FILES)):
        piece = table.slice(start, rows // FILES)
        if arrow:
            with pa.ipc.new_file(folder / f"{place}.arrow", table.schema) as writer:
                writer.write_table(piece, max_chunksize=group)
        else:
            pq.write_table(piece, folder / f"{place}.parquet", row_group_size=group)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "rows")


# A quarter of it is the window: 150 rows.
SMALL = {"cache_bytes": 4 * 150 * 24}


def streamed(folder, **arguments):
    return read(folder, target="y", stream=True, **{**SMALL, **arguments})


def numbers(batch):
    return batch[0]["numeric"][:, 0]


def all_of(batches):
    return np.concatenate([numbers(batches[i]) for i in range(len(batches))])


@pytest.mark.parametrize("arrow", [False, True])
def test_the_samples_are_those_of_a_data_set_that_is_held(tmp_path, arrow):
    folder = write(tmp_path / "rows", arrow=arrow)
    held, other = read(folder, target="y"), streamed(folder)
    assert other.train.streamed
    assert not held.train.streamed
    assert "rows are read from their files in every epoch" in other.notes
    assert other.fingerprint == held.fingerprint
    for name in ("train", "validation", "test"):
        one, two = held.split(name), other.split(name)
        assert one.rows == two.rows
        assert one.class_counts() == two.class_counts()
        np.testing.assert_array_equal(one.labels(), two.labels())
        some = np.array([5, 0, one.rows - 1, 5])
        for key, values in one.take(some).items():
            np.testing.assert_array_equal(values, two.take(some)[key])
        assert one.rows_as_dicts(some) == two.rows_as_dicts(some)
        for left, right in zip(one.batches(64), two.batches(64), strict=True):
            np.testing.assert_array_equal(numbers(left), numbers(right))
            np.testing.assert_array_equal(left[1], right[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_gives_all_rows_once_and_the_next_another_order(folder, workers):
    split = streamed(folder).train
    batches = split.batches(50, shuffle=True, seed=3, workers=workers)
    one = all_of(batches)
    assert sorted(one) == sorted(all_of(split.batches(64)))
    batches.on_epoch_end()
    two = all_of(batches)
    assert sorted(two) == sorted(one)
    assert (two != one).any()
    again = split.batches(50, shuffle=True, seed=3)
    again.set_epoch(1)
    np.testing.assert_array_equal(all_of(again), two)


def test_rows_of_all_files_are_mixed(folder):
    batches = streamed(folder, cache_bytes=10**6).train.batches(100, shuffle=True)
    rows = numbers(batches[0])
    assert {int(row) // (ROWS // FILES) for row in rows} == {0, 1, 2}
    # With room for a few row groups, it is those of a few that are mixed.
    few = numbers(streamed(folder).train.batches(100, shuffle=True)[0])
    assert 2 <= len({int(row) // 100 for row in few}) < len({int(row) // 100 for row in rows})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [0, 1, 5])
def test_the_rest_of_an_epoch_is_what_it_would_have_been(folder, done, workers):
    split = streamed(folder).train
    whole = split.batches(50, shuffle=True, seed=1)
    whole.set_epoch(2)
    rest = split.batches(50, shuffle=True, seed=1, workers=workers)
    rest.set_epoch(2)
    rest.skip = done
    assert len(rest) == len(whole) - done
    np.testing.assert_array_equal(all_of(rest), all_of(whole)[50 * done :])


def test_only_the_row_groups_of_what_is_left_are_read(folder, monkeypatch):
    split = streamed(folder).train
    read_groups = []
    decode = split._store.decode

    def noted(place, group):
        read_groups.append(group)
        return decode(place, group)

    monkeypatch.setattr(split._store, "decode", noted)
    batches = split.batches(50, shuffle=True)
    batches.skip = batches.count - 2
    all_of(batches)
    assert len(set(read_groups)) == len(read_groups) <= 5


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda s: sum(s) > 0),
    window=st.integers(1, 60),
    size=st.integers(1, 50),
    shuffle=st.booleans(),
)
def test_an_order_of_uneven_blocks_holds_every_row_once(sizes, window, size, shuffle):
    order = Order(np.array(sizes), window, (1, 2), shuffle)
    rows = sum(sizes)
    block_of = np.repeat(np.arange(len(sizes)), sizes)
    found = []
    for start in range(0, rows, size):
        last = min(start + size, rows) - 1
        piece = order(np.arange(start, last + 1))
        assert set(block_of[piece]) <= set(order.blocks(start, last))
        found += piece.tolist()
    assert sorted(found) == list(range(rows))


def test_class_weights_and_samples(folder):
    held, other = read(folder, target="y").train, streamed(folder).train
    one = held.batches(64, class_weights=True)
    two = other.batches(64, class_weights=True)
    np.testing.assert_array_equal(one.weights, two.weights)
    x, y = other.sample(80, seed=1)
    assert len(y) == len(set(x["numeric"][:, 0])) == 80
    again, _ = other.sample(80, seed=1)
    np.testing.assert_array_equal(x["numeric"], again["numeric"])
    assert (y == (x["numeric"][:, 1] <= 1)).all()
    assert len(other.sample(10**6)[1]) == other.rows


def test_the_moments_of_values_are_those_of_all(tmp_path):
    frame = pd.DataFrame({"x": np.arange(900.0), "y": np.arange(900) / 7})
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=100)
    held = read(tmp_path, target="y").train
    other = read(tmp_path, target="y", stream=True, cache_bytes=8000).train
    np.testing.assert_allclose(other.moments(), held.moments(), rtol=1e-5)
    assert other.class_counts() == {}


def test_what_is_large_is_streamed_and_the_splits_are_not_in_memory(folder, monkeypatch):
    monkeypatch.setattr(survey, "EXACT_ROWS", 1000)
    monkeypatch.setattr(tables, "EXACT_ROWS", 1000)
    data = read(folder, target="y", **SMALL)
    assert data.train.streamed
    assert isinstance(data.train._store.codes, np.memmap)
    shares = [each.rows / ROWS for each in (data.train, data.validation, data.test)]
    np.testing.assert_allclose(shares, (0.6, 0.2, 0.2), atol=0.05)
    again = read(folder, target="y", **SMALL)
    np.testing.assert_array_equal(again.train.labels(), data.train.labels())
    assert not read(folder, target="y").train.streamed


def test_row_groups_that_are_too_large_are_kept_in_a_mapped_file(tmp_path, monkeypatch):
    folder = write(tmp_path / "rows", group=ROWS)
    with pytest.raises(DataError, match=r"400 rows, and 150 can be held at a time.*smaller row"):
        streamed(folder)
    monkeypatch.setattr(tables, "EXACT_ROWS", 1000)
    data = read(folder, target="y", **SMALL)
    assert not data.train.streamed
    assert any("kept in a mapped file" in note for note in data.notes)
    with pytest.raises(DataError, match="not in Parquet or Arrow files"):
        read(pd.read_parquet(folder), target="y", stream=True)


def test_csv_is_streamed_from_what_it_was_parsed_into(tmp_path):
    frame = pd.DataFrame({"x": np.arange(500.0), "y": np.arange(500) % 2})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    data = read(tmp_path / "rows.csv", target="y", stream=True)
    assert data.train.streamed
    assert set(data.train.take(np.arange(data.train.rows))[:, 0]) <= set(range(500))


def first_error(folder, data):
    batches = data.train.batches(50, shuffle=True)
    with pytest.raises(DataError) as caught:
        all_of(batches)
    assert batches.failure is caught.value
    return str(caught.value)


def test_a_file_that_is_gone(folder):
    data = streamed(folder)
    (folder / "1.parquet").unlink()
    told = first_error(folder, data)
    assert "1.parquet: the file is gone" in told
    assert "Put it back" in told


def test_a_file_that_was_changed(folder):
    data = streamed(folder)
    (folder / "1.parquet").write_bytes((folder / "0.parquet").read_bytes())
    assert "1.parquet: the file was changed after the data was looked at" in first_error(
        folder, data
    )


def test_a_file_that_is_damaged(folder):
    data = streamed(folder)
    file = folder / "1.parquet"
    before = os.stat(file)
    # Same size and time, as where a disk fails.
    file.write_bytes(b"PAR1" + b"\xff" * (before.st_size - 4))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    told = first_error(folder, data)
    assert "1.parquet: row group" in told
    assert "cannot be read" in told


def test_a_file_that_is_truncated_before_it_is_read(folder):
    file = folder / "2.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"2\.parquet"):
        streamed(folder)


def test_a_file_with_another_schema(folder):
    table = pq.read_table(folder / "2.parquet")
    place = table.schema.get_field_index("x1")
    words = pa.array(["a"] * len(table))
    pq.write_table(table.set_column(place, "x1", words), folder / "2.parquet", row_group_size=100)
    with pytest.raises(DataError, match=r"'x1' holds string here, and float in 0\.parquet"):
        streamed(folder)
    pq.write_table(table.drop_columns(["x2"]), folder / "2.parquet")
    with pytest.raises(DataError, match="'x2' of the other files is not here"):
        streamed(folder)


def test_a_label_that_a_contract_does_not_know_is_left_out_and_told(folder):
    contract = streamed(folder).contract
    table = pq.read_table(folder / "2.parquet")
    place = table.schema.get_field_index("y")
    labels = table.column("y").to_pylist()
    labels[3] = "unheard of"
    pq.write_table(
        table.set_column(place, "y", pa.array(labels)), folder / "2.parquet", row_group_size=100
    )
    data = streamed(folder, contract=contract)
    assert data.rows == ROWS - 1
    assert any("1 row without a target (y) left out" in note for note in data.notes)
    assert len(all_of(data.train.batches(64))) == data.train.rows


def peak_of(folder, count, monkeypatch):
    """Return the most bytes that NumPy and Python held while a set was read and gone through."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for place in range(count):
        x = random.normal(size=(50_000, 2))
        words = random.integers(0, 3000, 50_000).astype(str)
        table = pa.table({"a": x[:, 0], "b": x[:, 1], "word": words, "y": x[:, 0] > 0})
        pq.write_table(table, folder / f"{place}.parquet", row_group_size=10_000)
    monkeypatch.setattr(survey, "EXACT_ROWS", 40_000)
    tracemalloc.start()
    try:
        data = read(folder, target="y", stream=True, cache_bytes=2**20)
        batches = data.train.batches(1000, shuffle=True, class_weights=True)
        for index in range(len(batches)):
            batches[index]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    peak_of(tmp_path / "first", 1, monkeypatch)  # what is loaded once
    few, many = (peak_of(tmp_path / str(n), n, monkeypatch) for n in (4, 12))
    assert many < 1.1 * few


def test_counts_of_words_are_too_low_by_no_more_than_is_said(monkeypatch):
    monkeypatch.setattr(learn, "MAX_WORDS", 40)
    learner = learn._Categorical("word")
    random = np.random.default_rng(0)
    words = np.minimum(random.zipf(1.3, 20_000), 3000).astype(str)
    for part in np.split(words, 200):
        learner.add(pa.array(part), pa.array(np.ones(len(part), bool)))
    assert len(learner.words) <= 40 + 100
    true = dict(zip(*np.unique(words, return_counts=True), strict=True))
    assert learner.error > 0
    for word, count in true.items():
        assert count - learner.error <= learner.words[word] <= count


def test_a_flipped_bit_is_not_trained_on(tmp_path):
    folder = write(tmp_path / "rows")
    for file in sorted(folder.iterdir()):
        table = pq.read_table(file)
        options = {"row_group_size": 100, "use_dictionary": False, "compression": "none"}
        pq.write_table(table, file, write_page_checksum=True, **options)
    data = streamed(folder)
    file = folder / "1.parquet"
    held = os.stat(file)
    content = bytearray(file.read_bytes())
    # In the midst of the numbers of a row group.
    place = pq.read_metadata(file).row_group(1).column(1)
    content[place.data_page_offset + place.total_compressed_size // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(held.st_atime_ns, held.st_mtime_ns))
    with pytest.raises(DataError, match="cannot be read"):
        all_of(data.train.batches(50))
