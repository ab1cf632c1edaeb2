import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.trace import trace
from secateur.graph.weights import copied, to_numpy
from secateur.planning.plan import Plan
from secateur.steps.cutting import cut
from secateur.steps.emptied import cuts_of, plan_of
from secateur.steps.penalties import Penalising, Penalty, Units
from secateur.steps.regularize import Regularize
from secateur.steps.regularizing import penalty_of
from zoo import assert_same, inputs_of, mixing_groups, model_of, outputs, some

RATE, STRENGTH = 0.1, 0.5


def two_layers():
    keras.utils.set_random_seed(0)
    i = keras.Input((5,))
    x = layers.Dense(6, activation="relu", name="one")(i)
    return keras.Model(i, layers.Dense(3, name="two")(x))


def values(graph, model):
    return {key: to_numpy(each).copy() for key, each in graph.variables_of(model).items()}


def stepped(graph, penalty, model, gradient=0.0, strength=STRENGTH):
    """Return a copy after one step, what it was before, and the optimizer."""
    twin = copied(model)
    optimizer = Penalising(RATE)
    optimizer.build(twin.trainable_variables)
    optimizer.attach(penalty, graph.variables_of(twin), strength)
    before = values(graph, twin)
    grads = [keras.ops.full(v.shape, gradient, v.dtype) for v in twin.trainable_variables]
    optimizer.apply(grads, twin.trainable_variables)
    return twin, before, optimizer


def penalty(graph, name, **options):
    options = {"penalty": name, "floor": 0.0} | options
    return penalty_of(graph, Regularize(**options).settings())[0]


def vectors(found):
    """Return the weights of each hidden unit of `two_layers` as a row."""
    return np.hstack([found["one/kernel"].T, found["one/bias"][:, None], found["two/kernel"]])


def test_a_group_soft_threshold_is_the_closed_form():
    model = two_layers()
    # Units of all sizes, so that some are below the threshold and others are not.
    sizes = np.array([0.01, 0.1, 0.5, 1, 2, 4], "float32")
    model.get_layer("one").kernel.assign(to_numpy(model.get_layer("one").kernel) * sizes)
    model.get_layer("two").kernel.assign(to_numpy(model.get_layer("two").kernel) * sizes[:, None])
    graph = trace(model)
    twin, before, _ = stepped(graph, penalty(graph, "group_lasso"), model)
    old, new = vectors(before), vectors(values(graph, twin))
    # Without gradients, Adam would move by the whole rate.
    norm = np.linalg.norm(old, axis=1, keepdims=True)
    factor = np.maximum(1 - RATE * np.sqrt(old.shape[1]) / norm, 0)
    factor[np.argmax(norm)] = 1  # The largest is spared.
    np.testing.assert_allclose(new, old * factor, rtol=1e-5)
    assert (factor == 0).any()
    assert ((factor > 0) & (factor < 1)).any()
    np.testing.assert_array_equal(new[factor[:, 0] == 0], 0)


def test_large_gradients_make_the_step_shorter():
    graph = trace(model := two_layers())
    sizes = []
    for gradient in (0.0, 5.0):
        twin, _, optimizer = stepped(graph, penalty(graph, "group_lasso"), model, gradient)
        plain = copied(model)
        adam = keras.optimizers.Adam(RATE)
        grads = [keras.ops.full(v.shape, gradient, v.dtype) for v in plain.trainable_variables]
        adam.apply(grads, plain.trainable_variables)
        (units,) = optimizer._penalty.units
        shrunk = units.norms(values(graph, plain)) - units.norms(values(graph, twin))
        sizes.append(np.median(shrunk))
        pull = RATE * STRENGTH / np.hypot(gradient, STRENGTH)
        np.testing.assert_allclose(shrunk.max(), pull, rtol=1e-4)
    assert sizes[1] < sizes[0] / 3


@pytest.mark.parametrize("name", ["l1", "l2", "elastic_net"])
def test_single_weights_shrink_by_the_closed_form(name):
    graph = trace(model := two_layers())
    twin, before, _ = stepped(graph, penalty(graph, name), model, 0.0)
    mix = {"l1": 1.0, "l2": 0.0, "elastic_net": 0.5}[name]
    after = values(graph, twin)
    for key in ("one/kernel", "two/kernel"):
        old = before[key]
        lasso = np.maximum(np.abs(old) - RATE * mix, 0) * np.sign(old)
        pull = RATE * (1 - mix) / np.maximum(np.abs(old), 1e-9)
        np.testing.assert_allclose(after[key], lasso / (1 + pull), rtol=1e-3, atol=1e-6)
        assert (after[key] == 0).any() == (np.abs(old) <= RATE * mix).any()
    np.testing.assert_array_equal(after["one/bias"], before["one/bias"])


