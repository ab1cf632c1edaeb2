import keras
import numpy as np
import pytest
from keras import layers

import zoo
from secateur.errors import PlanError
from secateur.graph.observe import Stats, observe
from secateur.graph.trace import trace
from secateur.planning import criteria

ON_WEIGHTS = sorted(
    by
    for by, rank in criteria.CRITERIA.items()
    if criteria.needed(rank) == {"weights"} and by != "bn_scale"
)


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
    others = observe(small, seed=1)
    assert criteria.random(group, stats).tolist() != criteria.random(group, others).tolist()


def test_a_name_that_is_none_lists_those_that_are():
    with pytest.raises(PlanError, match="no criterion 'l3'") as caught:
        criteria.criterion("l3")
    assert "taylor" in str(caught.value.mend)


def test_lamp_is_a_share_of_what_is_no_smaller(small):
    (group,) = small.groups
    stats = observe(small)
    square = criteria.l2(group, stats) ** 2
    scores = criteria.lamp(group, stats)
    expected = [s / square[square >= s].sum() for s in square]
    np.testing.assert_allclose(scores, expected)
    assert scores.max() == 1


def scaled(gammas=(3.0, 0.0, 1.0, 2.0)) -> keras.Model:
    i = keras.Input((4, 4, 2))
    x = layers.Conv2D(4, 3, name="conv")(i)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(3, name="bare")(layers.Flatten()(x))
    model = keras.Model(i, layers.Dense(2)(x))
    model.get_layer("norm").gamma.assign(gammas)
    return model


def test_scales_of_a_normalisation_rank_its_units():
    graph = trace(scaled())
    stats = observe(graph)
    named = {group.name: group for group in graph.groups}
    np.testing.assert_allclose(
        criteria.bn_scale(named["conv"], stats), np.array([3, 0, 1, 2]) / 1.5
    )
    bare = named["bare"]
    np.testing.assert_array_equal(criteria.bn_scale(bare, stats), criteria.l2(bare, stats))


def test_scales_need_a_normalisation(small):
    with pytest.raises(PlanError, match="gamma"):
        criteria.bn_scale(small.groups[0], observe(small))


def test_the_unit_amid_the_others_goes_first():
    model = scaled()
    kernel = np.zeros((3, 3, 2, 4), "float32")
    kernel[0, 0, 0] = [0.0, 10.0, 4.0, 5.0]
    model.get_layer("conv").set_weights([kernel, np.zeros(4)])
    graph = trace(model)
    group = next(group for group in graph.groups if group.name == "conv")
    scores = criteria.fpgm(group, observe(graph))
    apart = np.array([19.0, 21.0, 11.0, 11.0])
    np.testing.assert_allclose(scores, apart / apart.mean())


@pytest.mark.parametrize("by", ON_WEIGHTS)
@pytest.mark.parametrize(
    "name", ["residual", "grouped", "cross_attention", "recurrent_cells", "u_net", "normalised"]
)
def test_every_criterion_ranks_every_kind_of_unit(by, name):
    wirings = {key: make for key, make in zoo.ZOO.items() if key.startswith(name)}
    assert wirings
    for make in wirings.values():
        graph = trace(make())
        stats = observe(graph)
        for group in graph.groups:
            scores = criteria.CRITERIA[by](group, stats)
            assert scores.shape == (len(group),)
            assert np.isfinite(scores).all()
            assert (scores >= 0).all()
