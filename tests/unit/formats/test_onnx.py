"""Conversion keeps inputs, outputs, any batch size, silence, and the model it was given."""

import json
import os

import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

from secateur.errors import ArtifactError, ModelError, OutputError
from secateur.formats.artifact import Artifact
from secateur.formats.onnx import export, to_onnx


def convolutional():
    image = keras.Input((12, 12, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.Add()([x, layers.BatchNormalization()(y)]))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax")(x))


def table():
    numeric = keras.Input((5,), name="numeric")
    codes = keras.Input((2,), dtype="int32", name="categorical")
    known = layers.Normalization(mean=np.arange(5.0), variance=np.full(5, 2.0))(numeric)
    words = layers.Flatten()(layers.Embedding(9, 4)(codes))
    x = layers.Concatenate()([known, words])
    return keras.Model({"numeric": numeric, "categorical": codes}, layers.Dense(2)(x))


def recurrent():
    sequence = keras.Input((6, 3), name="sequence")
    x = layers.Conv1D(4, 3, padding="same")(sequence)
    x = layers.LSTM(5, return_sequences=True)(x)
    return keras.Model(sequence, layers.Dense(2)(layers.GRU(4)(x)))


def sequential():
    return keras.Sequential(
        [keras.Input((7,), name="seven"), layers.Dense(1, activation="sigmoid")]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x["left"]) + x["right"]


def subclassed():
    model = Subclassed()
    model({"left": np.zeros((2, 5), "float32"), "right": np.zeros((2, 3), "float32")})
    return model


def transformer():
    tokens = keras.Input((6, 8), name="tokens")
    x = layers.Dense(16, activation="gelu")(tokens)
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(16)(y)])
    return keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def grouped_photo():
    image = keras.Input((8, 8, 6), name="image")
    x = layers.Conv2D(12, 3, groups=3, padding="same", activation="gelu")(image)
    x = layers.Conv2D(8, 3, strides=2, groups=4)(x)
    return keras.Model(image, layers.Conv2D(8, 3, dilation_rate=2, groups=2, padding="same")(x))


def grouped_sequence():
    sequence = keras.Input((8, 6), name="sequence")
    x = layers.Conv1D(12, 3, groups=3, padding="causal", dilation_rate=2)(sequence)
    return keras.Model(sequence, layers.LSTM(4)(x))


def grouped_volume():
    volume = keras.Input((5, 6, 7, 4), name="volume")
    x = layers.Conv3D(6, 3, padding="same")(volume)
    return keras.Model(volume, layers.Conv3D(6, 3, groups=3, padding="same", strides=2)(x))


MODELS = [
    convolutional,
    table,
    recurrent,
    sequential,
    subclassed,
    transformer,
    grouped_photo,
    grouped_sequence,
    grouped_volume,
]


def feed_of(session, rows, seed=0):
    random = np.random.default_rng(seed)
    types = {"tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(float)": "float32"}
    return {
        value.name: random.integers(0, 9, (rows, *value.shape[1:])).astype(types[value.type])
        for value in session.get_inputs()
    }


@pytest.mark.parametrize("build", MODELS)
def test_converted_equals_model_at_any_batch(build, tmp_path):
    model = build()
    to_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    for rows in (1, 7):
        feed = feed_of(session, rows)
        x = feed if len(feed) > 1 else next(iter(feed.values()))
        expected = np.asarray(model(x, training=False))
        np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-5)


def test_inputs_are_named_as_keras_names_them(tmp_path):
    to_onnx(table(), tmp_path / "m.onnx")
    inputs = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()
    assert {value.name: (value.shape, value.type) for value in inputs} == {
        "numeric": (["batch", 5], "tensor(float)"),
        "categorical": (["batch", 2], "tensor(int32)"),
    }


