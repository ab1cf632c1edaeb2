"""Wirings of image models that have a name of their own."""

import keras
from keras import layers, ops

from zoo.core import conv, head, wiring


@wiring
def feature_pyramid():
    x = i = keras.Input((16, 16, 3))
    levels = []
    for filters in (16, 24, 32):
        x = conv(x, filters, strides=2)
        levels.append(x)
    top = layers.Conv2D(16, 1)(levels[-1])
    found = [top]
    for level in levels[-2::-1]:
        up = layers.UpSampling2D()(found[-1])
        found.append(layers.Add()([layers.Conv2D(16, 1)(level), up]))
    shared = layers.Conv2D(4, 1, name="prediction")
    return keras.Model(i, [shared(conv(p, 16)) for p in found])


@wiring
def dense_block():
    x = i = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same")(x)
    for _ in range(3):
        y = layers.Conv2D(24, 1)(layers.ReLU()(layers.BatchNormalization()(x)))
        y = layers.Conv2D(8, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(y)))
        x = layers.Concatenate()([x, y])
    x = layers.AveragePooling2D(2)(layers.Conv2D(20, 1)(layers.BatchNormalization()(x)))
    return keras.Model(i, head(x))


@wiring
def channel_and_spatial_attention():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 24)
    squeeze, excite = layers.Dense(8, "relu"), layers.Dense(24)
    pooled = (layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x))
    scale = ops.sigmoid(layers.Add()([excite(squeeze(p)) for p in pooled]))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 24))(scale)])
    maps = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
    where = layers.Conv2D(1, 5, padding="same", activation="sigmoid")(layers.Concatenate()(maps))
    return keras.Model(i, head(conv(layers.Multiply()([x, where]), 16)))


@wiring
def resnext():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 32)
    y = conv(conv(x, 32, 1), 32, groups=4)
    y = layers.BatchNormalization()(layers.Conv2D(32, 1, use_bias=False)(y))
    return keras.Model(i, head(layers.ReLU()(layers.Add()([x, y]))))


@wiring
def depthwise_and_grouped_pointwise():
    x = i = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(conv(x, 32))
    x = layers.Conv2D(48, 1, groups=4, activation="relu")(x)
    x = layers.Conv2D(24, 1, groups=2)(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    return keras.Model(i, head(conv(x, 16)))


@wiring
def shuffle_unit():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 32)
    for _ in range(2):
        kept, y = ops.split(x, 2, axis=-1)
        y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(conv(y, 16, 1)))
        x = layers.Concatenate()([kept, conv(y, 16, 1)])
        x = layers.Permute((1, 2, 4, 3))(layers.Reshape((8, 8, 2, 16))(x))
        x = layers.Reshape((8, 8, 32))(x)
    return keras.Model(i, head(conv(x, 24, 1)))


@wiring
def space_to_depth():
    x = i = keras.Input((8, 8, 3))
    x = ops.reshape(conv(x, 16), (-1, 4, 2, 4, 2, 16))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, 4, 64))
    return keras.Model(i, head(conv(x, 24)))


@wiring
def xception():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 16)
    for filters in (24, 32):
        y = layers.SeparableConv2D(filters, 3, padding="same")(layers.ReLU()(x))
        y = layers.SeparableConv2D(filters, 3, padding="same")(layers.BatchNormalization()(y))
        y = layers.MaxPooling2D(2, padding="same")(y)
        x = layers.Add()([y, layers.Conv2D(filters, 1, strides=2)(x)])
    return keras.Model(i, head(x))


@wiring
def branches_merged():
    x = i = keras.Input((8, 8, 3))
    x = conv(x, 16)
    x = layers.Average()([conv(x, 24, size) for size in (1, 3, 5)])
    x = layers.Maximum()([layers.Conv2D(24, 3, padding="same", activation="tanh")(x), x])
    return keras.Model(i, head(layers.Minimum()([conv(x, 24), layers.LeakyReLU()(x)])))


