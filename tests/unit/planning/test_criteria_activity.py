"""Criteria on what passes through, on cases whose answer is known."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.planning import criteria
from unit.planning.models import group_of, hidden, of_zoo, seen
from zoo import unequal_sizes

X = np.random.default_rng(0).normal(size=(150, 3)).astype("float32")
IMAGES = np.random.default_rng(1).normal(size=(70, 8, 8, 2)).astype("float32")
KERNEL = np.array([[1.0, -1, 0, 2], [0, 1, 1, 0], [0, 0, 1, 1]])
READER = np.array([[1.0, 2], [3, 0], [0, 1], [-1, 1]])


def scores(model, x, by, name="hidden"):
    rank = criteria.criterion(by)
    graph, stats = seen(model, x, criteria.needed(rank))
    return rank(group_of(graph, name), stats)


def test_activation_is_the_mean_size():
    size = np.abs(np.maximum(X @ KERNEL, 0)).mean(0)
    found = scores(hidden(KERNEL, READER, activation="relu"), X, "activation")
    np.testing.assert_allclose(found, size / size.mean(), rtol=1e-5)


def test_apoz_is_worst_for_a_dead_unit():
    model = hidden(KERNEL, READER, activation="relu", bias=[0, 0, -100, 100])
    found = scores(model, X, "apoz")
    share = (X @ KERNEL > 0).mean(0)
    np.testing.assert_allclose(found, [share[0], share[1], 0, 1], rtol=1e-6)


def test_wanda_is_weight_times_norm():
    norm = np.sqrt(np.square(X @ KERNEL).mean(0))
    expected = np.abs(READER).sum(1) * norm
    found = scores(hidden(KERNEL, READER), X, "wanda")
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)


def test_a_unit_that_another_repeats_can_be_reconstructed():
    kernel = np.array([[1.0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    found = scores(hidden(kernel, READER), X, "reconstruction")
    assert (found[[0, 2]] < 1e-3).all()
    assert (found[[1, 3]] > 0.1).all()


def test_reconstruction_is_the_error_of_the_best_compensation():
    mix = np.array([[1.0, 0.5, 0.2], [0, 1, 0.5], [0.3, 0, 1]])
    reader = READER[:3]
    found = scores(hidden(mix, reader), X, "reconstruction")
    x = X @ mix
    lost = []
    for unit in range(3):
        others = np.delete(x, unit, axis=1)
        left = x[:, unit] - others @ np.linalg.lstsq(others, x[:, unit], rcond=None)[0]
        lost.append(np.square(left).mean() * np.square(reader[unit]).sum())
    alone = np.square(x).mean(0) * np.square(reader).sum(1)
    np.testing.assert_allclose(found, lost / alone.mean(), rtol=2e-3)


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_constant_costs_nothing_where_the_reader_has_a_bias(use_bias):
    keras.utils.set_random_seed(0)
    i = keras.Input((3,))
    x = layers.Dense(3, name="hidden")(i)
    model = keras.Model(i, layers.Dense(2, use_bias=use_bias)(x))
    model.get_layer("hidden").set_weights([np.diag([1.0, 1, 0]), np.array([0.0, 0, 5])])
    found = scores(model, X, "reconstruction")
    assert found[0] > 0.01
    assert (found[2] < 1e-6) == use_bias


def convolutional():
    i = keras.Input((8, 8, 2))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(i)
    x = layers.Conv2D(4, 3, name="reader", activation="relu")(x)
    model = keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(3, 3, 2, 6))
    kernel[..., 1] = kernel[..., 0]
    model.get_layer("conv").set_weights([kernel, np.array([0, 0, 0, 0, 0, -1000.0])])
    model.get_layer("reader").set_weights([rng.normal(size=(3, 3, 6, 4)), np.zeros(4)])
    return model


@pytest.mark.parametrize(
    ("by", "lowest"),
    [("reconstruction", {0, 1, 5}), ("apoz", {5}), ("activation", {5}), ("wanda", {5})],
)
def test_a_repeated_and_a_dead_filter_go_first(by, lowest):
    found = scores(convolutional(), IMAGES, by, "conv")
    assert set(np.argsort(found)[: len(lowest)]) == lowest
    assert found[5] == 0
    if by == "reconstruction":
        assert found[:2].max() < 0.01 * found[2:5].min()


def test_all_places_behind_a_flatten_are_one_unit():
    model = convolutional()
    inner = keras.Model(model.input, model.get_layer("reader").output)
    size = np.abs(keras.ops.convert_to_numpy(inner(IMAGES))).mean((0, 1, 2))
    found = scores(model, IMAGES, "activation", "reader")
    np.testing.assert_allclose(found, size / size.mean(), rtol=1e-4)


@unequal_sizes
def test_queries_and_keys_count_by_what_is_made():
    model, x, _ = of_zoo("attention")
    graph, stats = seen(model, x, ["activations"])
    group = next(group for group in graph.groups if group.kind == "query-key")
    assert not any(part.role == "read" for part in group.slices)
    outputs = stats.activations.outputs
    made = [
        outputs[part.weight].size.mean(
            tuple(a for a in range(outputs[part.weight].size.ndim) if a != part.axis)
        )
        for part in group.slices
        if part.role == "write" and part.weight in outputs
    ]
    assert len(made) >= 2
    expected = np.exp(np.mean(np.log(made), axis=0))
    found = criteria.criterion("activation")(group, stats)
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("by", ["activation", "wanda", "reconstruction"])
def test_a_block_counts_by_what_it_adds(by):
    i = keras.Input((3,))
    x = layers.Dense(8, name="stem")(i)
    for number in range(3):
        y = layers.Dense(6, "relu", name=f"wide_{number}")(x)
        x = layers.Add()([x, layers.Dense(8, name=f"narrow_{number}")(y)])
    model = keras.Model(i, layers.Dense(2)(x))
    for number, factor in enumerate((1.0, 0.0, 0.01)):
        kernel, bias = model.get_layer(f"narrow_{number}").get_weights()
        model.get_layer(f"narrow_{number}").set_weights([kernel * factor, bias])
    rank = criteria.criterion(by)
    graph, stats = seen(model, X, criteria.needed(rank))
    found = rank(next(group for group in graph.groups if group.kind == "block"), stats)
    assert np.argsort(found).tolist() == [1, 2, 0]
    assert found[1] == 0
    assert found.mean() == pytest.approx(8)
