"""Wirings with layers that normalise across units: a cut changes what the others become."""

import keras
from keras import layers, ops

from zoo.core import conv, head, wiring


@wiring
def normalised_otherwise():
    x = i = keras.Input((8, 8, 3))
    x = layers.GroupNormalization(1)(layers.Conv2D(16, 3)(x))
    x = layers.GroupNormalization(24)(layers.Conv2D(24, 1)(layers.ReLU()(x)))
    x = layers.RMSNormalization()(layers.Conv2D(16, 1)(x))
    x = layers.UnitNormalization()(layers.Dense(24)(layers.GlobalMaxPooling2D()(x)))
    return keras.Model(i, layers.Dense(3)(layers.LayerNormalization(center=False)(x)))


@wiring
def normalised_by_operations():
    x = i = keras.Input((12,))
    x = ops.rms_normalization(layers.Dense(24)(x))
    x = ops.normalize(layers.Dense(16, "relu")(x), axis=-1)
    return keras.Model(i, layers.Dense(3)(ops.layer_normalization(layers.Dense(20)(x))))


@wiring
def convnext():
    x = i = keras.Input((8, 8, 3))
    x = layers.LayerNormalization()(layers.Conv2D(16, 2, strides=2)(x))
    for _ in range(2):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
        x = layers.Add()([x, layers.Dense(16)(layers.Dense(48, activation="gelu")(y))])
    return keras.Model(i, head(x))


@wiring
def pre_norm_transformer():
    x = i = keras.Input((6, 5))
    x = layers.Dense(32)(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(y, y)])
        y = layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dropout(0.1)(layers.Dense(32)(y))])
    x = layers.LayerNormalization()(x)
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@wiring
def mlp_mixer():
    x = i = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 2, strides=2)(x))
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(16)(layers.Dense(32, activation="gelu")(y))
    x = layers.Add()([x, layers.Permute((2, 1))(y)])
    y = layers.Dense(48, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(24)(y)])
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@wiring
def squeezed_inputs_normalised():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 16)
    x = layers.BatchNormalization(scale=False, center=False)(layers.Conv2D(24, 1)(x))
    x = layers.GroupNormalization(4, scale=False)(layers.Conv2D(16, 1)(x))
    return keras.Model(i, head(x))
