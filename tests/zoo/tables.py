"""Wirings of models for tables and pairs of inputs."""

import keras
from keras import layers, ops

from zoo.core import wiring


@wiring
def dense():
    return keras.Sequential(
        [keras.Input((12,)), layers.Dense(24, "relu"), layers.Dense(16, "tanh"), layers.Dense(3)]
    )


@wiring
def dense_sigmoid():
    x = i = keras.Input((12,))
    x = layers.Dense(24, "sigmoid")(x)
    x = layers.Dense(16, "softplus")(x)
    return keras.Model(i, layers.Dense(3)(x))


@wiring
def shared():
    one, two = keras.Input((10,)), keras.Input((10,))
    encode = keras.Sequential([layers.Dense(24, "relu"), layers.Dense(16)], name="encoder")
    twin = layers.Dense(16, "relu")
    a, b = twin(encode(one)), twin(encode(two))
    x = layers.Concatenate()([layers.Subtract()([a, b]), layers.Maximum()([a, b])])
    return keras.Model([one, two], layers.Dense(2)(x))


@wiring
def two_outputs():
    x = i = keras.Input((12,))
    x = layers.Dense(32, "relu")(x)
    return keras.Model(i, [layers.Dense(3)(x), layers.Dense(1)(layers.Dense(16, "relu")(x))])


@wiring
def wide_and_deep():
    codes, numbers = keras.Input((2,), dtype="int32"), keras.Input((6,))
    e = layers.Flatten()(layers.Embedding(10, 8)(codes))
    x = layers.BatchNormalization()(layers.Concatenate()([e, numbers]))
    deep = layers.Dense(16, "relu")(layers.Dense(32, "relu")(x))
    return keras.Model([codes, numbers], layers.Dense(3)(layers.Concatenate()([deep, numbers])))


@wiring
def encoded_table():
    day, code, number = (keras.Input((1,), dtype=kind) for kind in ("int32", "int32", "float32"))
    day_seen = layers.CategoryEncoding(9, output_mode="one_hot")(day)
    hashed = layers.Embedding(8, 12)(layers.Hashing(8)(code))
    binned = layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], output_mode="one_hot")(number)
    x = layers.Concatenate()([day_seen, layers.Flatten()(hashed), binned, number])
    x = layers.Dense(16, "relu")(layers.Dense(32, "relu")(x))
    return keras.Model([day, code, number], layers.Dense(2)(x))


@wiring
def factorisation():
    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    u, v = layers.Embedding(10, 24)(user), layers.Embedding(12, 24)(item)
    bias = layers.Embedding(10, 1)(user)
    score = layers.Add()([layers.Dot(axes=1)([u, v]), bias])
    x = layers.Dense(16, "relu")(layers.Concatenate()([u, v, ops.multiply(u, v)]))
    return keras.Model([user, item], layers.Dense(1)(layers.Concatenate()([score, x])))


@wiring
def factorisation_behind_sigmoids():
    one, two = keras.Input((6,)), keras.Input((6,))
    a, b = (layers.Dense(16, "sigmoid")(layers.Dense(24, "relu")(x)) for x in (one, two))
    return keras.Model([one, two], layers.Dot(axes=1)([a, b]))


@wiring
def two_towers():
    one, two = keras.Input((6,)), keras.Input((8,))
    a = layers.Dense(16)(layers.Dense(24, "relu")(one))
    b = layers.Dense(16)(layers.Dense(32, "tanh")(two))
    score = layers.Dot(axes=-1, normalize=True)([a, b])
    return keras.Model([one, two], layers.Dense(2)(score))


@wiring
def cross_network():
    x = first = i = keras.Input((8,))
    first = x = layers.Dense(16)(layers.Normalization(mean=0.1, variance=2.0)(x))
    for _ in range(2):
        x = first * layers.Dense(16)(layers.Dense(8)(x)) + x
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def mixture_of_experts():
    x = i = keras.Input((8,))
    gates = layers.Dense(3, "softmax")(x)
    experts = [layers.Dense(16)(layers.Dense(24, "relu")(x)) for _ in range(3)]
    mixed = ops.einsum("be,bed->bd", gates, ops.stack(experts, axis=1))
    return keras.Model(i, layers.Dense(2)(ops.relu(mixed)))


@wiring
def gated_residual():
    x = i = keras.Input((8,))
    x = layers.Dense(16)(x)
    y = layers.Dense(16)(layers.Dense(24, "elu")(x))
    gate = layers.Dense(16, "sigmoid")(x)
    return keras.Model(i, layers.Dense(2)(gate * y + (1.0 - gate) * x))


@wiring
def autoencoder():
    x = i = keras.Input((12,))
    x = layers.Dense(8, "relu", name="code")(layers.Dense(24, "relu")(x))
    return keras.Model(i, [layers.Dense(12)(layers.Dense(24, "relu")(x)), layers.Dense(2)(x)])
