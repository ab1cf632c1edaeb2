"""Wirings of attention."""

import keras
import numpy as np
from keras import layers, ops

from zoo.core import wiring


def transformer(x, heads=4, size=8, attention=None):
    width = x.shape[-1]
    attention = attention or layers.MultiHeadAttention(heads, size)
    y = layers.BatchNormalization()(x)
    x = layers.Add()([x, attention(y, y)])
    y = layers.Dense(48, activation="gelu")(layers.BatchNormalization()(x))
    return layers.Add()([x, layers.Dense(width)(y)])


@wiring
def attention():
    x = i = keras.Input((6, 5))
    x = layers.Dense(32)(x)
    x = transformer(transformer(x))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@wiring
def attention_with_scores():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    y, scores = layers.MultiHeadAttention(4, 8, value_dim=12)(x, x, return_attention_scores=True)
    x = layers.Dense(3)(ops.mean(x + y, axis=1))
    return keras.Model(i, [x, ops.mean(scores, axis=1)])


@wiring
def grouped_query_attention():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    x = transformer(x, attention=layers.GroupQueryAttention(8, 8, 4))
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@wiring
def attention_by_hand():
    x = i = keras.Input((6, 5))
    x = layers.Dense(24)(x)
    q, k, v = (
        ops.transpose(ops.reshape(layers.Dense(32)(x), (-1, 6, 4, 8)), (0, 2, 1, 3))
        for _ in range(3)
    )
    scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * 0.3
    y = ops.matmul(ops.softmax(scores, axis=-1), v)
    y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, 6, 32))
    x = x + layers.Dense(24)(y)
    return keras.Model(i, layers.Dense(3)(ops.max(x, axis=1)))


@wiring
def causal_attention():
    x = i = keras.Input((6,), dtype="int32")
    seen = keras.Input((6, 6), dtype="bool")
    x = layers.Embedding(10, 24)(x)
    x = x + layers.MultiHeadAttention(4, 6)(x, x, use_causal_mask=True)
    x = x + layers.MultiHeadAttention(2, 12)(x, x, attention_mask=seen)
    return keras.Model([i, seen], layers.Dense(10)(layers.Dense(32, "relu")(x)))


@wiring
def masked_attention():
    x = i = keras.Input((6,), dtype="int32")
    x = layers.Embedding(10, 24, mask_zero=True)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 6)(x, x)])
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@wiring
def cross_attention():
    source, target = keras.Input((6, 4)), keras.Input((5, 3))
    memory = transformer(layers.Dense(16)(source), 2, 8)
    x = layers.Dense(24)(target)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 6)(x, x, use_causal_mask=True)])
    x = layers.Add()([x, layers.MultiHeadAttention(4, 6)(x, memory, memory)])
    return keras.Model([source, target], layers.Dense(4)(layers.Dense(32, "relu")(x)))


@wiring
def swiglu():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    gate = layers.Dense(32, activation="silu", use_bias=False)(x)
    x = x + layers.Dense(16, use_bias=False)(gate * layers.Dense(32, use_bias=False)(x))
    gate, value = ops.split(layers.Dense(48, use_bias=False)(x), 2, axis=-1)
    x = x + layers.Dense(16, use_bias=False)(ops.silu(gate) * value)
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def _rotated(x, steps, size):
    """Turn pairs of a head's positions by an angle that grows with the step."""
    angles = np.outer(np.arange(steps), 10.0 ** -np.arange(size // 2))
    angles = np.concatenate([angles, angles], axis=-1)[:, None].astype("float32")
    half = ops.concatenate([-x[..., size // 2 :], x[..., : size // 2]], axis=-1)
    return x * np.cos(angles) + half * np.sin(angles)


@wiring
def rotary_attention():
    x = i = keras.Input((6, 5))
    x = layers.Dense(24)(x)
    q, k, v = (ops.reshape(layers.Dense(32)(x), (-1, 6, 4, 8)) for _ in range(3))
    y = ops.dot_product_attention(_rotated(q, 6, 8), _rotated(k, 6, 8), v)
    x = x + layers.Dense(24)(ops.reshape(y, (-1, 6, 32)))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@wiring
def attention_layers():
    x = i = keras.Input((6, 5))
    q, k = layers.Conv1D(16, 3, padding="same")(x), layers.Conv1D(16, 3, padding="same")(x)
    v = layers.Conv1D(24, 1)(x)
    x = layers.Attention(use_scale=True)([q, v, k])
    y = layers.AdditiveAttention()([layers.Dense(16)(q), layers.Dense(16)(k)])
    x = layers.GlobalAveragePooling1D()(layers.Concatenate()([x, y]))
    return keras.Model(i, layers.Dense(3)(x))


@wiring
def attention_pooling():
    x = i = keras.Input((6, 5))
    x = layers.Dense(24, "tanh")(x)
    scores = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(16, "tanh")(x)))
    return keras.Model(i, layers.Dense(3)(ops.sum(x * scores, axis=1)))


@wiring
def linear_attention():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    q, k, v = (layers.Dense(24)(x) for _ in range(3))
    context = ops.einsum("btk,btv->bkv", ops.relu(k), v)
    y = ops.einsum("btk,bkv->btv", ops.relu(q), context)
    return keras.Model(i, layers.Dense(3)(layers.GlobalMaxPooling1D()(x + layers.Dense(16)(y))))


@wiring
def memory_tokens():
    x = i = keras.Input((8, 8, 3))
    x = layers.Reshape((-1, 16))(layers.Conv2D(16, 2, strides=2, activation="relu")(x))
    x = layers.Concatenate(axis=1)([x[:, :1], transformer(x, 2, 8)])
    return keras.Model(i, layers.Dense(3)(ops.mean(x[:, 1:], axis=1) + x[:, 0]))
