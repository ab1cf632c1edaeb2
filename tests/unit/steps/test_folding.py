import keras
import numpy as np
import pytest
from keras import layers

from secateur.steps.folding import fold
from zoo import assert_same, inputs_of, model_of, outputs, randomised, some


def norms(model):
    return sum(isinstance(each, layers.BatchNormalization) for each in model._flatten_layers())


@pytest.mark.parametrize("name", some(4))
def test_a_folded_model_computes_the_same(name):
    model = model_of(name)
    before = [np.array(weight) for weight in model.weights]
    folded = fold(model)
    x = inputs_of(model)
    assert_same(outputs(folded.model, x), outputs(model, x), 1e-5)
    done = [note for note in folded.notes if note.kind == "done"]
    skipped = [note for note in folded.notes if note.kind == "skipped"]
    assert norms(folded.model) <= len(skipped)
    assert norms(folded.model) == 0 or done or skipped
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))


def normed(**options):
    x = inputs = keras.Input((8, 8, 4))
    y = layers.Conv2D(6, 3, **options)(x)
    z = layers.BatchNormalization()(y)
    return inputs, y, z


def test_a_convolution_gets_the_bias_that_it_lacked():
    inputs, _, z = normed(use_bias=False)
    folded = fold(randomised(keras.Model(inputs, z))).model
    assert norms(folded) == 0
    assert folded.layers[-1].use_bias


def test_what_has_other_readers_is_left_with_the_reason():
    inputs, y, z = normed()
    (note,) = fold(randomised(keras.Model(inputs, layers.Add()([y, z])))).notes
    assert note.kind == "skipped"
    assert "something else reads" in note.what


def test_what_follows_something_else_is_left_with_the_reason():
    x = inputs = keras.Input((4,))
    (note,) = fold(keras.Model(inputs, layers.BatchNormalization()(x))).notes
    assert "follows an input" in note.what
    inputs, _, z = normed(activation="relu")
    (note,) = fold(keras.Model(inputs, z)).notes
    assert "activation of its own" in note.what


def test_an_activation_without_an_integer_operator_becomes_a_layer():
    x = inputs = keras.Input((4,))
    model = randomised(keras.Model(inputs, layers.Dense(3, activation="swish")(x)))
    folded = fold(model).model
    assert [type(each).__name__ for each in folded.layers] == ["InputLayer", "Dense", "Activation"]
    x = inputs_of(model)
    assert_same(outputs(folded, x), outputs(model, x), 1e-6)
