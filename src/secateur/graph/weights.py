"""Variables of any backend as arrays, and copies of models."""

from __future__ import annotations

from inspect import isfunction
from itertools import chain
from tempfile import TemporaryDirectory
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
    # A model in a model is made from its config, which gives what is the user's by name.
    with keras.saving.custom_object_scope(own_objects(model)):
        twin: Any = (
            type(model).from_config(model.get_config()) if own else keras.models.clone_model(model)
        )
    for source, target in paired(model, twin):
        # As an array: variables of JAX that are assigned to each other share their memory, and
        # a training gives away the memory of what it trains.
        target.assign(to_numpy(source))
    settle(model, twin)
    return twin


def settle(old: keras.Layer, new: keras.Layer) -> None:
    """Give a layer made again what it learnt beside its weights, as Keras does on loading it."""
    for each in new._flatten_layers():
        if isinstance(each, keras.layers.Normalization):
            each.finalize_state()
    pairs = zip(_with_assets(old), _with_assets(new), strict=True)
    for one, other in pairs:
        with TemporaryDirectory() as folder:
            one.save_assets(folder)
            other.load_assets(folder)


def _with_assets(layer: keras.Layer) -> list[Any]:
    return [each for each in layer._flatten_layers() if hasattr(each, "save_assets")]


def own_objects(operation: Any) -> dict[str, Any]:
    """Return the classes and functions of the user's in a layer, by the names in its config."""
    found: list[Any] = []
    for layer in operation._flatten_layers() if isinstance(operation, keras.Layer) else ():
        found += [type(layer), *filter(isfunction, vars(layer).values())]
    own = (each for each in found if not (each.__module__ or "").startswith("keras."))
    return {keras.saving.get_registered_name(each): each for each in own}


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
