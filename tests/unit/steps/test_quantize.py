import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from secateur import read
from secateur.errors import ArtifactError, DataError, ModelError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.formats.artifact import TensorSpec
from secateur.formats.calls import uses
from secateur.formats.fake import fake_quantized
from secateur.formats.grids import Quantization
from secateur.formats.int8 import operators, to_onnx_int8
from secateur.formats.onnx import export, to_onnx
from secateur.formats.overflow import overflows
from secateur.formats.parity import agreement, compare_rounded
from secateur.formats.predictor import Predictor
from secateur.graph.weights import to_numpy
from secateur.steps.chain import chain
from secateur.steps.equalize import equalize
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.quantize import Quantize, judged
from unit.steps.quantized import (
    attention_model,
    image_model,
    predicted,
    sequence_model,
    table_model,
    trained,
)
from zoo import inputs_of, model_of, outputs, some, writes_files


@writes_files
@pytest.mark.parametrize(
    ("build", "options", "kind"),
    [
        (image_model, {}, "QLinearConv"),
        (image_model, {"calibration": "mse", "equalize": False}, "QLinearConv"),
        (image_model, {"mode": "weights"}, None),
        (table_model, {}, "QGemm"),
        (table_model, {"mode": "dynamic"}, "DynamicQuantizeMatMul"),
        (table_model, {"mode": "weights", "bits": 4}, "MatMulNBits"),
        (sequence_model, {"mode": "dynamic"}, "DynamicQuantizeLSTM"),
        (sequence_model, {"mode": "weights"}, None),
        (attention_model, {}, None),
    ],
)
def test_the_int8_file_answers_as_the_fake_quantized_model(build, options, kind, tmp_path):
    model, data = trained(build)
    before = [np.array(weight) for weight in model.weights]
    result = Quantize(**options)(model, data)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))
    assert result.quantization is not None
    x, _ = data.train.sample(400)
    fake = to_numpy(fake_quantized(result.model, result.quantization)(x, training=False))
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    assert agreement(fake, predicted(tmp_path / "int8.onnx", x)) >= 0.99
    assert judged(result.model, result.quantization, x) >= 0.97
    found = operators(tmp_path / "int8.onnx")
    assert kind is None or found.get(kind)
    if kind == "QLinearConv":
        assert not {"Conv", "FusedConv", "Add", "Relu", "Clip"} & set(found)
    assert result.after.bytes < 0.32 * result.before.bytes


@writes_files
def test_a_large_file_is_a_quarter(tmp_path):
    x = inputs = keras.Input((256,))
    for _ in range(3):
        x = layers.Dense(1024, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(4)(x))
    rng = np.random.default_rng(0)
    data = read((rng.normal(size=(200, 256)).astype("float32"), rng.integers(0, 4, 200)))
    result = Quantize()(model, data)
    to_onnx(model, tmp_path / "float.onnx")
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    sizes = [(tmp_path / name).stat().st_size for name in ("int8.onnx", "float.onnx")]
    assert sizes[0] <= 0.255 * sizes[1]


@writes_files
def test_training_with_rounding_learns_the_steps(tmp_path):
    model, data = trained(image_model)
    plain = Quantize(calibration="percentile")(model, data)
    result = Quantize(calibration="percentile", epochs=1, learning_rate=1e-3)(model, data)
    assert result.quantization.weights.keys() == plain.quantization.weights.keys()
    assert result.quantization.activations != plain.quantization.activations
    assert {type(each).__module__.split(".")[0] for each in result.model.layers} == {"keras"}
    for path, grid in result.quantization.weights.items():
        (weight,) = (each for each in result.model.weights if each.path == path)
        np.testing.assert_array_equal(grid.rounded(np.array(weight)), np.array(weight))
    fake = fake_quantized(result.model, result.quantization)
    x, _ = data.train.sample(400)
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    assert agreement(to_numpy(fake(x)), predicted(tmp_path / "int8.onnx", x)) >= 0.99
    assert evaluate(fake, data.validation).accuracy >= (
        evaluate(model, data.validation).accuracy - 0.05
    )


@writes_files
def test_the_artifact_carries_the_int8_file(tmp_path):
    model, data = trained(image_model)
    result = Quantize()(model, data)
    x, _ = data.validation.sample(200)
    made = export(result.model, tmp_path / "a", quantization=result.quantization, sample=x)
    assert made.manifest.parity.agreement >= 0.99
    fake = fake_quantized(result.model, result.quantization)
    assert agreement(to_numpy(fake(x)), Predictor(tmp_path / "a").predict(x)) >= 0.99
    saved = (tmp_path / "a" / "quantization.json").read_text()
    assert Quantization.from_json(saved) == result.quantization


