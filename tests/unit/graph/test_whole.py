"""Models with a layer that cannot be loaded by itself are made again by their own class."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from secateur.errors import ModelError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.masks import mask
from zoo import assert_close, inputs_of, randomised


@keras.saving.register_keras_serializable("tests")
class Forgetful(layers.Layer):
    """A block that does not say in its config how wide it is, and holds a table of its own."""

    def __init__(self, width, hidden, **options):
        super().__init__(**options)
        self.wide = layers.Dense(hidden, activation="relu", name="wide")
        self.out = layers.Dense(width, name="out")
        self.width = width

    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(1, self.width))
        self.wide.build(shape)
        self.out.build((*shape[:-1], self.wide.units))

    def call(self, x):
        return x + self.out(self.wide(x)) + self.table

    def get_config(self):
        return super().get_config()


@keras.saving.register_keras_serializable("tests")
class Backbone(keras.Model):
    """A functional model of a class of its own, with a config of its own."""

    def __init__(self, hidden=24, width=16, depth=2, packed=40, **options):
        x = i = keras.Input((6,))
        x = layers.Dense(width, name="stem")(x)
        for number in range(depth):
            x = Forgetful(width, hidden, name=f"block_{number}")(x)
        one, two = ops.split(layers.Dense(packed, name="packed")(x), 2, axis=-1)
        x = layers.Dense(3, name="head")(one * ops.sigmoid(two))
        super().__init__(i, x, **options)
        self.sizes = {"hidden": hidden, "width": width, "depth": depth, "packed": packed}

    def get_config(self):
        return {"name": self.name, "trainable": self.trainable, **self.sizes}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


@pytest.fixture
def model():
    return randomised(Backbone())


def test_what_its_config_can_say_can_go(model, tmp_path):
    graph = trace(model)
    assert {each.way for each in graph.said} == {("hidden",), ("width",)}
    made = plan(graph, observe(graph), macs=0.5, round_to=1)
    smaller = cut(model, made)
    x = inputs_of(model)
    assert type(smaller) is Backbone
    assert smaller.count_params() == made.after["parameters"]
    assert trace(smaller).macs() == made.after["macs"] <= 0.5 * graph.macs()
    assert_close(smaller(x), mask(model, made)(x), 1e-4)
    smaller.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(again(x), smaller(x), 1e-5)


def test_blocks_give_as_many_units_each_but_each_its_own(model):
    graph = trace(model)
    made = plan(graph, observe(graph), params=0.6, round_to=1, kinds=("channel",))
    gone = {each.group: each.remove for each in made.cuts}
    one, other = gone["block_0/wide"], gone["block_1/wide"]
    assert len(one) == len(other) > 0
    assert one != other


def test_keeping_one_of_them_keeps_all(model):
    graph = trace(model)
    made = plan(graph, observe(graph), ratio=0.2, round_to=1, keep=["block_0/wide"])
    assert not {"block_0/wide", "block_1/wide"} & {each.group for each in made.cuts}


def test_it_heals(model):
    graph = trace(model)
    made = plan(graph, observe(graph), macs=0.6, round_to=1)
    smaller = cut(model, made)
    x = inputs_of(model, 200)
    healed, done = heal(smaller, model, made, x)
    assert done
    assert np.isfinite(to_numpy(healed(x))).all()


def test_a_plain_model_of_such_layers_is_refused_by_the_layer():
    x = i = keras.Input((6,))
    x = Forgetful(16, 24, name="block")(layers.Dense(16)(x))
    with pytest.raises(ModelError, match="Forgetful cannot be") as caught:
        trace(keras.Model(i, layers.Dense(2)(x)))
    assert caught.value.where == "block"
    assert "get_config" in caught.value.mend
