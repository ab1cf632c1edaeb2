"""Models as people build them: layers without a build, state beside the weights, odd wirings."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers, ops

from secateur.errors import DataError, ModelError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning.plan import Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.masks import mask
from zoo import assert_same, inputs_of, mixing_groups, outputs, randomised

RNG = np.random.default_rng(0)
ROWS = RNG.normal(3, 2, (64, 6)).astype("float32")
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="the layer needs TensorFlow"
)


class Unit(layers.Layer):
    """A layer that leaves it to its inner layers to be built when they are called."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.wide = layers.Dense(units, activation="relu")
        self.out = layers.Dense(units)

    def call(self, x):
        return self.out(self.wide(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Gated(layers.Layer):
    """The same, one level deeper."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.inner = Unit(units)
        self.gate = layers.Dense(units, activation="sigmoid")

    def call(self, x):
        return self.inner(x) * self.gate(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Positions(layers.Layer):
    """Adds rows of a table that are looked up by numbers made on the spot."""

    def __init__(self, length, width, **options):
        super().__init__(**options)
        self.length, self.width = length, width
        self.project = layers.Dense(width)
        self.table = layers.Embedding(length, width)

    def call(self, x):
        return self.project(x) + self.table(ops.arange(self.length))

    def get_config(self):
        return {**super().get_config(), "length": self.length, "width": self.width}


class Drop(layers.Layer):
    """Does something in training alone."""

    def call(self, x, training=None):
        return x * 0.5 if training else x


class Noise(layers.Layer):
    def call(self, inputs):
        mean, spread = inputs
        return mean + 0 * spread


def swish_of_ones_own(x):
    return x * ops.sigmoid(x)


OWN = {each.__name__: each for each in (Unit, Gated, Positions, Drop, Noise, swish_of_ones_own)}


def checked(model, x, tmp_path, **options):
    """Plan, cut, compare, save, load and heal; return the cut model."""
    graph = trace(model)
    before = outputs(model, x)
    assert_same(outputs(cut(model, Plan.empty(graph)), x), before, 1e-5)
    made = plan(graph, observe(graph), **{"params": 0.6, "round_to": 1} | options)
    smaller = cut(model, made)
    assert smaller.count_params() == made.after["parameters"]
    after = outputs(smaller, x)
    if not mixing_groups(graph):
        assert_same(after, outputs(mask(model, made), x))
    smaller.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=OWN)
    assert_same(outputs(again, x), after, 1e-5)
    assert all(np.isfinite(each).all() for each in outputs(heal(smaller, model, made, x)[0], x))
    assert_same(outputs(model, x), before, 0)
    return smaller


@pytest.mark.parametrize("layer", [Unit, Gated])
def test_a_layer_whose_inner_layers_are_built_when_called(layer, tmp_path):
    i = keras.Input((6,))
    x = layer(24)(layers.Dense(16, activation="relu")(i))
    checked(randomised(keras.Model(i, layers.Dense(2)(x))), ROWS, tmp_path)


def test_a_table_of_positions_stays_a_weight_and_shrinks(tmp_path):
    i = keras.Input((7, 6))
    x = layers.GlobalAveragePooling1D()(Positions(7, 24)(i))
    model = randomised(keras.Model(i, layers.Dense(2)(x)))
    smaller = checked(model, inputs_of(model, rows=64), tmp_path)
    table = next(layer for layer in smaller.layers if isinstance(layer, Positions)).table
    assert table.embeddings.shape[1] < 24


def test_a_subclassed_model_that_would_lose_its_table_is_refused():
    class Words(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.table, self.head = (
                layers.Dense(8),
                layers.Embedding(7, 8),
                layers.Dense(2),
            )

        def call(self, x):
            return self.head(self.first(x) + self.table(ops.arange(7)))

    model = Words()
    model(np.zeros((1, 7, 6), "float32"))
    with pytest.raises(ModelError, match="cannot be followed"):
        trace(model)


def test_a_block_with_a_layer_that_does_nothing_can_go(tmp_path):
    x = i = keras.Input((6,))
    x = layers.Dense(16)(x)
    for _ in range(3):
        x = layers.Add()([x, Drop()(layers.Dense(16)(layers.Dense(24, activation="relu")(x)))])
    model = randomised(keras.Model(i, layers.Dense(2)(x)))
    smaller = checked(model, ROWS, tmp_path, params=0.7, kinds=("block",))
    assert len(smaller.layers) < len(model.layers)


def test_a_nested_model_with_a_layer_of_ones_own_is_copied(tmp_path):
    i = keras.Input((6,))
    x = layers.Dense(16, activation="relu")(i)
    encoder = keras.Model(i, Noise()([layers.Dense(4)(x), layers.Dense(4)(x)]), name="encoder")
    o = layers.Dense(2)(layers.Dense(16, activation="relu")(encoder(i)))
    checked(randomised(keras.Model(i, o)), ROWS, tmp_path)


@pytest.mark.parametrize("inner", [False, True])
def test_figures_that_a_layer_learnt_from_data_are_kept(inner, tmp_path):
    normal = layers.Normalization()
    normal.adapt(ROWS)
    first = keras.Sequential([keras.Input((6,)), normal]) if inner else normal
    i = keras.Input((6,))
    x = layers.Dense(32, activation="relu")(first(i))
    checked(keras.Model(i, layers.Dense(2)(x)), ROWS, tmp_path)


@needs_tensorflow
def test_a_vocabulary_that_a_layer_learnt_is_kept(tmp_path):
    numbers = layers.IntegerLookup(output_mode="multi_hot")
    numbers.adapt(np.array([[5], [7], [9], [7]]))
    i = keras.Input((1,), dtype="int64")
    x = layers.Dense(32, activation="relu")(numbers(i))
    checked(keras.Model(i, layers.Dense(2)(x)), RNG.integers(4, 10, (64, 1)), tmp_path)


@needs_tensorflow
def test_texts_are_cut_and_healed_with(tmp_path):
    texts = np.array([["a cat"], ["a dog ran"]] * 32, object)
    words = layers.TextVectorization(max_tokens=12, output_sequence_length=4)
    words.adapt(texts[:, 0])
    i = keras.Input((1,), dtype="string")
    x = layers.Flatten()(layers.Embedding(12, 16)(words(i)))
    model = keras.Model(i, layers.Dense(2)(x))
    checked(model, ops.convert_to_tensor(texts.astype(str)), tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_an_activation_of_ones_own_needs_no_registration(nested, tmp_path):
    i = keras.Input((6,))
    x = layers.Dense(32, activation=swish_of_ones_own)(i)
    tower = keras.Model(i, layers.Activation(swish_of_ones_own)(x))
    o = layers.Dense(2)(tower(i) if nested else tower.output)
    checked(keras.Model(i, o), ROWS, tmp_path)


def test_a_lambda_is_refused_by_name():
    i = keras.Input((6,))
    x = layers.Lambda(lambda x: x * 2, name="twice")(layers.Dense(32)(i))
    with pytest.raises(ModelError, match=r"twice: .* Python code.* keras\.ops"):
        trace(keras.Model(i, layers.Dense(2)(x)))


def test_a_gate_of_a_lower_rank_shrinks_with_what_it_gates(tmp_path):
    i = keras.Input((8, 8, 3))
    x = layers.Conv2D(24, 3, activation="relu")(i)
    gate = layers.Dense(24, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.GlobalAveragePooling2D()(layers.Multiply()([x, gate]))
    model = randomised(keras.Model(i, layers.Dense(2)(x)))
    checked(model, inputs_of(model, rows=64), tmp_path)


def test_layers_that_saw_nothing_but_zeros_are_healed(tmp_path):
    i = keras.Input((6,))
    dead = layers.Dense(16, activation="relu", bias_initializer=keras.initializers.Constant(-99))
    x = layers.Dense(16, activation="relu")(dead(i))
    checked(keras.Model(i, layers.Dense(2)(x)), ROWS, tmp_path)


def test_healing_says_that_a_batch_is_of_fixed_size():
    i = keras.Input(batch_shape=(4, 6, 3))
    model = keras.Model(i, layers.Dense(2)(layers.LSTM(16, stateful=True)(i)))
    graph = trace(model)
    made = plan(graph, observe(graph), params=0.6, round_to=1)
    with pytest.raises(DataError, match="4 rows at a time"):
        heal(cut(model, made), model, made, RNG.normal(size=(64, 6, 3)).astype("float32"))


def test_layers_that_alter_images_in_training_need_no_rule():
    i = keras.Input((8, 8, 3))
    x = layers.RandomContrast(0.1)(layers.RandomBrightness(0.1)(i))
    graph = trace(keras.Model(i, layers.Dense(2)(layers.Flatten()(layers.Conv2D(8, 3)(x)))))
    assert not any("no rule" in pin for group in graph.fixed for pin in group.pins)


def test_windows_folded_into_the_batch_are_healed(tmp_path):
    i = keras.Input((8, 8, 3))
    x = layers.Dense(16)(i)
    y = ops.transpose(ops.reshape(x, (-1, 2, 4, 2, 4, 16)), (0, 1, 3, 2, 4, 5))
    y = layers.Dense(16)(layers.Dense(24, activation="relu")(ops.reshape(y, (-1, 16, 16))))
    y = ops.transpose(ops.reshape(y, (-1, 2, 2, 4, 4, 16)), (0, 1, 3, 2, 4, 5))
    x = layers.GlobalAveragePooling2D()(x + ops.reshape(y, (-1, 8, 8, 16)))
    model = randomised(keras.Model(i, layers.Dense(2)(x)))
    checked(model, inputs_of(model, rows=80), tmp_path)
