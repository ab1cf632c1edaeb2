"""Layers and models that are not what they state: in a rule, of their output, of their weights."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import ModelError
from secateur.graph import rule
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import plan
from secateur.steps.cutting import cut
from secateur.steps.masks import mask


class Folding(layers.Layer):
    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width

    def build(self, shape):
        self.matrix = self.add_weight(name="matrix", shape=(shape[-1], self.width))
        self.shift = self.add_weight(name="shift", shape=(self.width,))

    def call(self, x):
        return keras.ops.elu(x @ self.matrix + self.shift)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


READS, WRITES = {"matrix": -2}, {"matrix": -1, "shift": 0}


def halved(model: keras.Model) -> keras.Model:
    graph = trace(model)
    return cut(model, plan(graph, observe(graph), params=0.7, by="l2", keep=["first"]))


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ({"reads": {"matrix": -1}, "writes": WRITES, "size": "width"}, "lays 12 units on axis -1"),
        ({"reads": READS, "writes": {"matrix": -1}, "size": "width"}, "shift of .* its rule"),
        ({"reads": READS, "writes": WRITES}, "matrix of .* its rule leaves"),
        ({"reads": READS, "writes": WRITES, "size": "wdth"}, "wdth"),
    ],
)
def test_a_rule_that_does_not_fit_its_layer_is_refused_by_name(flow, said):
    own = type("Own", (Folding,), {})
    rule.register(own)(lambda layer: rule.Flow(**flow))
    row = keras.Input((12,))
    x = layers.Dense(12, name="first")(row)
    model = keras.Model(row, layers.Dense(2)(own(24, name="fold")(x)))
    with pytest.raises(ModelError, match=said) as caught:
        halved(model)
    assert caught.value.where == "fold"


@keras.saving.register_keras_serializable("secateur_tests")
class Patches(layers.Layer):
    """Patches of an image with a table of positions; it states one position too many."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.width = width
        self.patch = layers.Conv2D(width, 4, strides=4)
        self.table = layers.Embedding(4, width)

    def build(self, shape):
        self.numbers = self.add_weight(
            name="numbers", shape=(1, 4), dtype="int32", trainable=False, initializer="zeros"
        )
        self.numbers.assign(np.arange(4)[None])
        self.patch.build(shape)
        self.table.build((1, 4))

    def call(self, x):
        return keras.ops.reshape(self.patch(x), (-1, 4, self.width)) + self.table(self.numbers)

    def compute_output_shape(self, shape):
        return (shape[0], 5, self.width)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def test_a_layer_that_states_a_wrong_output_is_cut_inside_a_nested_model(tmp_path):
    image = keras.Input((8, 8, 3))
    x = layers.Dense(16, activation="relu", name="hidden")(Patches(16, name="patches")(image))
    tower = keras.Model(image, layers.Dense(8, name="narrow")(x), name="tower")
    outer = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling1D()(tower(outer))
    model = keras.Model(outer, layers.Dense(2)(x))
    graph = trace(model)
    made = plan(graph, observe(graph), macs=0.5, by="l2", round_to=1)
    smaller = cut(model, made)
    assert smaller.get_layer("tower").get_layer("patches").width < 16
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    wanted = to_numpy(mask(model, made)(images))
    np.testing.assert_allclose(to_numpy(smaller(images)), wanted, atol=1e-5)
    smaller.save(tmp_path / "smaller.keras")
    again = keras.models.load_model(tmp_path / "smaller.keras")
    np.testing.assert_allclose(to_numpy(again(images)), wanted, atol=1e-5)


@keras.saving.register_keras_serializable("secateur_tests")
class WithSpare(keras.Model):
    """A functional model of a class of its own, with a layer that no output depends on."""

    def __init__(self, **options):
        row = keras.Input((8,))
        x = layers.Dense(16, activation="relu", name="hidden")(row)
        super().__init__(row, layers.Dense(2, name="last")(x), **options)
        self.spare = layers.Dense(4, name="spare")
        self.spare.build((None, 8))

    def get_config(self):
        return {"name": self.name}


def test_weights_that_nothing_depends_on_are_passed_over():
    model, rows = WithSpare(), np.ones((32, 8), "float32")
    graph = trace(model)
    stats = observe(graph, (rows, np.zeros(32, "int32")), needs={"taylor"})
    assert set(stats.taylor) == {f"{n}/{w}" for n in ("hidden", "last") for w in ("kernel", "bias")}
    made = plan(graph, stats, macs=0.5, by="taylor")
    wanted = to_numpy(mask(model, made)(rows))
    np.testing.assert_allclose(to_numpy(cut(model, made)(rows)), wanted, atol=1e-6)
