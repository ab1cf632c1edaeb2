"""Subclassed models are followed through their `call`, and what is cut is a functional model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from secateur.errors import ModelError
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import Plan, plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.masks import mask
from zoo import assert_close, randomised


class Residual(keras.Model):
    def __init__(self):
        super().__init__()
        self.stem = layers.Dense(16, activation="relu")
        self.inner = [layers.Dense(24, activation="gelu") for _ in range(2)]
        self.outer = [layers.Dense(16) for _ in range(2)]
        self.head = layers.Dense(3)

    def call(self, x):
        x = self.stem(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + outer(inner(x))
        return self.head(ops.relu(x))


class Words(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(12, 16)
        self.cell = layers.LSTM(16)
        self.head = layers.Dense(2)

    def call(self, inputs):
        return self.head(self.cell(self.table(inputs["words"])))


class Odd(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(8)

    def call(self, x):
        return ops.convert_to_tensor(to_numpy(self.first(x)))


class Owner(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(8)
        self.scale = self.add_weight(name="scale", shape=(8,))

    def call(self, x):
        return self.first(x) * self.scale


def built(kind):
    model = kind()
    x = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    inputs = {"words": np.abs(x * 3).astype("int32")} if kind is Words else x
    model(inputs)
    return randomised(model), inputs


@pytest.mark.parametrize("kind", [Residual, Words])
def test_a_subclassed_model_is_cut_as_masked(kind, tmp_path):
    model, x = built(kind)
    before = [np.array(weight) for weight in model.weights]
    graph = trace(model)
    made = plan(graph, observe(graph), macs=0.5, round_to=1)
    smaller = cut(model, Plan.from_json(made.to_json()))
    assert_close(smaller(x), mask(model, made)(x), 1e-4)
    assert trace(smaller).macs() == made.after["macs"] <= 0.5 * graph.macs()
    smaller.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(again(x), smaller(x), 1e-5)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(weight))


def test_the_empty_plan_leaves_what_it_computes():
    model, x = built(Residual)
    same = cut(model, Plan.empty(trace(model)))
    assert_close(same(x), model(x), 1e-5)


def test_it_heals_and_learns_with_gradients():
    model, x = built(Residual)
    graph = trace(model)
    y = np.random.default_rng(1).integers(0, 3, len(x))
    made = plan(graph, observe(graph, (x, y), needs={"taylor"}), macs=0.6, by="taylor", round_to=1)
    healed, done = heal(cut(model, made), model, made, x)
    assert done
    assert np.isfinite(to_numpy(healed(x))).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Residual, "never called"),
        (lambda: built(Odd)[0], "cannot be followed"),
        (lambda: built(Owner)[0], "cannot be followed"),
    ],
)
def test_what_cannot_be_followed_is_refused(make, said):
    with pytest.raises(ModelError, match=said) as caught:
        trace(make())
    assert caught.value.mend
