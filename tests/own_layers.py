"""Layers such as users write: blocks, and weights that a layer owns itself."""

import keras
from keras import layers


@keras.saving.register_keras_serializable("zoo")
class Block(layers.Layer):
    """A block of one's own: two layers and a weight that it owns itself."""

    def __init__(self, width, hidden, **options):
        super().__init__(**options)
        self.width, self.hidden = width, hidden
        self.first = layers.Dense(hidden, activation="relu", name="first")
        self.second = layers.Dense(width, name="second")

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(self.width,))
        self.first.build(shape)
        self.second.build((*shape[:-1], self.hidden))

    def call(self, x):
        return x + self.second(self.first(x)) * self.scale

    def get_config(self):
        return {**super().get_config(), "width": self.width, "hidden": self.hidden}


@keras.saving.register_keras_serializable("zoo")
class Twofold(layers.Layer):
    """A block whose two hidden widths come from one number."""

    def __init__(self, hidden, **options):
        super().__init__(**options)
        self.hidden = hidden
        self.one = layers.Dense(hidden, activation="relu", name="one")
        self.two = layers.Dense(hidden, activation="tanh", name="two")
        self.out = layers.Dense(8, name="out")

    def call(self, x):
        return self.out(self.two(self.one(x)))

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden}


@keras.saving.register_keras_serializable("zoo")
class ClassToken(layers.Layer):
    """A learned first token, and a learned position for every token."""

    def build(self, shape):
        self.token = self.add_weight(name="token", shape=(1, 1, shape[-1]))
        self.position = self.add_weight(name="position", shape=(1, shape[1] + 1, shape[-1]))

    def call(self, x):
        token = keras.ops.broadcast_to(self.token, (keras.ops.shape(x)[0], 1, x.shape[-1]))
        return keras.ops.concatenate([token, x], axis=1) + self.position


@keras.saving.register_keras_serializable("zoo")
class TiedEmbedding(layers.Layer):
    """A table of words that is the output projection as well."""

    def __init__(self, words, width, **options):
        super().__init__(**options)
        self.words, self.width = words, width

    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(self.words, self.width))

    def call(self, x, project=False):
        if project:
            return keras.ops.matmul(x, keras.ops.transpose(self.table))
        return keras.ops.take(self.table, x, axis=0)

    def get_config(self):
        return {**super().get_config(), "words": self.words, "width": self.width}


@keras.saving.register_keras_serializable("zoo")
class StandardisedConv(layers.Layer):
    """A convolution by operations, the kernel of which is the layer's own, and one a channel."""

    def __init__(self, filters, groupwise=False, **options):
        super().__init__(**options)
        self.filters, self.groupwise = filters, groupwise

    def build(self, shape):
        kernel = (3, 3, shape[-1], 1 if self.groupwise else self.filters)
        self.kernel = self.add_weight(name="kernel", shape=kernel)
        self.bias = self.add_weight(name="bias", shape=(self.filters,))

    def call(self, x):
        way = keras.ops.depthwise_conv if self.groupwise else keras.ops.conv
        return way(x, self.kernel * 0.5, padding="same") + self.bias

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "groupwise": self.groupwise}


@keras.saving.register_keras_serializable("zoo")
class GlobalResponse(layers.Layer):
    """The normalisation of ConvNeXt V2: a channel's norm over the image by the mean of them."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(1, 1, 1, shape[-1]))

    def call(self, x):
        norm = keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=(1, 2), keepdims=True))
        return x + x * self.scale * norm / (keras.ops.mean(norm, axis=-1, keepdims=True) + 1e-6)


@keras.saving.register_keras_serializable("zoo")
class Projection(layers.Layer):
    """A dense layer by operations, with a root mean square norm by operations behind it."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.width))
        self.scale = self.add_weight(name="scale", shape=(self.width,))

    def call(self, x):
        y = keras.ops.dot(x, self.kernel)
        return keras.ops.rms_normalization(y, scale=self.scale, axis=-1)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("zoo")
class Encoder(layers.Layer):
    """Two residual blocks in one layer of one's own."""

    def __init__(self, width, heads=2, **options):
        super().__init__(**options)
        self.width, self.heads = width, heads
        self.attend = layers.MultiHeadAttention(heads, 8, name="attend")
        self.normalise = layers.BatchNormalization(name="normalise")
        self.widen = layers.Dense(2 * width, activation="gelu", name="widen")
        self.narrow = layers.Dense(width, name="narrow")
        self.drop = layers.Dropout(0.1, name="drop")

    def call(self, x):
        x = x + self.drop(self.attend(x, x))
        return x + self.drop(self.narrow(self.widen(self.normalise(x))))

    def build(self, shape):
        self.attend.build(shape, shape)
        self.normalise.build(shape)
        self.widen.build(shape)
        self.narrow.build((*shape[:-1], 2 * self.width))

    def get_config(self):
        return {**super().get_config(), "width": self.width, "heads": self.heads}
