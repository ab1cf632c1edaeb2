"""Contracts and tiny models that the tests of this room export."""

import numpy as np
import pytest

from secateur.data.contract import (
    CategoricalColumn,
    Contract,
    ImageSpec,
    NumericColumn,
    Target,
)


def numbers(count, target=None):
    columns = tuple(NumericColumn(name=f"c{i}", low=-4, high=4) for i in range(count))
    return Contract(kind="table", columns=columns, target=target)


@pytest.fixture
def two_classes():
    return numbers(5, Target(name="y", classes=("no", "yes")))


@pytest.fixture
def three_classes():
    return numbers(5, Target(name="y", classes=("a", "b", "c")))


@pytest.fixture
def price():
    return numbers(5, Target(name="price"))


@pytest.fixture
def mixed():
    words = CategoricalColumn(name="colour", vocabulary=("red", "green", "blue"))
    return Contract(
        kind="table",
        columns=(NumericColumn(name="a", low=0, high=9), words),
        target=Target(name="y", classes=("no", "yes")),
    )


@pytest.fixture
def photos():
    return Contract(
        kind="image",
        image=ImageSpec(height=8, width=8),
        target=Target(name="class", classes=("a", "b", "c")),
    )


@pytest.fixture
def dense():
    """Return a function that builds a small dense model on 5 numbers."""
    import keras

    def build(units=3, activation="softmax", seed=0):
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.Input((5,), name="numeric"),
                keras.layers.Dense(8, activation="relu"),
                keras.layers.Dense(units, activation=activation),
            ]
        )

    return build


@pytest.fixture
def rows():
    return np.random.default_rng(1).standard_normal((20, 5)).astype("float32")
