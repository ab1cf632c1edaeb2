"""What older Keras wrote differently, mended one by one."""

import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.ops import convert_to_numpy as to_numpy

from secateur.errors import ModelError
from secateur.models.load import load_model, load_model_with_notes
from unit.models.oldfiles import array, entry, functional, sequential, write, write_weights


def outputs(model, x):
    return to_numpy(model(x))


@pytest.fixture
def dense(tmp_path):
    """A small old file, and what its model gives."""
    kernel, bias, x = array(4, 3), array(3), array(2, 4)
    config = sequential(
        entry("Dense", name="d", units=3, batch_input_shape=[None, 4], dtype="float32")
    )
    path = write(tmp_path / "m.h5", config, {"d": [kernel, bias]})
    return path, config, x, x @ kernel + bias


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.model", "m.HDF5", "m", "m.keras"])
def test_hdf5_is_told_by_its_bytes_under_any_name(dense, name, tmp_path):
    path, _, x, expected = dense
    other = tmp_path / "other" / name
    other.parent.mkdir()
    shutil.copyfile(path, other)
    before = other.read_bytes()
    np.testing.assert_allclose(outputs(load_model(other), x), expected, atol=1e-6)
    assert other.read_bytes() == before
    assert [each.name for each in other.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ["m.zip", "m.h5", "m.model"])
def test_an_archive_is_told_by_its_bytes(name, tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    path = (tmp_path / "m.keras").rename(tmp_path / name)
    loaded, notes = load_model_with_notes(path)
    x = array(2, 4)
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))
    assert notes == ()


def test_a_first_layer_that_says_the_shape_gets_an_input(dense):
    model, notes = load_model_with_notes(dense[0])
    assert model.input_shape == (None, 4)
    assert notes == (
        "m.h5: written by Keras 2.4.0; on loading, an InputLayer of [None, 4] put before layer (d)",
    )


def test_a_sequential_that_is_a_list_of_layers(dense, tmp_path):
    _, config, x, _ = dense
    kernel = array(4, 3)
    old = {"class_name": "Sequential", "config": config["config"]["layers"]}
    path = write(tmp_path / "list.h5", old, {"d": [kernel, np.zeros(3, "float32")]}, "2.2.0")
    np.testing.assert_allclose(outputs(load_model(path), x), x @ kernel, atol=1e-6)


def test_depthwise_convolutions_lose_their_groups_and_norms_their_lists(tmp_path):
    config = functional(
        entry("InputLayer", name="i", batch_input_shape=[None, 5, 5, 2], sparse=False),
        entry(
            "DepthwiseConv2D",
            name="dw",
            kernel_size=[3, 3],
            groups=1,
            use_bias=False,
            depthwise_initializer=entry("GlorotUniform", seed=None, dtype="float32"),
        ),
        entry("BatchNormalization", name="bn", axis=[3], epsilon=0.001, fused=True),
        entry("Conv2DTranspose", name="up", filters=3, kernel_size=[2, 2], groups=1),
        entry("LeakyReLU", name="leaky", alpha=0.3),
    )
    weights = {
        "i": [],
        "dw": [array(3, 3, 2, 1)],
        "bn": [array(2), array(2), array(2), np.abs(array(2))],
        "up": [array(2, 2, 3, 2), array(3)],
        "leaky": [],
    }
    model, (note,) = load_model_with_notes(write(tmp_path / "m.h5", config, weights))
    i = keras.Input((5, 5, 2))
    x = layers.DepthwiseConv2D(3, use_bias=False)(i)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(3, 2)(x)
    expected = keras.Model(i, layers.LeakyReLU(negative_slope=0.3)(x))
    for layer, arrays in zip(expected.layers, weights.values(), strict=True):
        layer.set_weights(arrays)
    x = array(2, 5, 5, 2)
    np.testing.assert_allclose(outputs(model, x), outputs(expected, x), atol=1e-5)
    for said in ("groups of DepthwiseConv2D (dw)", "fused", "axis", "Conv2DTranspose", "dtype of"):
        assert said in note
    assert not isinstance(model.input, list)


def lstm(**more):
    inner = {"name": "lstm", "units": 2, "time_major": False, "implementation": 2, **more}
    return entry("LSTM", **inner)


def test_recurrent_layers_lose_time_major_inside_wrappers_too(tmp_path):
    inner = lstm(batch_input_shape=[None, 6, 3], return_sequences=True)
    config = sequential(
        entry("Bidirectional", name="both", layer=inner, merge_mode="concat"),
        entry("TimeDistributed", name="each", layer=entry("Dense", name="inner", units=2)),
    )
    half = [array(3, 8), array(2, 8), array(8)]
    weights = {"both": [*half, *half], "each": [array(4, 2), array(2)]}
    model, (note,) = load_model_with_notes(write(tmp_path / "m.h5", config, weights))
    assert "left out time_major of LSTM (both/lstm)" in note
    expected = keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2)),
        ]
    )
    expected.set_weights([*weights["both"], *weights["each"]])
    x = array(2, 6, 3)
    np.testing.assert_allclose(outputs(model, x), outputs(expected, x), atol=1e-6)


def test_an_entry_that_changes_something_is_refused(tmp_path):
    config = sequential(lstm(batch_input_shape=[None, 6, 3], time_major=True))
    with pytest.raises(ModelError, match="time_major=True") as caught:
        load_model(write(tmp_path / "m.h5", config, {"lstm": []}))
    assert "lstm" in str(caught.value.where)


