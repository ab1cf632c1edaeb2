"""The variables of a model by the keys that a graph names them with, and copies of models."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from secateur.graph.functional import is_nested


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a variable or tensor of any backend as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def variables(model: Any, scope: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return every weight of a model by its key: the path of its layer, and its name."""
    found = {}
    for layer in model.layers:
        path = (*scope, layer.name)
        if is_nested(layer):
            found.update(variables(layer, path))
        else:
            found.update({"/".join((*path, weight.name)): weight for weight in layer.weights})
    return found


def copied(model: keras.Model) -> keras.Model:
    """Return a new model with the same layers, names and weights; the given one is untouched."""
    twin = keras.models.clone_model(model)
    for source, target in zip(model.weights, twin.weights, strict=True):
        target.assign(source)
    return twin
