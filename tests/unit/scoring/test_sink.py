"""A file appears whole, or not at all."""

import errno
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from secateur.errors import OutputError
from secateur.scoring.sink import Sink, cannot_write

TABLE = pa.table({"row": [1, 2, 3], "word": pa.array(["a", "b", "a"]).dictionary_encode()})


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_file_appears_at_the_end(tmp_path):
    with Sink(tmp_path / "s.parquet") as sink:
        sink.write(TABLE)
        sink.write(TABLE)
        assert names(tmp_path) == ["s.parquet.partial"]
    assert names(tmp_path) == ["s.parquet"]
    assert pq.read_table(tmp_path / "s.parquet").equals(pa.concat_tables([TABLE, TABLE]))
    assert (sink.rows, sink.bytes) == (6, (tmp_path / "s.parquet").stat().st_size)


def test_nothing_written_is_no_file(tmp_path):
    with Sink(tmp_path / "s.parquet") as sink:
        sink.write(TABLE.slice(0, 0))
    assert (names(tmp_path), sink.rows, sink.bytes) == ([], 0, 0)


def _write_and_fail(path, error):
    with Sink(path) as sink:
        sink.write(TABLE)
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path, error):
    with pytest.raises(type(error)):
        _write_and_fail(tmp_path / "s.parquet", error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("method", ["write_table", "close"])
def test_full_disk(tmp_path, monkeypatch, method):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, method, full)
    with (
        pytest.raises(
            OutputError, match=r"cannot be written \(No space left on device\)"
        ) as caught,
        Sink(tmp_path / "s.parquet") as sink,
    ):
        sink.write(TABLE)
    assert caught.value.where == str(tmp_path / "s.parquet")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.ENOSPC, "Make room on the disk"),
        (errno.EDQUOT, "Make room on the disk"),
        (errno.EACCES, "Name a folder that can be written"),
        (errno.EROFS, "Name a folder that can be written"),
        (errno.ENOENT, "Name a folder that can be made"),
        (errno.ENOTDIR, "Name a folder that can be made"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_the_mend_is_of_the_error(tmp_path, code, mend):
    error = cannot_write(tmp_path, OSError(code, os.strerror(code)))
    assert error.mend.startswith(mend)
    assert os.strerror(code) in error.what
