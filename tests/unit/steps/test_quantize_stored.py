"""Weights that are stored in integers, and multiplied in float32, beside products in integers."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur import read
from secateur.cost.runtimes import open_runner
from secateur.formats.fake import fake_quantized
from secateur.formats.int8 import to_onnx_int8
from secateur.formats.parity import agreement
from secateur.graph.weights import to_numpy
from secateur.steps.quantize import Quantize
from unit.steps.quantized import attention_model, predicted, sequence_model, trained
from zoo import writes_files


@pytest.mark.parametrize("epochs", [0, 1])
def test_what_has_no_integer_operator_is_stored_in_integers_all_the_same(epochs):
    model, data = trained(attention_model)
    result = Quantize(epochs=epochs)(model, data)
    assert [str(note) for note in result.notes if "multiplied in float32" in str(note)]
    assert not result.quantization.kept
    kernels = [each for each in result.model.weights if each.path.endswith("kernel")]
    assert {each.path for each in kernels} == set(result.quantization.weights)
    for kernel in kernels:
        values = to_numpy(kernel)
        grid = result.quantization.weights[kernel.path]
        np.testing.assert_allclose(grid.rounded(values), values, rtol=1e-6)
        assert abs(grid.codes(values)).max() == grid.high


def test_a_recurrent_layer_that_stays_says_which_mode_has_integers_for_it():
    model, data = trained(sequence_model)
    kept = Quantize()(model, data).quantization.kept
    assert [why for why in kept.values() if "mode dynamic has one" in why]


@writes_files
@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Bidirectional(layers.LSTM(6)),
        lambda: layers.MultiHeadAttention(2, 8),
        lambda: layers.TimeDistributed(layers.Dense(6)),
        lambda: layers.SeparableConv1D(6, 3),
        lambda: layers.Conv1DTranspose(6, 3),
        lambda: layers.EinsumDense("abc,cd->abd", (12, 6)),
    ],
    ids=["recurrent", "attention", "distributed", "separable", "transposed", "einsum"],
)
def test_openvino_takes_what_is_stored_beside_products_in_integers(layer, tmp_path):
    pytest.importorskip("openvino")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 4))
    x = layers.Dense(8, activation="relu")(inputs)
    x = layer()(x, x) if isinstance(layer(), layers.MultiHeadAttention) else layer()(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    x = np.random.default_rng(0).normal(size=(400, 12, 4)).astype("float32")
    result = Quantize()(model, read((x, x[:, 0, 0] > 0)))
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    runner = open_runner(tmp_path / "int8.onnx", "openvino")
    found = runner.run({runner.inputs[0].name: x})[0]
    fake = to_numpy(fake_quantized(result.model, result.quantization)(x, training=False))
    assert agreement(fake, found) >= 0.98


@writes_files
def test_a_stored_weight_that_the_file_has_otherwise_stays_in_float32(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 6))
    # Steps on two axes of the kernel, which no operator takes.
    x = layers.EinsumDense("abc,bcd->abd", (4, 8))(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    x = np.random.default_rng(0).normal(size=(400, 4, 6)).astype("float32")
    result = Quantize()(model, read((x, x[:, 0, 0] > 0)))
    to_onnx_int8(result.model, result.quantization, tmp_path / "int8.onnx")
    fake = to_numpy(fake_quantized(result.model, result.quantization)(x, training=False))
    assert agreement(fake, predicted(tmp_path / "int8.onnx", x)) >= 0.99