def test_a_gru_without_reset_after_is_the_older_one(tmp_path):
    config = sequential(entry("GRU", name="g", units=2, batch_input_shape=[None, 4, 3]))
    weights = {"g": [array(3, 6), array(2, 6), array(6)]}
    model, (note,) = load_model_with_notes(write(tmp_path / "m.h5", config, weights))
    assert model.get_layer("g").reset_after is False
    assert "reset_after=False" in note


def old_hard(z):
    return np.clip(0.2 * z + 0.5, 0, 1)


def test_a_hard_sigmoid_keeps_its_old_slope(tmp_path):
    config = sequential(
        lstm(batch_input_shape=[None, 4, 3], recurrent_activation="hard_sigmoid"),
        entry("Dense", name="d", units=2, activation="hard_sigmoid"),
    )
    kernel, recurrent, bias, last, shift = (
        array(3, 8),
        array(2, 8),
        array(8),
        array(2, 2),
        array(2),
    )
    weights = {"lstm": [kernel, recurrent, bias], "d": [last, shift]}
    path = write(tmp_path / "m.h5", config, weights, "2.2.4")
    model, (note,) = load_model_with_notes(path)
    x, h, c = array(5, 4, 3), np.zeros((5, 2)), np.zeros((5, 2))
    for step in range(4):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = old_hard(f) * c + old_hard(i) * np.tanh(g)
        h = old_hard(o) * np.tanh(c)
    np.testing.assert_allclose(outputs(model, x), old_hard(h @ last + shift), atol=1e-5)
    assert "hard sigmoid" in note


def test_a_hard_sigmoid_that_no_weights_can_steepen_is_refused(tmp_path):
    config = sequential(
        entry("Activation", name="a", activation="hard_sigmoid", batch_input_shape=[None, 4])
    )
    with pytest.raises(ModelError, match="another slope") as caught:
        load_model(write(tmp_path / "m.h5", config, {"a": []}))
    assert caught.value.where == "a"


def test_a_file_of_this_keras_needs_no_mend(tmp_path):
    i = keras.Input((6, 3))
    x = layers.Bidirectional(layers.GRU(2, recurrent_activation="hard_sigmoid"))(i)
    model = keras.Model(i, layers.Dense(2, activation="hard_sigmoid")(x))
    model.save(tmp_path / "m.h5")
    loaded, notes = load_model_with_notes(tmp_path / "m.h5")
    x = array(2, 6, 3)
    np.testing.assert_allclose(outputs(loaded, x), outputs(model, x), atol=1e-6)
    assert notes == ()


def test_an_archive_of_an_older_keras_is_mended(tmp_path):
    model = keras.Sequential([keras.Input((5, 5, 2)), layers.DepthwiseConv2D(3, name="dw")])
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1]["config"]["groups"] = 1
                content = json.dumps(config).encode()
            elif name == "metadata.json":
                content = json.dumps({"keras_version": "2.15.0"}).encode()
            old.writestr(name, content)
    loaded, (note,) = load_model_with_notes(tmp_path / "old.keras")
    x = array(2, 5, 5, 2)
    np.testing.assert_allclose(outputs(loaded, x), outputs(model, x), atol=1e-6)
    assert "Keras 2.15.0" in note
    assert "groups" in note


@pytest.fixture
def pair(dense, tmp_path):
    """An architecture and its weights in two files."""
    path, config, x, expected = dense
    with h5py.File(path) as file:
        weights = {"d": [file[f"model_weights/d/d/w{index}:0"][()] for index in (0, 1)]}
    folder = tmp_path / "pair"
    folder.mkdir()
    text = json.dumps({**config, "keras_version": "2.2.4", "backend": "tensorflow"})
    (folder / "net.json").write_text(text)
    with h5py.File(folder / "net.h5", "w") as file:
        write_weights(file, weights)
    return folder, x, expected


def test_an_architecture_finds_its_weights_beside_it(pair):
    folder, x, expected = pair
    for name, said in (("net.json", "weights from net.h5"), ("net.h5", "architecture from net")):
        model, notes = load_model_with_notes(folder / name)
        np.testing.assert_allclose(outputs(model, x), expected, atol=1e-6)
        assert said in notes[0]


def test_weights_can_be_given(pair):
    folder, x, expected = pair
    (folder / "net.h5").rename(folder / "trained.bin")
    model = load_model(folder / "net.json", weights=folder / "trained.bin")
    np.testing.assert_allclose(outputs(model, x), expected, atol=1e-6)
    with pytest.raises(ModelError, match="architecture alone"):
        load_model(folder / "net.json")
    with pytest.raises(ModelError, match="no such model file"):
        load_model(folder / "net.json", weights=folder / "none.h5")


def test_weights_of_this_keras_go_with_an_architecture(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    (tmp_path / "m.json").write_text(model.to_json())
    model.save_weights(tmp_path / "m.weights.h5")
    x = array(2, 4)
    np.testing.assert_array_equal(outputs(load_model(tmp_path / "m.json"), x), outputs(model, x))


def test_weights_of_another_model_are_one_clear_error(pair):
    folder, _, _ = pair
    with h5py.File(folder / "other.h5", "w") as file:
        write_weights(file, {"d": [array(5, 3), array(3)]})
    with pytest.raises(ModelError, match="do not fit") as caught:
        load_model(folder / "net.json", weights=folder / "other.h5")
    assert "\n" not in str(caught.value)


def test_a_model_without_a_shape_names_the_layer(tmp_path):
    path = write(tmp_path / "m.h5", sequential(entry("Dense", name="d", units=3)), {"d": []})
    with pytest.raises(ModelError, match="'d' is not built"):
        load_model(path)
