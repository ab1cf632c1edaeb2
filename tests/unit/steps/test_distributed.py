"""Where several workers keep their state when nobody named a folder."""

import shutil

import pytest

from secateur.errors import ModelError
from secateur.steps.distributed import _folder


def test_a_folder_of_nobody_is_gone_afterwards():
    with _folder(None) as folder:
        (folder / "state").write_bytes(b"1")
    assert not folder.exists()


def test_a_folder_that_an_error_does_not_name_is_gone():
    with pytest.raises(ModelError), _folder(None) as folder:
        raise ModelError("the workers failed.")
    assert not folder.exists()


def test_a_folder_that_an_error_names_stays():
    with pytest.raises(ModelError), _folder(None) as folder:
        raise ModelError(f"the loss became nan. The state after epoch 3 is kept in {folder}.")
    assert folder.is_dir()
    shutil.rmtree(folder)


def test_a_folder_that_was_asked_for_stays(tmp_path):
    with _folder(tmp_path / "deep" / "state") as folder:
        pass
    assert folder.is_dir()
