"""Wirings of image models."""

import keras
from keras import layers

from zoo.core import conv, head, wiring


@wiring
def vgg():
    x = i = keras.Input((12, 12, 3))
    x = layers.MaxPooling2D()(conv(x, 16))
    x = layers.AveragePooling2D(2)(conv(x, 24))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(32, "relu")(x)
    return keras.Model(i, layers.Dense(4, "softmax")(x))


@wiring
def residual():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 16)
    for _ in range(2):
        y = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(conv(x, 24)))
        x = layers.ReLU()(layers.Add()([x, y]))
    y = layers.Conv2D(32, 1, strides=2)(x)
    x = layers.Add()([y, layers.Conv2D(32, 3, strides=2, padding="same")(conv(x, 24))])
    return keras.Model(i, head(x))


@wiring
def concatenation():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 16)
    x = layers.Concatenate()([x, conv(x, 8), conv(x, 16, 1)])
    x = layers.BatchNormalization()(x)
    x = layers.Concatenate()([conv(x, 16), i])
    return keras.Model(i, head(conv(x, 16)))


@wiring
def concatenation_of_residuals():
    x = i = keras.Input((8, 8, 3))
    a, b, c = conv(x, 16), conv(x, 8), conv(x, 24)
    x = layers.Add()([layers.Concatenate()([a, b]), c])
    return keras.Model(i, head(conv(layers.Concatenate()([x, a]), 16)))


@wiring
def squeeze_and_excitation():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 24)
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Conv2D(24, 1, activation="sigmoid")(layers.Conv2D(8, 1, activation="relu")(s))
    x = layers.Multiply()([x, s])
    s = layers.Reshape((1, 1, 24))(layers.Dense(24, "sigmoid")(layers.GlobalMaxPooling2D()(x)))
    return keras.Model(i, head(layers.Multiply()([x, s])))


@wiring
def inverted_residual():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 16)
    y = conv(x, 48, 1)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1, use_bias=False)(y)
    y = layers.Conv2D(16, 1)(layers.ReLU(6.0)(layers.BatchNormalization()(y)))
    return keras.Model(i, head(layers.Add()([x, y])))


@wiring
def depth_multiplier():
    x = i = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(conv(x, 16))
    x = layers.SeparableConv2D(24, 3, depth_multiplier=2, activation="relu")(x)
    return keras.Model(i, head(x))


@wiring
def grouped():
    x = i = keras.Input((8, 8, 4))
    x = conv(x, 32)
    x = layers.Conv2D(64, 3, groups=2, padding="same")(x)
    return keras.Model(i, head(conv(x, 16)))


@wiring
def nested():
    x = i = keras.Input((8, 8, 16))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(x))
    block = keras.Model(i, layers.Add()([i, x]), name="block")
    tail = keras.Sequential([layers.Conv2D(24, 3), layers.PReLU(), layers.Flatten()], name="tail")
    x = i = keras.Input((8, 8, 3))
    x = block(conv(x, 16))
    return keras.Model(i, layers.Dense(4)(tail(x)))


@wiring
def u_net():
    x = i = keras.Input((8, 8, 3))
    a = conv(x, 16)
    b = conv(layers.MaxPooling2D()(a), 32)
    up = layers.Conv2DTranspose(16, 2, strides=2)(b)
    x = conv(layers.Concatenate()([a, up]), 16)
    x = layers.Concatenate()([x, layers.UpSampling2D()(b)])
    return keras.Model(i, layers.Conv2D(2, 1)(x))


@wiring
def padded_and_cropped():
    x = i = keras.Input((8, 8, 3))
    x = layers.Cropping2D(1)(layers.ZeroPadding2D(2)(conv(x, 16)))
    x = layers.Permute((3, 1, 2))(x)
    x = layers.Permute((2, 3, 1))(x)
    x = layers.Reshape((-1, 16))(x)
    return keras.Model(i, layers.Dense(4)(layers.Flatten()(layers.Dense(8, "relu")(x))))


@wiring
def volume():
    x = i = keras.Input((6, 6, 6, 2))
    x = layers.Conv3D(16, 3, activation="elu")(x)
    x = layers.Conv3DTranspose(16, 2)(layers.MaxPooling3D(2)(x))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling3D()(x)))


@wiring
def normalised():
    x = i = keras.Input((8, 8, 3))
    x = layers.GroupNormalization(4)(layers.Conv2D(32, 3)(x))
    x = layers.LayerNormalization()(layers.Conv2D(24, 1)(layers.ReLU()(x)))
    x = layers.GroupNormalization(-1)(layers.Conv2D(16, 1)(x))
    return keras.Model(i, head(x))


@wiring
def rescaled_image():
    x = i = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(x)
    return keras.Model(i, head(conv(conv(x, 16), 16)))


@wiring
def channel_shuffle():
    x = i = keras.Input((8, 8, 4))
    x = layers.Conv2D(32, 1, groups=2)(layers.Conv2D(16, 1)(x))
    x = layers.Reshape((8, 8, 2, 16))(x)
    x = layers.Reshape((8, 8, 32))(layers.Permute((1, 2, 4, 3))(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    return keras.Model(i, head(layers.Conv2D(16, 1, activation="relu")(x)))


@wiring
def pixel_shuffle():
    x = i = keras.Input((4, 4, 3))
    x = conv(x, 64)
    x = keras.ops.reshape(x, (-1, 4, 4, 2, 2, 16))
    x = keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 8, 8, 16))
    return keras.Model(i, layers.Conv2D(3, 3)(x))
