"""Small trained models for the tests of quantization."""

from functools import cache

import keras
import numpy as np
from keras import layers

from secateur import read
from secateur.formats.sessions import open_session
from secateur.steps.training import fit


def convolved(x, filters, size=3):
    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def image_model():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 3), name="image")
    x = convolved(x, 16)
    y = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(convolved(x, 16)))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D()(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(convolved(x, 24, 1))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def table_model():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((12,), name="row")
    x = layers.BatchNormalization()(layers.Dense(192)(x))
    x = layers.Dense(192, activation="gelu")(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(3)(x))


def sequence_model():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((12, 4), name="steps")
    x = layers.Dense(32, activation="relu")(layers.LSTM(48)(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def attention_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 4), name="steps")
    x = layers.Dense(32)(inputs)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(4, 16)(x, x)]))
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


SHAPES = {
    image_model: (8, 8, 3),
    table_model: (12,),
    sequence_model: (12, 4),
    attention_model: (12, 4),
}


@cache
def trained(build):
    """Return a trained model and its data; tests must not change them."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    x = rng.normal(size=(600, *SHAPES[build])).astype("float32")
    x.reshape(600, -1)[:, :3] += 4 * np.eye(3)[y]
    data = read((x, y))
    return fit(build(), data, epochs=6, learning_rate=3e-3)[0], data


def predicted(path, x):
    """Return the first output of an ONNX file."""
    session = open_session(path)
    return session.run(None, {session.get_inputs()[0].name: x})[0]
