"""Configs: a layer or model made again from its own, with other numbers in it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import tree

from secateur.errors import ModelError
from secateur.graph.weights import own_objects, to_numpy

Shape = tuple[int, ...]
Way = tuple[Any, ...]
Place = tuple[int, int]

# A number of a config may be this many times the length of the axes that it is about.
TIMES = (1, 2, 3, 4)


def made_again(old: Any, config: dict[str, Any], path: str) -> Any:
    """Return a new operation of the same class from a config.

    Raises:
        ModelError: the class does not take its own config.
    """
    try:
        with keras.saving.custom_object_scope(own_objects(old)):
            return type(old).from_config(_unbuilt(config))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"{type(old).__name__} cannot be made again from its own config: {error}",
            where=path,
            mend="Give the class a get_config and a from_config that agree.",
        ) from error


def fault_of(operation: Any, specs: Any = None) -> ModelError | None:
    """Return why an operation cannot be saved and loaded, if so.

    Args:
        operation: a layer or an operation.
        specs: what a layer is called with; without it, nothing is known of the module that it
            comes from either, as where it stands alone in a model of other layers.
    """
    try:
        if is_stock(operation) or not isinstance(operation, keras.Layer):
            type(operation).from_config(_unbuilt(operation.get_config()))
            return None
        saved = json.loads(json.dumps(keras.saving.serialize_keras_object(operation)))
        # Loading makes a layer like this, and calls it, before it gives it its weights.
        objects = {} if specs is None else own_objects(operation)
        with quietly(), keras.saving.custom_object_scope(objects):
            new: Any = keras.saving.deserialize_keras_object(saved)
            if specs is not None and len(new.weights) < len(operation.weights):
                _called(new, specs)
    except Exception as error:
        return _unloadable(operation, f"{type(error).__name__}: {error}")
    if len(new.weights) != len(operation.weights):
        lacks = f"{len(new.weights)} weights instead of {len(operation.weights)}"
        return _unloadable(operation, f"its build makes {lacks}")
    return None


def _called(layer: Any, specs: Any) -> None:
    def entrance(leaf: Any) -> Any:
        if not isinstance(leaf, keras.KerasTensor):
            return leaf
        return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype)

    entered: Any = tree.map_structure(entrance, specs)
    args, kwargs = entered
    layer(*args, **kwargs)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back what Keras says about layers that are made by way of trial."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unloadable(layer: Any, why: str) -> ModelError:
    return ModelError(
        f"{type(layer).__name__} cannot be loaded again once saved: {why}",
        where=layer.name,
        mend="Give the class a get_config, a from_config and a build that agree.",
    )


def is_stock(layer: Any) -> bool:
    """Say whether a layer or operation is one of those that come with Keras."""
    return type(layer).__module__.startswith("keras.")


def _unbuilt(config: Any) -> Any:
    """Leave out the shapes that inner layers were built with."""
    if isinstance(config, dict):
        return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
    if isinstance(config, (list, tuple)):
        return type(config)(map(_unbuilt, config))
    return config


def config_of(layer: Any) -> dict[str, Any] | None:
    """Return a layer's config; not every class of one's own has one that works."""
    try:
        return layer.get_config()
    except Exception:
        return None


def described(layer: Any) -> str:
    """Return a layer's config as text, names aside."""
    return json.dumps(_nameless(config_of(layer)), sort_keys=True, default=str)


def _nameless(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    return config


def integers(config: Any, way: Way = ()) -> Iterator[tuple[Way, int]]:
    """Yield every integer of a config and the way to it."""
    items = (
        config.items()
        if isinstance(config, dict)
        else enumerate(config)
        if isinstance(config, (list, tuple))
        else ()
    )
    for key, value in items:
        if isinstance(value, int) and not isinstance(value, bool):
            yield (*way, key), value
        else:
            yield from integers(value, (*way, key))


def with_numbers(config: Any, ways: Sequence[Way], values: Sequence[int]) -> Any:
    """Return a config with other numbers at some places."""
    for way, value in zip(ways, values, strict=True):
        config = _with_number(config, way, value)
    return config


def _with_number(config: Any, way: Way, value: int) -> Any:
    if not way:
        return value
    step, *rest = way
    if isinstance(config, dict):
        return {**config, step: _with_number(config[step], tuple(rest), value)}
    items = list(config)
    items[step] = _with_number(items[step], tuple(rest), value)
    return type(config)(items)


def shrunk(before: Sequence[Shape], after: Sequence[Shape]) -> tuple[list[Place], int, int] | None:
    """Return the axes that became shorter, and their length before and after.

    Args:
        before: the shape of each weight.
        after: the same of what was made with other numbers.

    Returns:
        The axes as pairs (index of the weight, axis), and the lengths of the shortest, of which
        those of the others are multiples (the gates of a cell lie side by side); `None` if there
        are none, if their lengths are no multiples, or if some axis became longer.
    """
    if [len(shape) for shape in before] != [len(shape) for shape in after]:
        return None
    pairs = {
        (index, axis): pair
        for index, shapes in enumerate(zip(before, after, strict=True))
        for axis, pair in enumerate(zip(*shapes, strict=True))
        if pair[0] != pair[1]
    }
    if not pairs:
        return None
    was, now = min(pairs.values())
    alike = all(one % was == 0 and one // was * now == other for one, other in pairs.values())
    return (sorted(pairs), was, now) if alike and now < was else None


def numbers(operation: Any, args: Any, kwargs: Any) -> list[Any]:
    """Return what a call computes with that is neither a tensor of the model nor a size."""
    own = [] if isinstance(operation, keras.Layer) else list(vars(operation).values())
    given = tree.flatten((args, kwargs))
    found = []
    for leaf in (*own, *given):
        if isinstance(leaf, float):
            found.append(leaf)
        elif hasattr(leaf, "shape") and not isinstance(leaf, keras.KerasTensor):
            array = to_numpy(leaf)
            found.append((array.shape, array.tobytes()))
    return found
