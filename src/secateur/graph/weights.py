"""Variables of any backend as arrays, and copies of models."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a variable or tensor of any backend as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def copied(model: keras.Model) -> keras.Model:
    """Return a new model with the same layers, names and weights; the given one is untouched."""
    twin = keras.models.clone_model(model)
    for source, target in zip(model.weights, twin.weights, strict=True):
        target.assign(source)
    return twin


def is_array(leaf: Any) -> bool:
    """Say whether an argument is an array, a tensor or a variable with axes."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype") and len(leaf.shape) > 0
