import pytest

from secateur.errors import OutputError
from secateur.files import new_file, write_whole


def test_file_is_replaced_whole(tmp_path):
    for text in ("one", "two"):
        with new_file(tmp_path / "file") as partial:
            partial.write_text(text)
    assert (tmp_path / "file").read_text() == "two"
    with pytest.raises(ValueError, match="no"), new_file(tmp_path / "file"):
        raise ValueError("no")
    assert (tmp_path / "file").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_text_is_replaced_whole_and_its_folder_made(tmp_path):
    path = tmp_path / "new" / "t"
    write_whole(path, "one")
    write_whole(path, "two")
    assert path.read_text() == "two"
    assert [each.name for each in path.parent.iterdir()] == ["t"]


def test_what_cannot_be_written_is_named_and_the_old_file_stays(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "t", "old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("secateur.files.sync", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_whole(path, "new")
    assert caught.value.where == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
