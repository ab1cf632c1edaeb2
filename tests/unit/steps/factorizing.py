"""What tests of `Factorize` share: data of few directions, and a net that reads it."""

import keras
import numpy as np
from keras import layers

from secateur.data.read import read
from zoo import randomised


def made_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 24)) + 0.05 * rng.normal(size=(400, 24))
    return read((x.astype("float32"), (x[:, 0] * x[:, 1] > 0).astype("int32")))


def net():
    x = i = keras.Input((24,), name="array")
    x = layers.Dense(64, "relu", name="first")(x)
    x = layers.Dense(64, "relu", name="second")(x)
    return randomised(keras.Model(i, layers.Dense(2, "softmax", name="last")(x)))
