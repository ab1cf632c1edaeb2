import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.patterns import Unstructured
from secateur.steps.emptied import cut_empty, empty_units, switched_off
from secateur.steps.sparsify import Sparsify


def dense_model(activation="relu", norm=False):
    keras.utils.set_random_seed(1)
    x = i = keras.Input((6,), name="array")
    x = layers.Dense(8, activation=None if norm else activation, name="one")(x)
    if norm:
        x = layers.Activation(activation)(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(8, activation="relu", name="two")(x)
    return keras.Model(i, layers.Dense(2, name="last")(x))


def emptied(model, layer, units, weights=("kernel", "bias")):
    for name in weights:
        variable = getattr(model.get_layer(layer), name)
        value = to_numpy(variable).copy()
        value[..., list(units)] = 0
        variable.assign(value)
    return model


def unread(model, layer, units):
    kernel = to_numpy(model.get_layer(layer).kernel).copy()
    kernel[list(units)] = 0
    model.get_layer(layer).kernel.assign(kernel)
    return model


X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")


def same(one, other):
    np.testing.assert_allclose(to_numpy(one(X)), to_numpy(other(X)), atol=1e-5)


def test_units_without_weights_are_cut_and_nothing_changes():
    model = emptied(dense_model(), "one", (1, 4))
    smaller, (plan,) = cut_empty(model, X, round_to=1)
    assert smaller.get_layer("one").kernel.shape == (6, 6)
    assert plan.cuts[0].remove == (1, 4)
    assert plan.after["macs"] < plan.before["macs"]
    same(model, smaller)


def test_units_that_nothing_reads_are_cut():
    model = dense_model()
    model.get_layer("one").bias.assign(np.ones(8))
    smaller, _ = cut_empty(unread(model, "two", (0, 7)), X, round_to=1)
    assert smaller.get_layer("one").kernel.shape == (6, 6)
    same(model, smaller)


def test_what_only_an_unread_unit_has_read_goes_with_it():
    model = unread(dense_model(), "last", (3,))
    kernel = to_numpy(model.get_layer("two").kernel).copy()
    kernel[5] = 0
    kernel[5, 3] = 1
    model.get_layer("two").kernel.assign(kernel)
    smaller, plans = cut_empty(model, X, round_to=1)
    assert [[entry.group for entry in plan.cuts] for plan in plans] == [["two"], ["one"]]
    assert smaller.get_layer("one").kernel.shape == (6, 7)
    same(model, smaller)


def test_a_constant_that_is_not_zero_stays():
    model = emptied(dense_model(), "one", (2,), weights=("kernel",))
    model.get_layer("one").bias.assign(np.ones(8))
    assert cut_empty(model, X, round_to=1) == (model, ())


def test_units_that_are_not_zero_at_zero_stay_and_others_go():
    model = emptied(dense_model("sigmoid"), "one", (1, 4))
    model = emptied(model, "two", (3,))
    smaller, (plan,) = cut_empty(model, X, round_to=1)
    assert [entry.group for entry in plan.cuts] == ["two"]
    same(model, smaller)


def test_widths_stay_multiples():
    model = emptied(dense_model(), "one", (1, 2, 4))
    smaller, (plan,) = cut_empty(model, X, round_to=2)
    assert smaller.get_layer("one").kernel.shape == (6, 6)
    assert len(plan.cuts[0].remove) == 2
    assert cut_empty(model, X, round_to=8) == (model, ())


def test_something_stays_of_a_layer_that_is_all_empty():
    model = emptied(dense_model(), "one", range(8))
    smaller, _ = cut_empty(model, X, round_to=1)
    assert smaller.get_layer("one").kernel.shape == (6, 1)
    same(model, smaller)


def test_what_shifts_an_empty_unit_is_switched_off():
    model = emptied(dense_model(norm=True), "one", (1, 4), weights=("kernel",))
    graph = trace(model)
    values = {key: to_numpy(variable) for key, variable in graph.variables.items()}
    found = switched_off(graph, values)
    assert set(found) == {"one/bias", "norm/gamma", "norm/beta"}
    for mask in found.values():
        assert np.flatnonzero(~mask).tolist() == [1, 4]


def test_a_cell_is_empty_when_no_other_reads_it():
    keras.utils.set_random_seed(1)
    i = keras.Input((5, 3))
    model = keras.Model(i, layers.Dense(2, name="last")(layers.LSTM(4, name="cells")(i)))
    unread(model, "last", (2,))
    graph = trace(model)
    values = {key: to_numpy(variable) for key, variable in graph.variables.items()}
    assert empty_units(graph, values) == {}
    rows = values["cells/recurrent_kernel"].copy()
    rows[2] = 0
    found = empty_units(graph, values | {"cells/recurrent_kernel": rows})
    assert found["cells"].tolist() == [False, False, True, False]


@pytest.mark.parametrize("branch", ["sum", "concat"])
def test_empty_units_of_branches_are_cut(branch):
    keras.utils.set_random_seed(2)
    i = keras.Input((6,), name="array")
    one = layers.Dense(8, activation="relu", name="one")(i)
    other = layers.Dense(8, activation="relu", name="other")(i)
    x = layers.Add()([one, other]) if branch == "sum" else layers.Concatenate()([one, other])
    model = emptied(keras.Model(i, layers.Dense(2)(x)), "one", (1, 4))
    _, plans = cut_empty(model, X, round_to=1)
    # Of a sum, a unit is empty when both of its branches are.
    assert len(plans) == (0 if branch == "sum" else 1)
    model = emptied(model, "other", (1, 5))
    smaller, _ = cut_empty(model, X, round_to=1)
    assert smaller.get_layer("other").units == (7 if branch == "sum" else 6)
    same(model, smaller)


def test_very_sparse_training_ends_in_a_smaller_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8, 8, 3)).astype("float32")
    data = read((x, (x.mean(axis=(1, 2, 3)) > 0).astype("int32")))
    keras.utils.set_random_seed(0)
    h = i = keras.Input((8, 8, 3), name="array")
    for width in (16, 16):
        h = layers.Conv2D(width, 3, padding="same", use_bias=False)(h)
        h = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(h))
    model = keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(h)))
    step = Sparsify(0.95, pattern=Unstructured("global"), epochs=3, every=2, round_to=1)
    result = step(model, data)
    assert [stage.name for stage in result.stages] == ["sparse", "cut"]
    assert result.after.parameters < 0.85 * result.before.parameters
    assert result.plan is not None
    rows, _ = data.test.sample(32)
    sparse, smaller = (to_numpy(stage.model(rows)) for stage in result.stages)
    np.testing.assert_allclose(sparse, smaller, atol=1e-5)
    assert any("cut for real" in note.what for note in result.notes)
