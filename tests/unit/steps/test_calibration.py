import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import DataError, PlanError
from secateur.formats.calls import uses
from secateur.graph.weights import to_numpy
from secateur.steps.calibration import (
    Histogram,
    entropy,
    method_of,
    minmax,
    mse,
    observed,
    percentile,
)
from secateur.steps.equalize import correct_bias, equalize
from secateur.steps.folding import fold
from zoo import assert_same, outputs, randomised


def histogram(*batches):
    found = Histogram()
    for batch in batches:
        found.add(np.asarray(batch, np.float32).reshape(-1, 1))
    return found


def test_a_histogram_widens_without_losing_a_value():
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, 1000) for scale in (0.01, 1, 50)]
    found = histogram(*parts)
    assert found.counts.sum() == 3000
    every = np.concatenate(parts)
    assert minmax(found) == pytest.approx((every.min(), every.max()), rel=1e-5)
    np.testing.assert_allclose(found.mean, [every.mean()], rtol=1e-4)


def test_a_percentile_cuts_off_the_outlier():
    rng = np.random.default_rng(0)
    low, high = percentile(histogram(np.append(rng.uniform(0, 1, 100_000), 40)), 0.999)
    assert low >= 0
    assert 0.95 < high < 1.1


def test_an_even_distribution_is_not_clipped():
    values = np.random.default_rng(0).uniform(-1, 1, 50_000)
    for method in (entropy, mse):
        low, high = method(histogram(values))
        assert low < -0.9
        assert high > 0.9


def test_a_lone_outlier_is_clipped():
    rng = np.random.default_rng(0)
    assert entropy(histogram(np.append(rng.normal(0, 1, 50_000), 40)))[1] < 30
    # Its square weighs more, so it takes more values to outweigh it.
    assert mse(histogram(np.append(rng.normal(0, 1, 400_000), 12)))[1] < 11


def test_nothing_but_zeros_has_a_range_of_zero():
    for name in ("minmax", "percentile", "entropy", "mse"):
        assert method_of(name)(histogram(np.zeros(9))) == (0.0, 0.0)


def test_what_is_no_number_and_what_is_no_method_is_refused():
    with pytest.raises(DataError, match="NaN"):
        histogram([1.0, np.nan])
    with pytest.raises(PlanError, match="no calibration 'best'"):
        method_of("best")


def chained():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="one")(x)
    x = layers.MaxPooling2D()(layers.ReLU()(layers.DepthwiseConv2D(3, name="two")(x)))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="three")(x))
    return fold(randomised(keras.Model(inputs, layers.Dense(2, name="four")(x)))).model


def test_equalized_layers_compute_the_same_with_even_ranges():
    model = chained()
    one = model.get_layer("one")
    factors = np.array([0.01, 1, 1, 1, 1, 100], np.float32)
    one.kernel.assign(to_numpy(one.kernel) * factors)
    # A bias that is large beside its kernel bounds how far a channel is scaled.
    one.bias.assign(0 * to_numpy(one.bias))
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    before = outputs(model, x)
    assert equalize(*uses(model)) == 3
    assert_same(outputs(model, x), before, 1e-5)
    sizes = np.abs(to_numpy(one.kernel)).max(axis=(0, 1, 2))
    others = np.abs(to_numpy(model.get_layer("two").kernel)).max(axis=(0, 1, 3))
    np.testing.assert_allclose(sizes, others, rtol=0.05)


def test_a_corrected_bias_takes_the_shift_away():
    x = inputs = keras.Input((6,))
    model = randomised(keras.Model(inputs, layers.Dense(4, name="d")(x)))
    rows = np.random.default_rng(0).uniform(0, 2, (256, 6)).astype("float32")
    before = outputs(model, rows)[0].mean(0)
    layer, key = model.get_layer("d"), model.inputs[0].name
    error = np.random.default_rng(1).normal(0, 0.1, (6, 4)).astype("float32")
    layer.kernel.assign(to_numpy(layer.kernel) + error)
    seen = observed(model, [key], [rows[:100], rows[100:]])
    assert correct_bias(layer, error, [seen[key].mean])
    np.testing.assert_allclose(outputs(model, rows)[0].mean(0), before, atol=1e-5)
