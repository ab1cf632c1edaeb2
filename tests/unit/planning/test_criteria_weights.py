"""Criteria on weights, on cases whose answer is known."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.planning import criteria
from secateur.planning.scoring import normalised, of_units
from unit.planning.models import group_of, hidden


def scores(model, by, name="hidden"):
    graph = trace(model)
    return criteria.criterion(by)(group_of(graph, name), observe(graph))


def test_lamp_is_the_same_whatever_the_size_of_a_layer():
    rng = np.random.default_rng(0)
    kernel, reader = rng.normal(size=(4, 6)), rng.normal(size=(6, 3))
    one, other = hidden(kernel, reader), hidden(100 * kernel, reader)
    np.testing.assert_allclose(scores(one, "lamp"), scores(other, "lamp"), rtol=1e-5)


def test_a_copy_of_the_median_goes_with_it():
    kernel = np.array([[0.0, 5, 1, 1, -6]])
    found = scores(hidden(kernel, np.ones((5, 1))), "fpgm")
    distances = np.abs(kernel[0][:, None] - kernel[0]).sum(1)
    np.testing.assert_allclose(found, distances / distances.mean(), rtol=1e-6)
    assert set(np.argsort(found)[:3]) == {0, 2, 3}
    assert found[2] == found[3]


def test_the_gates_of_a_cell_are_one_unit():
    i = keras.Input((4, 3))
    model = keras.Model(i, layers.Dense(2)(layers.LSTM(5, name="cells")(i)))
    graph = trace(model)
    group = group_of(graph, "cells")
    part = next(p for p in group.slices if p.weight == "cells/kernel")
    kernel = np.asarray(model.get_layer("cells").get_weights()[0])
    there, vectors = of_units(group, part, kernel)
    assert there.tolist() == [0, 1, 2, 3, 4]
    for unit in range(5):
        np.testing.assert_array_equal(np.sort(vectors[unit]), np.sort(kernel[:, unit::5].ravel()))
    assert criteria.criterion("fpgm")(group, observe(graph)).mean() == pytest.approx(1)


def test_a_scale_of_zero_goes_first():
    i = keras.Input((8, 8, 2))
    x = layers.BatchNormalization(name="scaled")(layers.Conv2D(4, 3, name="first")(i))
    model = keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.ReLU()(x))))
    model.get_layer("scaled").gamma.assign([0.5, 0.0, -2.0, 1.0])
    found = scores(model, "bn_scale", "first")
    np.testing.assert_allclose(found, np.array([0.5, 0, 2, 1]) * 4 / 3.5)


def test_units_without_a_scale_among_others_are_of_average_scale():
    i = keras.Input((8, 8, 2))
    one = layers.BatchNormalization(name="scaled")(layers.Conv2D(2, 3, name="one")(i))
    x = layers.Concatenate()([one, layers.Conv2D(2, 3, name="other")(i)])
    x = layers.Add()([x, layers.Conv2D(4, 3, name="all")(i)])
    model = keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.get_layer("scaled").gamma.assign([1.0, 3.0])
    graph = trace(model)
    (group,) = graph.groups
    found = np.sort(criteria.criterion("bn_scale")(group, observe(graph)))
    np.testing.assert_allclose(found, [0.5, 1, 1, 1.5])


def test_normalising_gives_a_mean_of_one_and_leaves_nothing_as_it_is():
    assert normalised(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert normalised(np.zeros(3)).tolist() == [0, 0, 0]


def test_units_that_are_not_on_a_weight_have_no_elements_there():
    group = type("G", (), {"__len__": lambda self: 3})()
    part = type("P", (), {"axis": 0, "unit": np.array([2, -1, 0, 2])})()
    there, vectors = of_units(group, part, np.array([[1.0], [2], [3], [4]]))
    assert there.tolist() == [0, 2]
    assert vectors.tolist() == [[3, 0], [1, 4]]
