import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import PlanError
from secateur.graph.observe import Stats, observe
from secateur.graph.trace import trace
from secateur.planning import criteria


@pytest.fixture
def small():
    i = keras.Input((2,))
    x = layers.Dense(3, name="hidden", use_bias=False)(i)
    model = keras.Model(i, layers.Dense(1, name="out", use_bias=False)(x))
    model.get_layer("hidden").kernel.assign([[3.0, 0.0, 1.0], [4.0, 1.0, -1.0]])
    model.get_layer("out").kernel.assign([[1.0], [2.0], [3.0]])
    return trace(model)


def test_magnitudes_average_the_kernels_that_write_and_read(small):
    stats = observe(small)
    (group,) = small.groups
    written, read = np.array([7.0, 1, 2]), np.array([1.0, 2, 3])
    expected = (written / written.mean() + read / read.mean()) / 2
    np.testing.assert_allclose(criteria.l1(group, stats), expected)
    written, read = np.array([25.0, 1, 2]), np.array([1.0, 4, 9])
    expected = np.sqrt((written / written.mean() + read / read.mean()) / 2)
    np.testing.assert_allclose(criteria.l2(group, stats), expected)


def test_taylor_sums_what_makes_the_unit(small):
    (group,) = small.groups
    taylor = {"hidden/kernel": np.array([[1.0, 2, 3], [4, 5, 6]]), "out/kernel": np.ones((3, 1))}
    stats = Stats(observe(small).weights, taylor)
    assert criteria.taylor(group, stats).tolist() == [5, 7, 9]


def test_random_is_the_same_every_time(small):
    (group,) = small.groups
    stats = observe(small)
    assert criteria.random(group, stats).tolist() == criteria.random(group, stats).tolist()
    assert len(set(criteria.random(group, stats))) == 3


def test_a_name_that_is_none_lists_those_that_are():
    with pytest.raises(PlanError, match="no criterion 'l3'") as caught:
        criteria.criterion("l3")
    assert "taylor" in str(caught.value.mend)
