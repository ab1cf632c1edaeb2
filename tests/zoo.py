"""Tiny models, one a wiring. Every law is tried on every one of them."""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from own_layers import Block, ClassToken, Twofold

ZOO: dict[str, Callable[[], keras.Model]] = {}


def wiring(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    ZOO[build.__name__] = build
    return build


def model_of(name: str, seed: int = 0) -> keras.Model:
    """Build a model of the zoo with weights that leave no unit like another."""
    return randomised(ZOO[name](), seed)


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if not np.issubdtype(np.dtype(weight.dtype), np.floating):
            continue
        value = rng.normal(0, 0.4, weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            value = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
    return model


def inputs_of(model: keras.Model, rows: int = 5, seed: int = 1):
    rng = np.random.default_rng(seed)
    found = []
    for tensor in model.inputs:
        shape = (rows, *(length or 16 for length in tensor.shape[1:]))
        if np.issubdtype(np.dtype(tensor.dtype), np.integer):
            found.append(rng.integers(0, 8, shape).astype(tensor.dtype))
        else:
            found.append(rng.normal(size=shape).astype(tensor.dtype))
    return found if len(found) > 1 else found[0]


def outputs(model, x):
    """Compute a model's outputs as a list of arrays."""
    found = model(x, training=False)
    return [np.asarray(value) for value in (found if isinstance(found, list) else [found])]


def assert_same(one, other, tolerance=1e-4):
    """Compare lists of arrays, relative to the largest value of each."""
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def _conv(x, filters, size=3, **options):
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _head(x, units=4):
    return layers.Dense(units)(layers.GlobalAveragePooling2D()(x))


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
def vgg():
    x = i = keras.Input((12, 12, 3))
    x = layers.MaxPooling2D()(_conv(x, 16))
    x = layers.AveragePooling2D(2)(_conv(x, 24))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(32, "relu")(x)
    return keras.Model(i, layers.Dense(4, "softmax")(x))


@wiring
def residual():
    x = i = keras.Input((8, 8, 3))
    x = _conv(x, 16)
    for _ in range(2):
        y = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(_conv(x, 24)))
        x = layers.ReLU()(layers.Add()([x, y]))
    y = layers.Conv2D(32, 1, strides=2)(x)
    x = layers.Add()([y, layers.Conv2D(32, 3, strides=2, padding="same")(_conv(x, 24))])
    return keras.Model(i, _head(x))


@wiring
def concatenation():
    x = i = keras.Input((8, 8, 3))
    x = _conv(x, 16)
    x = layers.Concatenate()([x, _conv(x, 8), _conv(x, 16, 1)])
    x = layers.BatchNormalization()(x)
    x = layers.Concatenate()([_conv(x, 16), i])
    return keras.Model(i, _head(_conv(x, 16)))


@wiring
def concatenation_of_residuals():
    x = i = keras.Input((8, 8, 3))
    a, b, c = _conv(x, 16), _conv(x, 8), _conv(x, 24)
    x = layers.Add()([layers.Concatenate()([a, b]), c])
    return keras.Model(i, _head(_conv(layers.Concatenate()([x, a]), 16)))


@wiring
def squeeze_and_excitation():
    x = i = keras.Input((8, 8, 3))
    x = _conv(x, 24)
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Conv2D(24, 1, activation="sigmoid")(layers.Conv2D(8, 1, activation="relu")(s))
    x = layers.Multiply()([x, s])
    s = layers.Reshape((1, 1, 24))(layers.Dense(24, "sigmoid")(layers.GlobalMaxPooling2D()(x)))
    return keras.Model(i, _head(layers.Multiply()([x, s])))


@wiring
def inverted_residual():
    x = i = keras.Input((8, 8, 3))
    x = _conv(x, 16)
    y = _conv(x, 48, 1)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1, use_bias=False)(y)
    y = layers.Conv2D(16, 1)(layers.ReLU(6.0)(layers.BatchNormalization()(y)))
    return keras.Model(i, _head(layers.Add()([x, y])))


@wiring
def depth_multiplier():
    x = i = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(_conv(x, 16))
    x = layers.SeparableConv2D(24, 3, depth_multiplier=2, activation="relu")(x)
    return keras.Model(i, _head(x))


@wiring
def grouped():
    x = i = keras.Input((8, 8, 4))
    x = _conv(x, 32)
    x = layers.Conv2D(64, 3, groups=2, padding="same")(x)
    return keras.Model(i, _head(_conv(x, 16)))


@wiring
def nested():
    x = i = keras.Input((8, 8, 16))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(x))
    block = keras.Model(i, layers.Add()([i, x]), name="block")
    tail = keras.Sequential([layers.Conv2D(24, 3), layers.PReLU(), layers.Flatten()], name="tail")
    x = i = keras.Input((8, 8, 3))
    x = block(_conv(x, 16))
    return keras.Model(i, layers.Dense(4)(tail(x)))


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
def sequence():
    x = i = keras.Input((16, 4))
    x = layers.MaxPooling1D(2)(layers.Conv1D(16, 3, padding="same", activation="relu")(x))
    x = layers.SpatialDropout1D(0.1)(layers.SeparableConv1D(24, 3, padding="same")(x))
    x = layers.GRU(16, return_sequences=True)(x)
    return keras.Model(i, layers.Dense(3)(layers.LSTM(16)(x)))