@wiring
def upsampled_and_resized():
    x = i = keras.Input((8, 8, 3))
    x = layers.UpSampling2D(2, interpolation="bilinear")(conv(x, 16))
    x = ops.image.resize(conv(x, 16), (12, 12))
    x = layers.Resizing(8, 8)(layers.CenterCrop(10, 10)(conv(x, 24)))
    return keras.Model(i, layers.Conv2D(2, 1)(layers.ZeroPadding2D(1)(x)))


@wiring
def cropped_skip():
    x = i = keras.Input((12, 12, 3))
    a = layers.Conv2D(16, 3, activation="relu")(x)
    b = layers.Conv2D(24, 3, activation="relu")(layers.MaxPooling2D()(a))
    up = layers.Conv2DTranspose(16, 2, strides=2)(b)
    x = layers.Concatenate()([layers.Cropping2D(2)(a), up])
    return keras.Model(i, layers.Conv2D(3, 1)(layers.Conv2D(16, 3, activation="relu")(x)))


@wiring
def preprocessing_inside():
    x = i = keras.Input((10, 10, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip()(layers.Rescaling(1 / 127.5, -1)(x)))
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x)
    x = conv(layers.RandomZoom(0.1)(layers.Resizing(8, 8)(x)), 16)
    x = layers.GaussianNoise(0.1)(layers.RandomTranslation(0.1, 0.1)(x))
    return keras.Model(i, head(conv(x, 24)))


@wiring
def siamese_with_distance():
    one, two = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    x = i = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(conv(conv(x, 16), 24))
    encode = keras.Model(i, layers.Dense(16)(x), name="encoder")
    apart = ops.square(encode(one) - encode(two))
    distance = ops.sqrt(ops.sum(apart, axis=-1, keepdims=True) + 1e-6)
    return keras.Model([one, two], layers.Dense(1, "sigmoid")(distance))


@wiring
def nested_called_twice():
    x = i = keras.Input((8, 8, 16))
    block = keras.Model(i, layers.Add()([conv(conv(x, 24), 16), x]), name="block")
    x = i = keras.Input((8, 8, 3))
    return keras.Model(i, head(block(block(conv(x, 16)))))


@wiring
def nested_in_nested():
    x = i = keras.Input((8, 8, 8))
    inner = keras.Model(i, conv(x, 16), name="inner")
    x = i = keras.Input((8, 8, 3))
    features = keras.Model(i, [conv(x, 8), inner(conv(x, 8))], name="features")
    x = i = keras.Input((8, 8, 3))
    low, high = features(x)
    return keras.Model(i, head(conv(layers.Concatenate()([low, high]), 16)))


@wiring
def spectrally_normalised():
    x = i = keras.Input((8, 8, 3))
    x = layers.SpectralNormalization(layers.Conv2D(16, 3, strides=2, activation="relu"))(x)
    x = layers.SpectralNormalization(layers.Conv2D(24, 3))(layers.LeakyReLU()(x))
    x = layers.SpectralNormalization(layers.Dense(16, "relu"))(layers.Flatten()(x))
    return keras.Model(i, layers.Dense(1)(x))


@wiring
def pooled_by_operations():
    x = i = keras.Input((8, 8, 3))
    x = ops.max_pool(conv(x, 16), 2, 2)
    x = ops.average_pool(conv(x, 24), 2, 1, padding="same")
    x = layers.AdaptiveAveragePooling2D((2, 2))(x)
    return keras.Model(i, layers.Dense(4)(layers.Flatten()(x)))


@wiring
def several_scales_in():
    large, small = keras.Input((16, 16, 3)), keras.Input((8, 8, 3))
    x = layers.Concatenate()([conv(large, 16, strides=2), conv(small, 16)])
    return keras.Model([large, small], [head(conv(x, 24)), layers.Conv2D(2, 1)(x)])
