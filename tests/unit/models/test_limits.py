"""A small file that would take a large memory, or other files, is refused before it is built."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import ModelError
from secateur.models.load import load_model


@pytest.fixture
def model(tmp_path):
    """Return the path of a small model, and the model."""
    made = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    made.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def rewrite(path, change, **added):
    """Write a `.keras` file again, its members changed by name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members) or members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | added).items():
            archive.writestr(name, content)


def refused(path, match):
    with pytest.raises(ModelError, match=match):
        load_model(path)


def test_a_sound_file_loads(model):
    assert load_model(model).count_params() == 15


@pytest.mark.parametrize("units", [10**9, 10**15])
def test_a_layer_far_larger_than_the_file(model, units):
    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"][1]["config"]["units"] = units
        return members | {"config.json": json.dumps(config).encode()}

    rewrite(model, change)
    refused(model, "weights would take [0-9,]+ bytes")


def test_a_member_that_bursts(model):
    rewrite(model, lambda members: None, **{"assets/a": bytes(300 * 2**20)})
    refused(model, "grows from")


def test_a_member_outside(model):
    rewrite(model, lambda members: None, **{"../evil": b"?"})
    refused(model, "outside of it")
    assert not (model.parent.parent / "evil").exists()


def weights(tmp_path, build):
    path = tmp_path / "m.h5"
    keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")]).save(path)
    with h5py.File(path, "a") as file:
        build(file)
    return path


def test_a_shape_with_nothing_behind_it(tmp_path):
    path = weights(
        tmp_path,
        lambda file: file.create_dataset("big", (2**40,), "f4", chunks=(2**16,)),
    )
    refused(path, "and 0 are stored")


@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/model_weights"), h5py.ExternalLink("/etc/passwd", "/")]
)
def test_links(tmp_path, link):
    refused(weights(tmp_path, lambda file: file.__setitem__("link", link)), "is a link")


def test_numbers_in_another_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(16))
    path = weights(
        tmp_path,
        lambda file: file.create_dataset(
            "far", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)]
        ),
    )
    refused(path, "in other files")


def test_a_circle_of_groups_ends(tmp_path):
    def build(file):
        file["a/b"] = np.zeros(1)
        file["a/c"] = file["a"]

    assert load_model(weights(tmp_path, build)).count_params() == 15