def test_the_gradient_of_a_penalty_is_that_of_its_formula():
    graph = trace(model := two_layers())
    made = penalty(graph, "group_lasso", proximal=False)
    twin = copied(model)
    optimizer = Penalising(RATE)
    optimizer.build(twin.trainable_variables)
    optimizer.attach(made, graph.variables_of(twin), STRENGTH)
    grads = [keras.ops.zeros(v.shape, v.dtype) for v in twin.trainable_variables]
    found = optimizer._with_penalty(grads, twin.trainable_variables)
    gradients = {v.path: to_numpy(g) for v, g in zip(twin.trainable_variables, found, strict=True)}
    old = vectors(values(graph, twin))
    norm = np.linalg.norm(old, axis=1, keepdims=True)
    wanted = STRENGTH * np.sqrt(old.shape[1]) * old / norm
    wanted[np.argmax(norm)] = 0
    np.testing.assert_allclose(vectors(gradients), wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(gradients["two/bias"], 0)


def test_units_outside_of_the_penalty_and_pinned_ones_stay_as_they_are():
    i = keras.Input((5,))
    x = layers.Dense(6, activation="relu", name="one")(i)
    x = layers.Dense(6, activation="relu", name="two")(x)
    model = keras.Model(i, layers.Dense(3, name="three")(x))
    graph = trace(model)
    twin, before, _ = stepped(graph, penalty(graph, "group_lasso", keep=("two",)), model)
    after = values(graph, twin)
    np.testing.assert_array_equal(after["three/kernel"], before["three/kernel"])
    assert (after["two/kernel"] != before["two/kernel"]).any()


def test_a_scale_is_all_that_slimming_sees():
    i = keras.Input((5,))
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(layers.Dense(6, name="one")(i)))
    graph = trace(model := keras.Model(i, layers.Dense(3, name="two")(x)))
    gamma = np.array([0.05, -0.05, 0.5, -0.5, 1, 2], "float32")
    model.get_layer("norm").gamma.assign(gamma)
    twin, before, _ = stepped(graph, penalty(graph, "slimming"), model)
    after = values(graph, twin)
    wanted = [0, 0, 0.4, -0.4, 0.9, 2]
    np.testing.assert_allclose(after.pop("norm/gamma"), wanted, rtol=1e-5, atol=1e-7)
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", some(3))
def test_what_is_gone_in_training_is_what_a_cut_leaves_out(name):
    model = model_of(name)
    graph = trace(model)
    mixing = mixing_groups(graph)
    units = []
    for group in graph.groups:
        trained = [p for p in group.slices if graph.variables.get(p.weight) is not None]
        whole = [p for p in trained if p.role in ("write", "read", "pass")]
        whole = tuple(p for p in whole if graph.variables[p.weight].trainable)
        if group.kind != "block" and group.name not in mixing:
            units.append(Units(group, whole, whole, group.free))
    gone = {each.group.name: each.on & (np.arange(len(each.on)) % 3 == 1) for each in units}
    cuts = cuts_of(graph, [each.group for each in units], gone, 1, "gone")
    if not cuts:
        pytest.skip("layers normalise across every axis that can be cut")
    made: Plan = plan_of(graph, cuts)
    twin = copied(model)
    optimizer = Penalising(0.0)
    optimizer.build(twin.trainable_variables)
    optimizer.attach(Penalty(tuple(units), None), graph.variables_of(twin), 0.0)
    for each in made.cuts:
        alive = np.ones(each.units, "float32")
        alive[list(each.remove)] = 0
        optimizer.alive[each.group].assign(alive)
    grads = [keras.ops.zeros(v.shape, v.dtype) for v in twin.trainable_variables]
    optimizer.apply(grads, twin.trainable_variables)
    x = inputs_of(model)
    assert_same(outputs(cut(twin, made), x), outputs(twin, x))
    assert any((a != b).any() for a, b in zip(outputs(twin, x), outputs(model, x), strict=True))


@pytest.mark.parametrize("name", some(3))
def test_a_group_lasso_shrinks_every_group_of_any_wiring(name):
    model = model_of(name)
    graph = trace(model)
    twin, before, optimizer = stepped(graph, penalty(graph, "group_lasso"), model)
    after = values(graph, twin)
    for units in optimizer._penalty.units:
        small, large = units.norms(after), units.norms(before)
        if units.parts:
            assert (small <= large * (1 + 1e-6)).all(), units.group.name
            assert (small < large)[units.on].any(), units.group.name
    keys = {part.weight for units in optimizer._penalty.units for part in units.whole}
    for key in set(before) - keys:
        np.testing.assert_array_equal(after[key], before[key])
