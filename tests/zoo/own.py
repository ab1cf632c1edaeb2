"""Wirings with layers of one's own."""

import keras
from keras import layers

from own_layers import (
    Block,
    ClassToken,
    GlobalResponse,
    Projection,
    StandardisedConv,
    TiedEmbedding,
    Twofold,
)
from zoo.attention import transformer
from zoo.core import conv, head, wiring

# The cut model has layers of these classes still.
CLASSES = {
    "blocks_of_ones_own",
    "convolutions_by_operations",
    "global_response",
    "patches_and_class_token",
    "projection_by_operations",
    "tied_embedding",
}


@wiring
def blocks_of_ones_own():
    x = i = keras.Input((8,))
    x = Block(16, 32)(layers.Dense(16)(x))
    x = Block(16, 24)(x)
    return keras.Model(i, layers.Dense(2)(layers.Dense(16, "relu")(x)))


@wiring
def block_that_must_be_laid_open():
    x = i = keras.Input((8,))
    x = Twofold(24)(layers.Dense(16)(x))
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def patches_and_class_token():
    x = i = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 2, strides=2)(x))
    x = ClassToken()(x)
    x = transformer(x, 3, 8)
    return keras.Model(i, layers.Dense(3)(x[:, 0]))


@wiring
def tied_embedding():
    i = keras.Input((6,), dtype="int32")
    table = TiedEmbedding(10, 16)
    x = table(i)
    x = layers.Add()([x, layers.Dense(16)(layers.Dense(32, "relu")(x))])
    return keras.Model(i, table(x, project=True))


@wiring
def convolutions_by_operations():
    x = i = keras.Input((8, 8, 3))
    x = StandardisedConv(16, groupwise=True)(conv(x, 16))
    return keras.Model(i, head(StandardisedConv(24)(layers.ReLU()(x))))


@wiring
def global_response():
    x = i = keras.Input((8, 8, 3))
    x = GlobalResponse()(conv(x, 16))
    return keras.Model(i, head(conv(x, 24)))


@wiring
def projection_by_operations():
    x = i = keras.Input((12,))
    x = Projection(24)(layers.Dense(16, "relu")(x))
    return keras.Model(i, layers.Dense(3)(layers.Dense(16, "relu")(x)))