def test_the_result_loads_where_secateur_is_not_installed(tmp_path):
    model, data = trained(image_model)
    result = Quantize()(model, data)
    result.model.save(tmp_path / "m.keras")
    program = f"""
import sys
sys.modules["secateur"] = None
import keras
print(len(keras.models.load_model({str(tmp_path / "m.keras")!r}, safe_mode=True).layers))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(len(result.model.layers)), done.stderr


def test_widths_of_a_pruned_model_stay():
    model, data = trained(image_model)
    pruned = Prune(macs=0.6, by="l2", round_to=2)(model, data).model
    widths = [each.filters for each in pruned.layers if isinstance(each, layers.Conv2D)]
    result = Quantize()(pruned, data)
    kept = [each.filters for each in result.model.layers if isinstance(each, layers.Conv2D)]
    assert kept == widths


def test_a_step_behind_it_drops_the_quantization():
    model, data = trained(table_model)
    assert chain(Quantize())(model, data).quantization is not None

    def tune(model, data):
        return FineTune(epochs=1)(model, data)

    assert chain(Quantize(), tune)(model, data).quantization is None


@writes_files
def test_layers_that_are_kept_stay_in_float32(tmp_path):
    model, data = trained(image_model)
    first = next(each.name for each in model.layers if isinstance(each, layers.Conv2D))
    result = Quantize(keep=(f"{first[:-1]}?",))(model, data)
    assert result.quantization.kept[first] == "kept as asked"
    assert not any(path.startswith(f"{first}/") for path in result.quantization.weights)
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")


def test_no_drop_allowed_keeps_what_is_sensitive():
    model, data = trained(image_model)
    tight = Quantize(max_drop=0.0, samples=200)(model, data)
    assert any("sensitive layers" in note.what for note in tight.notes)
    whole = evaluate(model, data.validation).accuracy
    fake = fake_quantized(tight.model, tight.quantization)
    assert evaluate(fake, data.validation).accuracy >= whole - 1e-6


def test_training_with_rounding_keeps_its_last_good_state(tmp_path):
    model, data = trained(table_model)
    step = Quantize(epochs=2, learning_rate=1e20, batch_size=100, checkpoint=str(tmp_path / "c"))
    with pytest.raises(ModelError, match="the loss became"):
        step(model, data)
    step = dataclasses.replace(step, learning_rate=1e-4, epochs=1)
    first = step(model, data)
    again = dataclasses.replace(step, resume=True)(model, data)
    assert again.quantization == first.quantization
    assert dict(again.curves)["quantized, trained"].epochs == 1


@writes_files
def test_a_bias_that_a_convolution_takes_is_not_added_twice(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 4))
    x = layers.Conv1D(8, 3, name="conv", bias_initializer="ones")(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    x = np.random.default_rng(0).normal(size=(400, 16, 4)).astype("float32")
    result = Quantize(keep=("conv",))(model, read((x, x[:, 0, 0] > 0)))
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    fake = to_numpy(fake_quantized(result.model, result.quantization)(x, training=False))
    np.testing.assert_allclose(predicted(tmp_path / "int8.onnx", x), fake, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(5))
def test_every_wiring_can_be_stored_in_integers(name, tmp_path):
    model = model_of(name)
    x = inputs_of(model)
    result = Quantize(mode="weights")(model)
    found = fake_quantized(result.model, result.quantization)
    for one, other in zip(outputs(result.model, x), outputs(found, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_reduced_range_holds_where_ranges_are_found_at_each_call():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16), layers.Dense(2)])
    one, other = (
        Quantize(mode="dynamic", reduce_range=reduced)(model) for reduced in (True, False)
    )
    assert {grid.bits for grid in one.quantization.weights.values()} == {7}
    # Seven bits are stored in a byte.
    assert one.after.bytes == other.after.bytes


@writes_files
def test_the_processor_says_how_many_bits_weights_have(monkeypatch, tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16), layers.Dense(2)])
    data = read((np.random.default_rng(0).normal(size=(80, 8)).astype("float32"), [0, 1] * 40))
    for answer, bits in ((True, 7), (False, 8)):
        monkeypatch.setattr("secateur.steps.quantize.overflows", lambda told=answer: told)
        result = Quantize()(model, data)
        assert {grid.bits for grid in result.quantization.weights.values()} == {bits}
        assert any("on this processor" in note.what for note in result.notes)
    monkeypatch.setattr("secateur.formats.parity.overflows", lambda: True)
    path, sample = tmp_path / "m.onnx", np.ones((8, 8), "float32")
    to_onnx(model, path)
    inputs = (TensorSpec(name=model.inputs[0].name, dtype="float32", shape=(None, 8)),)

    def wrong(feed):
        return 1 - predicted(path, sample)

    assert result.quantization.wide
    with pytest.raises(ArtifactError, match=r"overflow .* reduce_range=True"):
        compare_rounded(wrong, path, inputs, sample, least=0.99, wide=True)


def test_nearly_dead_channels_are_not_equalized_at_the_cost_of_others():
    keras.utils.set_random_seed(0)
    first, last = layers.Dense(8, "relu"), layers.Dense(2)
    model = keras.Sequential([keras.Input((4,)), first, last])
    kernel = to_numpy(first.kernel).copy()
    kernel[:, :2] *= 1e-7
    first.set_weights([kernel, np.array([0.5, 0.5, 0.1, 0, 0, -0.1, 0, 0.2])])
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    before = to_numpy(model(x))
    assert equalize(*uses(model)) == 1
    np.testing.assert_allclose(to_numpy(model(x)), before, rtol=1e-4, atol=1e-6)
    assert np.abs(to_numpy(first.bias)).max() <= 0.5 + 1e-6
    assert np.abs(to_numpy(first(x))).max() < 10


def test_weights_of_seven_bits_overflow_nowhere():
    assert not overflows(63)
    assert Quantize()._bits()[0] == (7 if overflows() else 8)


@writes_files
def test_the_dynamic_file_rounds_what_the_model_rounds_and_nothing_else(tmp_path):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((3, 8), name="steps")
    x = layers.Dense(16, activation="relu", name="first")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)])
    x = layers.TimeDistributed(layers.Dense(16))(x)
    x = layers.Bidirectional(layers.LSTM(8))(x)
    model = keras.Model(inputs, layers.Dense(4, name="last")(x))
    result = Quantize(mode="dynamic", reduce_range=True, keep=("last",))(model)
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    rows = np.random.default_rng(0).normal(size=(32, 3, 8)).astype("float32")
    fake = to_numpy(fake_quantized(result.model, result.quantization)(rows, training=False))
    np.testing.assert_allclose(predicted(tmp_path / "int8.onnx", rows), fake, atol=5e-3)
    found = operators(tmp_path / "int8.onnx")
    assert found["DynamicQuantizeLSTM"] == 1
    assert found.get("DynamicQuantizeMatMul", 0) + found.get("MatMulIntegerToFloat", 0) == 1
    assert found.get("MatMul", 0) >= 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "half"}, "no mode 'half'"),
        ({"to": "int3"}, "no to 'int3'"),
        ({"bits": 5}, "no bits 5"),
        ({"bits": 4}, "4 goes with mode='weights'"),
        ({"calibration": "best"}, "no calibration 'best'"),
        ({"epochs": 2, "mode": "dynamic"}, "mode='static'"),
        ({"reduce_range": True, "mode": "weights"}, "reduce_range"),
        ({"max_drop": float("nan")}, "max_drop"),
        ({"mode": "weights", "calibration": "mse"}, "calibration: it is for fixed ranges"),
        ({"mode": "dynamic", "equalize": False}, "equalize: it is for fixed ranges"),
        ({"samples": -5}, "samples must be a whole number from 1, received -5"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"epochs": 1.5}, "epochs must be a whole number from 0, received 1.5"),
        ({"keep": "dense"}, r"Write keep=\('dense',\)"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, words):
    with pytest.raises(PlanError, match=words):
        Quantize(**options)


def test_data_that_cannot_calibrate_is_refused():
    model, data = trained(table_model)
    with pytest.raises(DataError, match="static quantization needs data"):
        Quantize()(model)
    with pytest.raises(DataError, match="at least 32 rows, and received 20"):
        Quantize(samples=20)(model, data)
    with pytest.raises(ModelError, match=r"samples of shape \(12\)"):
        Quantize()(model, trained(image_model)[1])
    with pytest.raises(DataError, match=r"received tuple\. Read it first"):
        Quantize()(model, (1, 2))
    with pytest.raises(PlanError, match="no layer 'nobody'"):
        Quantize(keep=("nobody",))(model, data)


def test_inputs_are_told_apart_by_their_names():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    frame["d"], frame["e"] = rng.choice(["x", "y"], 200), rng.choice(["p", "q"], 200)
    frame["late"] = np.where(frame.a > 0, "yes", "no")
    numeric = keras.Input((3,), name="numeric")
    categorical = keras.Input((2,), dtype="int32", name="categorical")
    embedded = layers.Flatten()(layers.Embedding(4, 2)(categorical))
    both = layers.Dense(8, activation="relu")(layers.Concatenate()([numeric, embedded]))
    outputs = layers.Dense(2, activation="softmax")(both)
    # Their names are not in this order.
    model = keras.Model([numeric, categorical], outputs)
    result = Quantize()(model, read(frame, target="late"))
    assert result.quantization is not None
    assert result.quantization.activations


def test_a_quantization_of_another_model_is_refused(tmp_path):
    model, data = trained(table_model)
    other, _ = trained(image_model)
    made = Quantize()(model, data).quantization
    with pytest.raises(ModelError, match="another model"):
        to_onnx_int8(other, made, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="quantization"):
        Quantization.from_json(json.dumps({"mode": "none"}))