@wiring
def u_net():
    x = i = keras.Input((8, 8, 3))
    a = _conv(x, 16)
    b = _conv(layers.MaxPooling2D()(a), 32)
    up = layers.Conv2DTranspose(16, 2, strides=2)(b)
    x = _conv(layers.Concatenate()([a, up]), 16)
    x = layers.Concatenate()([x, layers.UpSampling2D()(b)])
    return keras.Model(i, layers.Conv2D(2, 1)(x))


@wiring
def padded_and_cropped():
    x = i = keras.Input((8, 8, 3))
    x = layers.Cropping2D(1)(layers.ZeroPadding2D(2)(_conv(x, 16)))
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
    return keras.Model(i, _head(x))


@wiring
def operations():
    x = i = keras.Input((8, 8, 3))
    x = keras.ops.relu(layers.Conv2D(16, 3, padding="same")(x))
    y = keras.ops.silu(layers.Conv2D(16, 3, padding="same")(x)) * 0.5
    x = keras.ops.transpose(x + y, (0, 3, 1, 2))
    x = keras.ops.reshape(keras.ops.transpose(x, (0, 2, 3, 1)), (-1, 64, 16))
    return keras.Model(i, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


@wiring
def rescaled_image():
    x = i = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(x)
    return keras.Model(i, _head(_conv(_conv(x, 16), 16)))


@wiring
def split_and_stacked():
    x = i = keras.Input((8, 8, 3))
    a, b = keras.ops.split(_conv(x, 32), 2, axis=-1)
    x = keras.ops.concatenate([a, _conv(b, 16)], axis=-1)
    x = keras.ops.mean(x, axis=(1, 2))
    first, rest = x[:, :8], x[..., 8:]
    return keras.Model(i, layers.Dense(3)(keras.ops.concatenate([rest, first * 2.0], axis=1)))


@wiring
def channel_shuffle():
    x = i = keras.Input((8, 8, 4))
    x = layers.Conv2D(32, 1, groups=2)(layers.Conv2D(16, 1)(x))
    x = layers.Reshape((8, 8, 2, 16))(x)
    x = layers.Reshape((8, 8, 32))(layers.Permute((1, 2, 4, 3))(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    return keras.Model(i, _head(layers.Conv2D(16, 1, activation="relu")(x)))


@wiring
def pixel_shuffle():
    x = i = keras.Input((4, 4, 3))
    x = _conv(x, 64)
    x = keras.ops.reshape(x, (-1, 4, 4, 2, 2, 16))
    x = keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 8, 8, 16))
    return keras.Model(i, layers.Conv2D(3, 3)(x))


def _transformer(x, heads=4, size=8, attention=None):
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
    x = _transformer(_transformer(x))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@wiring
def attention_with_scores():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    y, scores = layers.MultiHeadAttention(4, 8, value_dim=12)(x, x, return_attention_scores=True)
    x = layers.Dense(3)(keras.ops.mean(x + y, axis=1))
    return keras.Model(i, [x, keras.ops.mean(scores, axis=1)])


@wiring
def grouped_query_attention():
    x = i = keras.Input((6, 5))
    x = layers.Dense(16)(x)
    x = _transformer(x, attention=layers.GroupQueryAttention(8, 8, 4))
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@wiring
def attention_by_hand():
    x = i = keras.Input((6, 5))
    x = layers.Dense(24)(x)
    q, k, v = (
        keras.ops.transpose(keras.ops.reshape(layers.Dense(32)(x), (-1, 6, 4, 8)), (0, 2, 1, 3))
        for _ in range(3)
    )
    scores = keras.ops.matmul(q, keras.ops.transpose(k, (0, 1, 3, 2))) * 0.3
    y = keras.ops.matmul(keras.ops.softmax(scores, axis=-1), v)
    y = keras.ops.reshape(keras.ops.transpose(y, (0, 2, 1, 3)), (-1, 6, 32))
    x = x + layers.Dense(24)(y)
    return keras.Model(i, layers.Dense(3)(keras.ops.max(x, axis=1)))


@wiring
def einsum():
    x = i = keras.Input((6, 8))
    x = layers.EinsumDense("abc,cde->abde", (None, 4, 6), bias_axes="de", activation="relu")(x)
    x = layers.EinsumDense("abde,def->abf", (None, 16), bias_axes="f")(x)
    y = layers.EinsumDense("...x,xy->...y", 16)(x)
    x = keras.ops.einsum("bti,btj->bij", x, y)
    return keras.Model(i, layers.Dense(2)(layers.Flatten()(x)))


@wiring
def recurrent():
    x = i = keras.Input((6, 5))
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(x)
    x, *states = layers.LSTM(16, return_sequences=True, return_state=True)(x)
    x = layers.LSTM(16, return_sequences=True)(x, initial_state=states)
    x = layers.Bidirectional(layers.GRU(12), merge_mode="sum")(x)
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def time_distributed():
    x = i = keras.Input((4, 8, 8, 3))
    x = layers.TimeDistributed(layers.Conv2D(16, 3, activation="relu"))(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.SimpleRNN(16)(layers.TimeDistributed(layers.Dense(12, "relu"))(x))
    return keras.Model(i, layers.Dense(2)(x))


@wiring
def convolutional_lstm():
    x = i = keras.Input((4, 6, 6, 2))
    x = layers.ConvLSTM2D(12, 3, return_sequences=True, padding="same")(x)
    return keras.Model(i, _head(layers.ConvLSTM2D(8, 3)(x)))


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
    x = _transformer(x, 3, 8)
    return keras.Model(i, layers.Dense(3)(x[:, 0]))


NORMALISES_ACROSS_UNITS = {"normalised"}
CLASSES_OF_ONES_OWN = {"blocks_of_ones_own", "patches_and_class_token"}