def test_runtime_fuses_batch_normalisation_into_the_convolutions(tmp_path):
    import onnx

    model = convolutional()
    for variable in model.non_trainable_variables:
        variable.assign(np.random.default_rng(0).uniform(0.5, 1.5, variable.shape))
    to_onnx(model, tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tmp_path / "m.onnx", options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Transpose") == 1, "only the photo itself is turned, once"
    assert kinds.count("Mul") == 1, "only the rescaling is left of the multiplications"


@pytest.mark.parametrize("build", [convolutional, recurrent, sequential])
def test_model_stays_as_it_was(build, tmp_path):
    model = build()
    model.compile("adam", "mse")
    weights, config = model.get_weights(), json.dumps(model.get_config(), default=str)
    to_onnx(model, tmp_path / "m.onnx")
    assert json.dumps(model.get_config(), default=str) == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert model.compiled


@pytest.mark.parametrize("eager", [False, True])
def test_functions_run_as_they_did_before(eager, tmp_path):
    tf = pytest.importorskip("tensorflow")
    tf.config.run_functions_eagerly(eager)
    try:
        to_onnx(grouped_photo(), tmp_path / "m.onnx")
        assert tf.config.functions_run_eagerly() == eager
    finally:
        tf.config.run_functions_eagerly(False)


def test_handlers_are_not_left_to_other_conversions(tmp_path):
    tf, tf2onnx = pytest.importorskip("tensorflow"), pytest.importorskip("tf2onnx")
    to_onnx(transformer(), tmp_path / "m.onnx")
    signature = [tf.TensorSpec((None, 3), "float32", name="x")]
    function = tf.function(tf.math.erfc, input_signature=signature)
    converted, _ = tf2onnx.convert.from_function(function, signature, opset=17)
    assert "Erfc" in [node.op_type for node in converted.graph.node]


def test_nothing_is_printed(tmp_path, capfd):
    to_onnx(sequential(), tmp_path / "m.onnx")
    os.write(1, b"heard\n")
    out, err = capfd.readouterr()
    assert (out, err) == ("heard\n", "")


def test_model_that_was_never_called(tmp_path):
    with pytest.raises(ModelError, match="shape of the inputs of model 'subclassed"):
        to_onnx(Subclassed(), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_operation_without_a_counterpart(tmp_path):
    class Odd(layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.raw_ops.Betainc(a=x, b=x, x=x)

    sequence = keras.Input((6,))
    model = keras.Model(sequence, Odd()(sequence))
    with pytest.raises(ModelError, match="no counterpart for what the model does: Betainc"):
        to_onnx(model, tmp_path / "m.onnx")


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written \(No such file") as caught:
        to_onnx(sequential(), tmp_path / "absent" / "m.onnx")
    assert caught.value.where == str(tmp_path / "absent" / "m.onnx")


def test_export_states_what_it_wrote(dense, three_classes, rows, tmp_path):
    model = dense()
    artifact = export(
        model,
        tmp_path / "new" / "a",
        contract=three_classes,
        sample=rows,
        name="small",
        metrics={"accuracy": 0.5},
        recipe="name: small\n",
        data_fingerprint="f" * 64,
    )
    assert Artifact.open(tmp_path / "new" / "a") == artifact
    manifest = artifact.manifest
    assert manifest.output == "probabilities"
    assert [(s.name, s.shape, s.dtype) for s in manifest.inputs] == [
        ("numeric", (None, 5), "float32")
    ]
    assert [s.shape for s in manifest.outputs] == [(None, 3)]
    assert manifest.parity.rows == 20
    assert manifest.parity.max_difference <= manifest.parity.tolerance
    assert {entry.path for entry in manifest.files} == {
        "model.onnx",
        "model.keras",
        "contract.json",
    }
    assert manifest.contract_sha256 == three_classes.fingerprint()
    assert manifest.versions["keras"] == keras.__version__
    assert (manifest.metrics, manifest.recipe) == ({"accuracy": 0.5}, "name: small\n")


def test_keras_file_of_a_compiled_model_has_no_optimizer(dense, rows, tmp_path):
    model = dense()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rows, np.zeros(20), verbose=0)
    artifact = export(model, tmp_path / "a")
    loaded = keras.saving.load_model(artifact.path / "model.keras", safe_mode=True)
    assert not loaded.compiled
    np.testing.assert_allclose(loaded(rows), model(rows), atol=1e-6)
    assert model.compiled


def test_kind_of_output(dense, two_classes, three_classes, price, tmp_path):
    cases = [
        (dense(3, "softmax"), three_classes, "probabilities"),
        (dense(3, None), three_classes, "logits"),
        (dense(1, "sigmoid"), two_classes, "probabilities"),
        (dense(1, None), two_classes, "logits"),
        (dense(1, None), price, "value"),
        (dense(1, "sigmoid"), price, "value"),
        (dense(3, "softmax"), None, "probabilities"),
        (dense(3, None), None, "value"),
    ]
    for number, (model, contract, kind) in enumerate(cases):
        artifact = export(model, tmp_path / str(number), contract=contract)
        assert artifact.manifest.output == kind


def test_inputs_drawn_where_none_are_given(mixed, photos, tmp_path):
    numeric = keras.Input((1,), name="numeric")
    codes = keras.Input((1,), dtype="int32", name="categorical")
    words = layers.Flatten()(layers.Embedding(4, 2)(codes))
    x = layers.Dense(2, activation="softmax")(layers.Concatenate()([numeric, words]))
    model = keras.Model({"numeric": numeric, "categorical": codes}, x)
    artifact = export(model, tmp_path / "mixed", contract=mixed)
    assert {s.name: s.dtype for s in artifact.manifest.inputs} == {
        "numeric": "float32",
        "categorical": "int32",
    }
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    assert export(model, tmp_path / "photos", contract=photos).manifest.parity.rows == 64


def test_output_that_exists(dense, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="the folder exists and") as caught:
            export(dense(), tmp_path / "a", overwrite=overwrite)
        assert caught.value.where == str(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"], "nothing is left beside it"


def test_overwrite_replaces_an_artifact(dense, rows, tmp_path):
    export(dense(seed=0), tmp_path / "a")
    with pytest.raises(OutputError, match="the folder exists and is not empty"):
        export(dense(seed=1), tmp_path / "a")
    new = export(dense(seed=1), tmp_path / "a", overwrite=True)
    assert Artifact.open(tmp_path / "a").model_sha256 == new.model_sha256
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("units", "inputs", "message"),
    [
        (4, 5, "the model gives 4 numbers a row and the contract has 3 classes"),
        (3, 6, r"takes \(6,\) float32 and the contract gives \(5,\) float32"),
    ],
)
def test_model_that_does_not_fit_its_contract(units, inputs, message, three_classes, tmp_path):
    model = keras.Sequential([keras.Input((inputs,)), layers.Dense(units, activation="softmax")])
    with pytest.raises(ModelError, match=message):
        export(model, tmp_path / "a", contract=three_classes)
    assert not list(tmp_path.iterdir())


def test_several_outputs(tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, [layers.Dense(1)(x), layers.Dense(2)(x)])
    with pytest.raises(ModelError, match="the model has 2 outputs"):
        export(model, tmp_path / "a")


def test_difference_past_the_tolerance(dense, tmp_path):
    with pytest.raises(ArtifactError, match="more than the tolerance of -1"):
        export(dense(), tmp_path / "a", tolerance=-1)
    assert not list(tmp_path.iterdir())


def test_model_that_gives_nan(dense, tmp_path):
    model = dense()
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(ModelError, match="not finite numbers"):
        export(model, tmp_path / "a")


def test_metrics_become_what_json_can_hold(dense, tmp_path):
    metrics = {"r2": float("nan"), "mae": np.float32(0.5), "confusion": np.eye(2, dtype=int)}
    export(dense(), tmp_path / "a", metrics=metrics, cost={"runs": (1, 2)})
    manifest = Artifact.open(tmp_path / "a").manifest
    assert manifest.metrics == {"r2": None, "mae": 0.5, "confusion": [[1, 0], [0, 1]]}
    assert manifest.cost == {"runs": [1, 2]}
