"""Code, and what else a file can hold that is not loaded."""

import json
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.ops import convert_to_numpy as to_numpy

from secateur.errors import ModelError
from secateur.models import files
from secateur.models.load import load_model
from unit.models.oldfiles import array, entry, functional, sequential, write


def start(**more):
    return entry("InputLayer", name="i", batch_input_shape=[None, 4], **more)


def old_lambda(function, kind="lambda"):
    return entry("Lambda", name="twice", function=function, function_type=kind, arguments={})


CODE = {
    "a lambda": (old_lambda(["4wEAAAA=\n", None, None]), "'twice' is a Lambda layer"),
    "a named function": (old_lambda("f", "function"), "'twice' is a Lambda layer"),
    "a class": (entry("Mine", name="own"), "'own' is a Mine"),
    "a class in a wrapper": (
        entry("TimeDistributed", name="t", layer=entry("Mine", name="own")),
        "'own' is a Mine",
    ),
    "a registered class": (
        entry("Mine", name="own") | {"module": "a.b", "registered_name": "P>Mine"},
        "P>Mine",
    ),
    "an initializer": (
        entry("Dense", name="d", units=2, kernel_initializer=entry("MyInit", seed=1)),
        "'d' is a MyInit",
    ),
    "an operation": (entry("TFOpLambda", name="op", function="math.add"), "'op' is a TFOpLambda"),
    "a layer that is gone": (entry("CuDNNLSTM", name="fast", units=2), "'fast' is a CuDNNLSTM"),
}


@pytest.mark.parametrize(("layer", "message"), CODE.values(), ids=CODE)
def test_code_is_refused_by_the_name_of_its_layer(layer, message, tmp_path):
    path = write(tmp_path / "m.h5", functional(start(), layer), {})
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert message in str(caught.value)
    assert "custom_objects" in caught.value.mend or "keras.ops" in caught.value.mend
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layer", [CODE["a lambda"][0], CODE["a named function"][0]])
def test_a_lambda_runs_the_function_that_the_user_gives(layer, tmp_path):
    path = write(tmp_path / "m.h5", functional(start(), layer), {"i": [], "twice": []})
    model = load_model(path, custom_objects={"twice": lambda x: x * 2})
    x = array(2, 4)
    np.testing.assert_array_equal(to_numpy(model(x)), x * 2)


def test_a_lambda_in_an_archive_runs_the_users_function_and_not_its_own(tmp_path):
    twice = layers.Lambda(lambda x: x * 3, name="twice")
    keras.Sequential([keras.Input((4,)), twice]).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="'twice' is a Lambda"):
        load_model(tmp_path / "m.keras")
    model = load_model(tmp_path / "m.keras", custom_objects={"twice": lambda x: x * 2})
    x = array(2, 4)
    np.testing.assert_array_equal(to_numpy(model(x)), x * 2)


class Mine(layers.Layer):
    def call(self, x):
        return x + 1


def test_a_class_of_the_users_is_taken_where_it_is_given(tmp_path):
    config = sequential(entry("Mine", name="own", batch_input_shape=[None, 4]))
    model = load_model(write(tmp_path / "m.h5", config, {}), custom_objects={"Mine": Mine})
    x = array(2, 4)
    np.testing.assert_array_equal(to_numpy(model(x)), x + 1)


def test_an_activation_of_the_users_is_asked_for(tmp_path):
    layer = entry("Dense", name="d", units=2, activation="mine", batch_input_shape=[None, 4])
    path = write(tmp_path / "m.h5", sequential(layer), {"d": [array(4, 2), array(2)]})
    with pytest.raises(ModelError, match="'d' needs the function 'mine'"):
        load_model(path)
    assert load_model(path, custom_objects={"mine": lambda x: x}).count_params() == 10


@pytest.mark.parametrize(
    ("about", "message"),
    [({"version": "1.2.2"}, "Keras 1.2.2"), ({"backend": "theano"}, "theano backend")],
)
def test_weights_that_meant_something_else_are_refused(about, message, tmp_path):
    path = write(tmp_path / "m.h5", functional(start()), {}, **about)
    with pytest.raises(ModelError, match=message):
        load_model(path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.pkl"])
def test_nothing_is_unpickled(name, tmp_path):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="a pickle"):
        load_model(tmp_path / name)


def test_an_attribute_that_is_no_text_is_not_read(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = np.arange(3)
    with pytest.raises(ModelError, match="'model_config' is not text"):
        load_model(tmp_path / "m.h5")


def test_a_config_is_read_up_to_a_length(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_CONFIG", 100)
    config = sequential(entry("Dense", name="d" * 100, units=2, batch_input_shape=[None, 4]))
    write(tmp_path / "m.h5", config, {})
    (tmp_path / "m.json").write_text(json.dumps(config))
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    for name in ("m.h5", "m.json", "m.keras"):
        with pytest.raises(ModelError, match="at most 100 are read"):
            load_model(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "{}", '{"a": ' + "[" * 100_000, '{"class_name": 3}'])
def test_json_that_is_no_architecture_is_one_clear_error(text, tmp_path):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "m.json")
    assert caught.value.mend


def test_a_zip_that_is_no_model_is_one_clear_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path / "m.keras")


def test_a_saved_model_folder_says_what_it_is(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="SavedModel"):
        load_model(tmp_path)
