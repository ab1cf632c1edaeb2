"""The pieces of a source are all its rows, each once, in order."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from secateur.data.sources import find_parts
from secateur.errors import ContractError, DataError
from secateur.scoring.pieces import cut, read
from unit.scoring.artifacts import as_table, numbers, table_contract


@pytest.fixture
def source(tmp_path):
    pq.write_table(as_table(numbers(1000)), tmp_path / "a.parquet", row_group_size=90)
    pq.write_table(as_table(numbers(50)), tmp_path / "b.parquet")
    return tmp_path


@pytest.mark.parametrize("rows", [1, 90, 200, 999, 10_000])
def test_pieces_cover_every_row_once(source, rows):
    pieces = cut(find_parts(source), rows=rows)
    assert len({piece.key for piece in pieces}) == len(pieces)
    found = {"a.parquet": [], "b.parquet": []}
    for piece in pieces:
        blocks = list(read(piece, ["f0", "id"], table_contract(), batch_rows=64))
        positions = np.concatenate([block.rows for block in blocks])
        assert len(positions) == piece.rows
        assert positions[0] == piece.first
        ids = np.concatenate([block.table["id"].to_numpy() for block in blocks])
        np.testing.assert_array_equal(ids, positions)
        found[piece.part.path].extend(positions)
    assert found == {"a.parquet": list(range(1000)), "b.parquet": list(range(50))}


def test_large_file_is_cut_at_row_groups(source):
    pieces = cut(find_parts(source / "a.parquet"), rows=200)
    assert [piece.rows for piece in pieces] == [270, 270, 270, 190]
    assert [piece.groups for piece in pieces] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]


def test_cut_and_stamps_depend_on_the_data_alone(source):
    before = cut(find_parts(source), rows=200)
    assert [p.stamp for p in cut(find_parts(source), rows=200)] == [p.stamp for p in before]
    pq.write_table(as_table(numbers(1001)), source / "a.parquet", row_group_size=90)
    after = cut(find_parts(source), rows=200)
    assert after[0].key == before[0].key
    assert after[0].stamp != before[0].stamp
    assert after[-1].stamp == before[-1].stamp


def test_a_file_written_anew_at_the_same_size_has_another_stamp(source):
    path = source / "b.parquet"
    before = cut(find_parts(path))[0].stamp
    size = path.stat().st_size
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    after = cut(find_parts(path))[0].stamp
    assert path.stat().st_size == size
    assert after != before


def test_column_that_is_not_there(source):
    (piece,) = cut(find_parts(source / "b.parquet"))
    with pytest.raises(ContractError, match="no column 'f9'; there are: id, f0") as caught:
        list(read(piece, ["f9"], table_contract(), batch_rows=64))
    assert caught.value.where == str(source / "b.parquet")


def test_file_that_is_cut_short(source):
    content = (source / "b.parquet").read_bytes()
    (source / "b.parquet").write_bytes(content[:-20])
    (piece,) = cut(find_parts(source / "b.parquet"))
    with pytest.raises(DataError, match="the file cannot be read") as caught:
        list(read(piece, ["f0"], table_contract(), batch_rows=64))
    assert caught.value.where == str(source / "b.parquet")
