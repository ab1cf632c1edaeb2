"""The register of wirings, and what is done with a model of any of them."""

import os
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from secateur.graph.rule import Flow
from secateur.graph.weights import to_numpy

ZOO: dict[str, Callable[[], keras.Model]] = {}


def wiring(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    ZOO[build.__name__] = build
    return build


def model_of(name: str, seed: int = 0) -> keras.Model:
    """Build a model of the zoo with weights that leave no unit like another."""
    return randomised(ZOO[name](), seed)


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if not np.issubdtype(np.dtype(weight.dtype), np.floating):
            continue
        value = rng.normal(0, 0.4, weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            value = rng.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
    return model


def inputs_of(model: keras.Model, rows: int = 5, seed: int = 1):
    rng = np.random.default_rng(seed)
    found = []
    for tensor in model.inputs:
        shape = (rows, *(length or 16 for length in tensor.shape[1:]))
        if np.issubdtype(np.dtype(tensor.dtype), np.integer):
            found.append(rng.integers(0, 8, shape).astype(tensor.dtype))
        elif tensor.dtype == "bool":
            found.append(rng.random(shape) < 0.7)
        else:
            found.append(rng.normal(size=shape).astype(tensor.dtype))
    return found if len(found) > 1 else found[0]


def outputs(model, x):
    """Compute a model's outputs as a list of arrays."""
    found = model(x, training=False)
    return [to_numpy(value) for value in (found if isinstance(found, list) else [found])]


def assert_same(one, other, tolerance=1e-4):
    """Compare lists of arrays, relative to the largest value of each."""
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


unequal_sizes = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX takes keys and values of one size alone"
)
writes_files = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="files for runtimes are written from the TensorFlow backend",
)


def assert_close(one, other, tolerance=1e-4):
    """Compare two tensors of any backend."""
    np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=tolerance, atol=tolerance)


def conv(x, filters, size=3, **options):
    """A convolution without bias, normalised, behind a ReLU."""
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def head(x, units=4):
    """A classifier of images."""
    return layers.Dense(units)(layers.GlobalAveragePooling2D()(x))


def mixed_axis(rule) -> int | None:
    """Return the axis that a call normalises across, if it does."""
    if isinstance(rule, Flow):
        return rule.axis if rule.mixes else None
    return getattr(rule, "mixes", None)


def mixing_groups(graph) -> set[str]:
    """Return the groups whose units some operation normalises across."""
    mixed = np.zeros(graph.units, bool)
    for call in graph.calls:
        axis = mixed_axis(call.rule)
        ids = None if axis is None else graph.tensors[call.inputs[0]].axes[axis]
        if ids is not None:
            mixed[ids] = True
    return {group.name for group in graph.groups if mixed[group.units].any()}


def some(*starts, of=None, without=()):
    """Return the names of every eighth wiring, from one or more of the first eight.

    With `make laws` it is all of them. What is cut computes what is masked is tried on all
    anyway; what follows from that needs fewer, and each test looks at others.
    """
    names = sorted(set(ZOO if of is None else of) - set(without))
    if os.environ.get("WHOLE_ZOO"):
        return names
    return sorted({name for start in starts for name in names[start % 8 :: 8]})
