"""Wirings of `keras.ops` in functional models."""

import keras
from keras import layers, ops

from zoo.core import conv, wiring


@wiring
def operations():
    x = i = keras.Input((8, 8, 3))
    x = ops.relu(layers.Conv2D(16, 3, padding="same")(x))
    y = ops.silu(layers.Conv2D(16, 3, padding="same")(x)) * 0.5
    x = ops.transpose(x + y, (0, 3, 1, 2))
    x = ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (-1, 64, 16))
    return keras.Model(i, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


@wiring
def split_and_stacked():
    x = i = keras.Input((8, 8, 3))
    a, b = ops.split(conv(x, 32), 2, axis=-1)
    x = ops.concatenate([a, conv(b, 16)], axis=-1)
    x = ops.mean(x, axis=(1, 2))
    first, rest = x[:, :8], x[..., 8:]
    return keras.Model(i, layers.Dense(3)(ops.concatenate([rest, first * 2.0], axis=1)))


@wiring
def einsum():
    x = i = keras.Input((6, 8))
    x = layers.EinsumDense("abc,cde->abde", (None, 4, 6), bias_axes="de", activation="relu")(x)
    x = layers.EinsumDense("abde,def->abf", (None, 16), bias_axes="f")(x)
    y = layers.EinsumDense("...x,xy->...y", 16)(x)
    x = ops.einsum("bti,btj->bij", x, y)
    return keras.Model(i, layers.Dense(2)(layers.Flatten()(x)))


@wiring
def taken():
    x = i = keras.Input((6, 5))
    x = layers.Conv1D(24, 3, padding="same", activation="relu")(x)
    x = ops.take(x, [0, 2, 3], axis=1)
    x = ops.take(layers.Dense(20)(x), list(range(0, 16)), axis=-1)
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@wiring
def taken_along_axis():
    x, place = keras.Input((6, 5)), keras.Input((2, 1), dtype="int32")
    y = layers.Dense(16, "relu")(layers.Dense(24, "relu")(x))
    y = ops.take_along_axis(y, ops.mod(place, 6), axis=1)
    return keras.Model([x, place], layers.Dense(3)(layers.Flatten()(y)))


@wiring
def looked_up_in_time():
    x, place = keras.Input((6, 5)), keras.Input((6,), dtype="int32")
    y = layers.Conv1D(16, 3, padding="same", activation="relu")(x)
    chosen = ops.expand_dims(ops.one_hot(ops.mod(place, 6), 6), 1)[:, 0]
    y = ops.matmul(chosen, layers.Dense(24)(y))
    return keras.Model([x, place], layers.Dense(3)(ops.mean(y, axis=1)))


@wiring
def stacked_and_unstacked():
    x = i = keras.Input((6, 5))
    steps = ops.unstack(layers.Dense(16, "relu")(x), axis=1)
    x = ops.stack([layers.Dense(16)(step) for step in steps[:3]], axis=1)
    x = ops.mean(x, axis=1) + ops.stack(steps[3:], axis=-1)[..., 0]
    return keras.Model(i, layers.Dense(3)(x))


@wiring
def statistics_pooling():
    x = i = keras.Input((6, 5))
    x = layers.Conv1D(16, 3, activation="relu")(x)
    x = layers.Dense(24)(x)
    found = [ops.mean(x, 1), ops.std(x, 1), ops.var(x, 1), ops.max(x, 1), ops.logsumexp(x, axis=1)]
    norm = ops.norm(x, axis=1)
    x = ops.concatenate([*found, norm, ops.sum(x, 1), ops.median(x, axis=1)], axis=-1)
    return keras.Model(i, layers.Dense(3)(layers.Dense(16, "relu")(x)))


@wiring
def across_time():
    x = i = keras.Input((6, 5))
    x = ops.cumsum(layers.Dense(16, "relu")(x), axis=1)
    y = ops.sort(layers.Dense(16)(x), axis=1)
    z = ops.softmax(layers.Dense(16)(x), axis=1) + ops.log_softmax(y, axis=1)
    return keras.Model(i, layers.Dense(3)(ops.pad(z, [[0, 0], [2, 1], [0, 0]])[:, 2]))


@wiring
def chosen_by_condition():
    x = i = keras.Input((12,))
    x = layers.Dense(24)(layers.Dense(16, "relu")(x))
    x = ops.where(x > 0.1, x, 0.2 * x)
    x = ops.where(ops.logical_and(x > -1, x < 1), layers.Dense(24)(x), ops.sign(x))
    return keras.Model(i, layers.Dense(3)(ops.clip(x, -2, 2)))


@wiring
def indexed():
    x = i = keras.Input((6, 5))
    x = layers.Dense(24)(layers.Dense(16, "relu")(x))
    a = x[:, 0, None, :8]
    b = x[:, 1:3, 4:12]
    c = x[..., -8:][:, -1][:, None]
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(ops.concatenate([a, b, c], axis=1))))


@wiring
def distances():
    x = i = keras.Input((12,))
    x = layers.Dense(16)(layers.Dense(24, "relu")(x))
    y = layers.Dense(16)(layers.Dense(24, "tanh")(i))
    far = ops.norm(x - y, axis=-1, keepdims=True)
    near = ops.sum(ops.absolute(x - y), axis=-1, keepdims=True)
    return keras.Model(i, ops.concatenate([far, near, ops.sum(x * y, -1, keepdims=True)], axis=-1))


@wiring
def nearest():
    x = i = keras.Input((12,))
    x = layers.Dense(16, "relu")(layers.Dense(24, "relu")(x))
    best = ops.argmax(layers.Dense(5)(x), axis=-1)
    y = layers.Dense(24, "relu")(ops.one_hot(best, 5))
    return keras.Model(i, layers.Dense(3)(ops.concatenate([x, y], axis=-1)))


@wiring
def outer_product():
    one, two = keras.Input((6,)), keras.Input((8,))
    a, b = layers.Dense(12, "relu")(one), layers.Dense(16, "relu")(two)
    x = layers.Flatten()(a[:, :, None] * b[:, None, :])
    return keras.Model([one, two], layers.Dense(2)(x))


@wiring
def bilinear_pooling():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 24)
    a = ops.reshape(conv(x, 12), (-1, 64, 12))
    b = ops.reshape(conv(x, 16), (-1, 64, 16))
    x = ops.matmul(ops.transpose(a, (0, 2, 1)), b) * (1 / 64)
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@wiring
def triangular():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    scores = ops.matmul(layers.Dense(24)(x), ops.transpose(layers.Dense(24)(x), (0, 2, 1)))
    y = ops.matmul(ops.tril(scores) * 0.2, x)
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))
