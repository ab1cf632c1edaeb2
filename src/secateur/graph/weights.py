"""Variables of any backend as arrays, and copies of models."""

from __future__ import annotations

from itertools import chain
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a variable or tensor of any backend as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def copied(model: keras.Model) -> keras.Model:
    """Return a new model with the same layers, names and weights; the given one is untouched."""
    own = has_own_class(model)
    # A model in a model is made from its config, which gives classes of the user's by name.
    with keras.saving.custom_object_scope(own_classes(model)):
        twin: Any = (
            type(model).from_config(model.get_config()) if own else keras.models.clone_model(model)
        )
    for source, target in paired(model, twin):
        target.assign(source)
    return twin


def own_classes(layer: keras.Layer) -> dict[str, type]:
    """Return the classes of a layer and of those in it that Keras does not know, by their names."""
    kinds = {type(each) for each in layer._flatten_layers()}
    return {
        keras.saving.get_registered_name(kind): kind
        for kind in kinds
        if not kind.__module__.startswith("keras.")
    }


def has_own_class(model: keras.Model) -> bool:
    """Say whether a model is of a class that says in its config how it is built."""
    return type(model) not in (keras.Model, keras.Sequential, Functional)


def paired(one: Any, other: Any) -> list[tuple[Any, Any]]:
    """Return the weights of a layer or model, each with that of another one made from its config.

    What is built in another way may list its weights in another order: they are known by the
    names on the way to them, where these are the same.

    Raises:
        ValueError: they do not have as many weights.
    """
    if isinstance(one, keras.Model) and isinstance(other, keras.Model):
        layers = [layer for layer in one.layers if layer.weights]
        named = {layer.name: layer for layer in other.layers}
        if all(layer.name in named for layer in layers):
            inner = chain.from_iterable(paired(layer, named[layer.name]) for layer in layers)
            known = {id(source): (source, target) for source, target in inner}
            if len(known) == len(one.weights):
                return list(known.values())
    ways, others = _ways(one), _ways(other)
    if ways.keys() == others.keys() and len(ways) == len(one.weights) == len(other.weights):
        return [(variable, others[way]) for way, variable in ways.items()]
    return list(zip(one.weights, other.weights, strict=True))


def _ways(layer: Any) -> dict[str, Any]:
    return {each.path.rpartition(f"{layer.name}/")[2]: each for each in layer.weights}


def is_array(leaf: Any) -> bool:
    """Say whether an argument is an array, a tensor or a variable with axes."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype") and len(leaf.shape) > 0
