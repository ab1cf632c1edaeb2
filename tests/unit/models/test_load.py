import keras
import numpy as np
import pytest
from keras import layers
from keras.ops import convert_to_numpy as to_numpy

from secateur.errors import ModelError
from secateur.models.load import load_model


@pytest.fixture
def model() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
def test_load_gives_the_model_that_was_saved(model, ending, tmp_path):
    path = tmp_path / f"m{ending}"
    model.save(path)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(to_numpy(load_model(path)(x)), to_numpy(model(x)))


def test_a_missing_file_names_what_is_there(model, tmp_path):
    model.save(tmp_path / "right.keras")
    with pytest.raises(ModelError, match="no such model file") as caught:
        load_model(tmp_path / "wrong.keras")
    assert "right.keras" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a model"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_damaged_file_is_one_clear_error(content, ending, tmp_path):
    path = tmp_path / f"m{ending}"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_one_clear_error(model, tmp_path):
    path = tmp_path / "m.keras"
    model.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(path)


def test_something_that_is_no_model_file_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="this is a folder"):
        load_model(tmp_path)
    (tmp_path / "m.pt").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"a model is a \.keras archive"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(ending, tmp_path):
    path = tmp_path / f"m{ending}"
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2)]).save(path)
    with pytest.raises(ModelError, match="Lambda"):
        load_model(path)


def test_weights_without_a_model_are_told_apart(model, tmp_path):
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ModelError, match="weights alone"):
        load_model(tmp_path / "m.weights.h5")


class Doubling(layers.Layer):
    def call(self, x):
        return x * 2


def test_a_class_of_the_users_own_is_asked_for(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), Doubling()]).save(path)
    with pytest.raises(ModelError, match="custom_objects"):
        load_model(path)
    loaded = load_model(path, custom_objects={"Doubling": Doubling})
    np.testing.assert_array_equal(to_numpy(loaded(np.ones((1, 4), "float32"))), 2 * np.ones((1, 4)))


def test_a_real_trained_model_loads(shared_data):
    model = load_model(shared_data / "models" / "kazuhito_keypoint.keras")
    assert model.count_params() == 1103


@pytest.mark.parametrize("kind", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_a_layer_that_runs_another_program_is_refused(model, kind, tmp_path):
    import json
    import zipfile

    model.save(tmp_path / "plain.keras")
    with (
        zipfile.ZipFile(tmp_path / "plain.keras") as source,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][-1] |= {"class_name": kind, "config": {"name": "evil"}}
                content = json.dumps(config)
            target.writestr(name, content)
    with pytest.raises(ModelError, match=f"'evil' is a {kind}: a program"):
        load_model(tmp_path / "m.keras")


def test_only_a_lambda_is_called_one(tmp_path):
    from secateur.models.load import _explain

    assert "a Lambda layer" in _explain(tmp_path, ValueError("a Lambda, unless safe_mode")).what
    said = _explain(tmp_path, ValueError("disallowed unless safe_mode=False")).what
    assert "safe_mode=False" in said
    assert "Lambda" not in said
