"""Steps that train or judge take subclassed models, as those that only cut do."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.data.read import read
from secateur.graph.weights import to_numpy
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.regularize import Regularize
from secateur.steps.sensitivity import sensitivity
from secateur.steps.training import fit


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(24)
        self.norm = layers.BatchNormalization()
        self.second = layers.Dense(24, activation="relu")
        self.last = layers.Dense(2, activation="softmax")

    def call(self, x, training=None):
        x = keras.activations.relu(self.norm(self.first(x), training=training))
        return self.last(x + self.second(x))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype("float32")
    return read((x, (x[:, 0] > 0).astype("int32")))


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(0)
    own = Own()
    own(data.train.sample(2)[0])
    return own


@pytest.mark.parametrize(
    "step",
    [
        FineTune(epochs=1, distill=True),
        Regularize(params=0.7, epochs=2, round_to=1),
        Prune(max_drop=60, trials=2, round_to=1),
        Prune(macs=0.5, rounds=2, epochs=1, round_to=1),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_step_takes_a_subclassed_model(model, data, step):
    before = [to_numpy(each).copy() for each in model.weights]
    taught = {"teacher": model} if isinstance(step, FineTune) else {}
    result = step(model, data, **taught)
    x, _ = data.test.sample(16)
    np.testing.assert_allclose(to_numpy(result.model(x)).sum(1), 1, rtol=1e-5)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), value)


def test_what_is_trained_goes_on_from_the_weights_of_a_subclassed_model(model, data):
    trained, _ = fit(model, data, epochs=1, learning_rate=1e-9)
    # The moving statistics of a batch normalization are noted at any rate.
    first, own = trained.layers[1], model.first
    assert first.name == own.name
    np.testing.assert_allclose(to_numpy(first.kernel), to_numpy(own.kernel), atol=1e-6)


def test_the_sensitivity_of_a_subclassed_model_is_measured(model, data):
    curves = sensitivity(model, data, shares=(0.5,))
    assert {len(curve.cut) for curve in curves} == {1}
    assert all(np.isfinite(curve.cut).all() for curve in curves)
