import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import ModelError
from secateur.graph import rule
from secateur.graph.rebuild import rebuild
from secateur.graph.trace import trace
from zoo import model_of


def group(graph, member):
    return next(g for g in (*graph.groups, *graph.fixed) if member in g.members)


def test_multiply_adds_and_parameters_are_those_known_of_resnet50():
    graph = trace(keras.applications.ResNet50(weights=None))
    assert graph.parameters() == 25_636_712
    assert graph.macs() == 3_857_973_248


def test_multiply_adds_of_a_convolution_and_a_dense_layer():
    x = i = keras.Input((10, 8, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same")(x)
    graph = trace(keras.Model(i, layers.Dense(5)(layers.Flatten()(x))))
    assert graph.macs() == 5 * 4 * 16 * 27 + 5 * 4 * 16 * 5


def test_a_residual_stream_is_one_group_and_its_inner_channels_another():
    graph = trace(model_of("residual"))
    sizes = sorted((g.kind, len(g)) for g in graph.groups)
    channels = [("channel", 24)] * 3
    assert sizes == [("block", 2), *channels, ("stream", 16), ("stream", 32)]
    stream = next(g for g in graph.groups if len(g) == 16)
    assert len(stream.members) == 3


def test_outputs_and_inputs_stay_and_say_so():
    graph = trace(model_of("dense"))
    assert {pin for g in graph.fixed for pin in g.pins} == {"model input", "model output"}


def test_a_layer_without_a_rule_pins_what_it_touches():
    class Mystery(layers.Layer):
        def call(self, x):
            return keras.ops.sinc(x)

    x = i = keras.Input((6,))
    x = layers.Dense(8, name="before")(x)
    x = layers.Dense(8, name="after")(Mystery(name="mystery")(x))
    graph = trace(keras.Model(i, layers.Dense(2)(x)))
    pinned = group(graph, "before")
    assert not pinned.free.any()
    assert "Sinc has no rule" in pinned.pins[0]
    assert group(graph, "after").free.all()


def test_a_subclass_that_overrides_call_is_not_guessed():
    class Odd(layers.Dense):
        def call(self, x):
            return keras.ops.sinc(super().call(x))

    x = i = keras.Input((6,))
    x = Odd(8, name="odd")(layers.Dense(8, name="before")(x))
    graph = trace(keras.Model(i, layers.Dense(2)(x)))
    assert group(graph, "before").free.all()
    assert "Sinc has no rule" in group(graph, "odd/bias").pins[0]


def test_a_rule_of_ones_own_makes_a_layer_prunable():
    @keras.saving.register_keras_serializable("tests")
    class Scaled(layers.Layer):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.units = units

        def build(self, shape):
            self.matrix = self.add_weight(name="matrix", shape=(shape[-1], self.units))

        def call(self, x):
            return keras.ops.matmul(x, self.matrix)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    @rule.register(Scaled)
    def _(layer):
        return rule.Flow(
            reads={"matrix": -2}, writes={"matrix": -1}, size="units", macs={"matrix": "output"}
        )

    x = i = keras.Input((6,))
    x = Scaled(8, name="scaled")(layers.Dense(10, name="before")(x))
    graph = trace(keras.Model(i, layers.Dense(2)(x)))
    keep = graph.everything()
    keep[group(graph, "before").units[:4]] = False
    keep[group(graph, "scaled").units[:2]] = False
    smaller = rebuild(graph, keep)
    assert smaller.get_layer("scaled").matrix.shape == (6, 6)


def test_softmax_inside_keeps_its_units_and_says_why():
    x = i = keras.Input((6,))
    x = layers.Dense(8, activation="softmax", name="gate")(x)
    graph = trace(keras.Model(i, layers.Dense(2)(x)))
    assert group(graph, "gate").pins == ("softmax over its units",)


def test_open_lengths_are_traced_with_a_size_of_ones_choice():
    x = i = keras.Input((None, None, 3), name="photo")
    x = layers.Conv2D(8, 1)(x)
    model = keras.Model(i, layers.Conv2D(2, 1)(x))
    assert trace(model, shapes={"photo": (10, 10, 3)}).macs() == 100 * (24 + 16)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no model", "expected a Keras model"),
        (keras.Sequential([layers.Dense(3)]), "not built"),
    ],
)
def test_what_cannot_be_traced_is_refused(model, message):
    with pytest.raises(ModelError, match=message):
        trace(model)


def test_weights_that_are_not_finite_are_refused_by_name():
    model = model_of("dense")
    kernel = model.layers[0].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(ModelError, match="NaN or infinite") as caught:
        trace(model)
    assert "kernel" in str(caught.value.where)
