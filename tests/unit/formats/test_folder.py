"""A folder or a file is there whole, or not there at all."""

import errno

import pytest

from secateur.errors import OutputError
from secateur.formats.folder import new_folder


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_folder_appears_at_the_end(tmp_path):
    with new_folder(tmp_path / "deep" / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "sub" / "file").read_text() == "x"
    assert names(tmp_path / "deep") == ["out"]


def _fail_after_writing(out, error):
    with new_folder(out) as folder:
        (folder / "file").write_text("x")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path, error):
    with pytest.raises(type(error)):
        _fail_after_writing(tmp_path / "out", error)
    assert names(tmp_path) == []


def test_full_disk(tmp_path):
    with (
        pytest.raises(OutputError, match="No space left") as caught,
        new_folder(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.where == str(tmp_path / "out")
    assert names(tmp_path) == []


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    assert names(tmp_path / "out") == ["file"]
    assert names(tmp_path) == ["out"]


def test_old_folder_survives_a_failure(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mark").write_text("old")
    with pytest.raises(ValueError, match="no"), new_folder(tmp_path / "out", replaces="mark"):
        raise ValueError("no")
    assert (tmp_path / "out" / "mark").read_text() == "old"


def test_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("x")
    with (
        pytest.raises(OutputError, match="there is a file of that name"),
        new_folder(tmp_path / "out"),
    ):
        pass
    assert (tmp_path / "out").read_text() == "x"
