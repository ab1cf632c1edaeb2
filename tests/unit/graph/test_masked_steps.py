"""Padded steps of sequences, which Keras masks, count in no statistic and in no healing."""

import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal

ROWS, STEPS = 150, 12


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((STEPS,), dtype="int32")
    x = layers.Embedding(30, 16, mask_zero=True, name="words")(inputs)
    x = layers.Dense(24, name="inner")(x)
    x = layers.ReLU(name="re_lu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(8, name="read")(x)
    made = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    # What stands for padding is unlike all words.
    table = to_numpy(made.get_layer("words").embeddings).copy()
    table[0] = 5.0
    made.get_layer("words").embeddings.assign(table)
    return made


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(0)
    found = np.zeros((ROWS, STEPS), "int32")
    for row, length in zip(found, rng.integers(1, 6, ROWS), strict=True):
        row[:length] = rng.integers(1, 30, length)
    return found


def given_by(model, name, tokens):
    """Return what a layer gives, at the steps that count."""
    inner = keras.Model(model.inputs, model.get_layer(name).output)
    return to_numpy(inner(tokens))[tokens > 0].astype("float64")


def test_sizes_and_products_are_of_the_steps_that_count(model, tokens):
    graph = trace(model)
    stats = observe(graph, tokens, needs={"activations", "moments"})
    for name, by in (("inner", "words"), ("read", "re_lu")):
        x = given_by(model, by, tokens)
        seen = stats.activations.inputs[f"{name}/kernel"]
        np.testing.assert_allclose(seen.size.ravel(), np.abs(x).mean(0), rtol=1e-4)
        np.testing.assert_allclose(seen.square.ravel(), np.square(x).mean(0), rtol=1e-4)
    (group,) = (each for each in graph.groups if each.name == "inner")
    found = next(each for each in stats.moments[group.name] if each.weight == "read/kernel")
    np.testing.assert_allclose(found.products, x.T @ x / len(x), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-4)


def test_layers_are_healed_at_the_steps_that_count(model, tokens):
    graph = trace(model)
    made = plan(graph, observe(graph), params=0.7, by="l2", round_to=1, keep=["inner", "read"])
    assert [entry.group for entry in made.cuts] == ["words"]
    smaller = cut(model, made)
    healed, done = heal(smaller, model, made, tokens)
    told = {entry.layer: entry.done for entry in done}
    assert told["inner"].startswith("weights solved anew")
    assert told["norm"] == "statistics estimated anew"
    x, norm = given_by(healed, "inner", tokens), healed.get_layer("norm")
    np.testing.assert_allclose(to_numpy(norm.moving_mean), x.mean(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(to_numpy(norm.moving_variance), x.var(0), rtol=1e-3, atol=1e-6)
    wanted = given_by(model, "inner", tokens)
    lost = np.square(given_by(smaller, "inner", tokens) - wanted).mean()
    assert np.square(x - wanted).mean() < 0.8 * lost
