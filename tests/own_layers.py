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
