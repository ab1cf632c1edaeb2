"""What is seen on forward passes, and gradients of single rows."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.errors import DataError, ModelError, PlanError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.graph.walk import Walk
from secateur.graph.weights import to_numpy
from zoo import inputs_of, model_of

X = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")


def two_layers():
    i = keras.Input((3,))
    x = layers.Dense(4, "relu", name="hidden")(i)
    return keras.Model(i, layers.Dense(2, name="out")(x))


def test_weights_see_what_they_multiply_and_what_comes_of_it():
    model = two_layers()
    stats = observe(trace(model), X, needs={"activations", "moments"})
    h = np.maximum(X @ model.get_layer("hidden").get_weights()[0], 0)
    seen = stats.activations
    np.testing.assert_allclose(seen.inputs["out/kernel"].size, h.mean(0)[:, None], rtol=1e-4)
    np.testing.assert_allclose(
        seen.inputs["out/kernel"].square, np.square(h).mean(0)[:, None], rtol=1e-4
    )
    np.testing.assert_allclose(seen.inputs["out/kernel"].zeros, (h == 0).mean(0)[:, None])
    np.testing.assert_allclose(seen.outputs["hidden/bias"].size, h.mean(0), rtol=1e-4)
    (moments,) = stats.moments["hidden"]
    assert (moments.weight, moments.offset) == ("out/kernel", True)
    np.testing.assert_allclose(moments.products, h.T @ h / len(h), rtol=1e-4)
    np.testing.assert_allclose(moments.mean, h.mean(0), rtol=1e-4)
    assert stats.samples == 100
    assert stats.gathered == {"weights", "activations", "moments"}


def test_a_convolution_sees_channels_at_all_places():
    i = keras.Input((6, 6, 4))
    x = layers.Conv2D(8, 3, name="conv")(i)
    model = keras.Model(i, layers.Conv2D(6, 3, groups=2, name="grouped")(x))
    x = np.random.default_rng(0).normal(size=(9, 6, 6, 4)).astype("float32")
    seen = observe(trace(model), x, needs={"activations"}).activations
    size = np.abs(x).mean((0, 1, 2)).reshape(1, 1, 4, 1)
    np.testing.assert_allclose(seen.inputs["conv/kernel"].size, size, rtol=1e-5)
    made = seen.outputs["conv/kernel"].size.reshape(2, 4).mean(0)
    # One group's worth of channels, over both groups.
    np.testing.assert_allclose(seen.inputs["grouped/kernel"].size.ravel(), made, rtol=1e-5)


def test_fisher_is_the_mean_squared_gradient_of_single_rows():
    i = keras.Input((3,))
    model = keras.Model(i, layers.Dense(1, use_bias=False, name="out")(i))
    weight = np.array([[1.0], [-2.0], [0.5]])
    model.get_layer("out").kernel.assign(weight)
    y = np.random.default_rng(1).normal(size=20).astype("float32")
    stats = observe(trace(model), (X[:20], y), needs={"fisher"})
    gradients = 2 * X[:20] * (X[:20] @ weight - y[:, None])
    expected = np.square(gradients).mean(0)[:, None]
    np.testing.assert_allclose(stats.fisher["out/kernel"], expected, rtol=1e-4)


def test_normalisations_stand_still_for_single_rows():
    i = keras.Input((3,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(5)(i))
    model = keras.Model(i, layers.Dense(2, "softmax")(layers.ReLU()(x)))
    before = [w.copy() for w in model.get_weights()]
    stats = observe(trace(model), (X, np.arange(100) % 2), needs={"fisher"})
    assert stats.fisher["norm/gamma"].max() > 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_observing_repeats_exactly():
    model = model_of("residual")
    x, graph = inputs_of(model, 70), trace(model)
    one, other = (observe(graph, x, needs={"activations", "moments"}, seed=1) for _ in range(2))
    assert one.moments.keys() == other.moments.keys()
    for name, found in one.moments.items():
        for a, b in zip(found, other.moments[name], strict=True):
            np.testing.assert_array_equal(a.products, b.products)


@pytest.mark.parametrize(
    ("needs", "data", "what"),
    [
        ({"taylor"}, None, "taylor needs data with labels"),
        ({"taylor"}, X, "taylor needs data with labels"),
        ({"taylor", "fisher", "moments"}, (X, None), "taylor and fisher need data with labels"),
        ({"moments"}, None, "moments needs data, and none"),
        ({"activations"}, X[:0], "one at least"),
        ({"activations"}, [X, X], "received 2 arrays"),
    ],
)
def test_what_is_missing_is_named(needs, data, what):
    with pytest.raises(DataError, match=what) as caught:
        observe(trace(two_layers()), data, needs=needs)
    assert caught.value.mend


def test_a_need_that_is_unknown_is_an_error():
    with pytest.raises(PlanError, match="'tailor'") as caught:
        observe(trace(two_layers()), X, needs={"tailor"})
    assert "taylor" in caught.value.mend


def test_activations_that_are_not_finite_are_an_error():
    x = X.copy()
    x[3, 1] = np.nan
    with pytest.raises(ModelError, match="activation is NaN") as caught:
        observe(trace(two_layers()), x, needs={"activations"})
    assert caught.value.where == "hidden/kernel"


def test_a_model_that_takes_some_rows_at_a_time_gets_as_many():
    i = keras.Input(batch_shape=(8, 3))
    model = keras.Model(i, layers.Dense(2)(layers.Dense(4, name="hidden")(i)))
    graph = trace(model)
    assert observe(graph, X[:20], needs={"activations"}).activations.inputs
    with pytest.raises(DataError, match="8 rows at a time, received 5"):
        observe(graph, X[:5], needs={"activations"})


def test_layers_that_vary_images_are_still_when_a_graph_is_run():
    i = keras.Input((8, 8, 3))
    x = keras.layers.RandomFlip(seed=1)(i)
    model = keras.Model(i, keras.layers.Conv2D(4, 3)(x))
    rows = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
    graph = trace(model)
    walk = Walk(graph, rows)
    for call in graph.calls[:-1]:
        walk.step(call)
    last = graph.calls[-1]
    wanted = model(rows, training=False)
    np.testing.assert_allclose(walk.run(last), to_numpy(wanted), rtol=1e-4, atol=1e-5)
