import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import DataError
from secateur.graph.observe import loss_for, observe
from secateur.graph.trace import trace
from zoo import inputs_of, model_of


def test_taylor_is_the_squared_product_of_gradient_and_weight():
    i = keras.Input((3,))
    model = keras.Model(i, layers.Dense(1, use_bias=False, name="out")(i))
    weight = np.array([[1.0], [-2.0], [0.5]])
    model.get_layer("out").kernel.assign(weight)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=8).astype("float32")
    stats = observe(trace(model), (x, y), needs={"taylor"}, batch_size=4)
    expected = np.zeros((3, 1))
    for rows in (slice(0, 4), slice(4, 8)):
        error = x[rows] @ weight - y[rows, None]
        gradient = 2 * x[rows].T @ error / 4
        expected += np.square(gradient * weight)
    np.testing.assert_allclose(stats.taylor["out/kernel"], expected / 2, rtol=1e-4)
    assert stats.samples == 8


def test_observing_moves_nothing_and_repeats_exactly():
    model = model_of("vgg")
    before = [np.array(w) for w in model.weights]
    x, y = inputs_of(model, 16), np.arange(16) % 4
    graph = trace(model)
    one, other = (observe(graph, (x, y), needs={"taylor"}, seed=3) for _ in range(2))
    for key, value in one.taylor.items():
        assert value.max() > 0, key
        np.testing.assert_array_equal(value, other.taylor[key])
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))


def test_gradients_need_data():
    with pytest.raises(DataError, match="needs data with labels"):
        observe(trace(model_of("dense")), needs={"taylor"})


@pytest.mark.parametrize(
    ("units", "activation", "logits"),
    [
        (2, None, True),
        (2, "softmax", False),
        (2, "sigmoid", False),
        (1, None, True),
        (1, "sigmoid", False),
    ],
)
def test_the_loss_takes_probabilities_for_what_they_are(units, activation, logits):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(units, activation=activation)(inputs))
    assert loss_for(model, np.array([0, 1])).from_logits is logits
