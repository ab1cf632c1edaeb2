"""Composite layers made again by their own class: what a config can say, and which one does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product, zip_longest
from typing import Any

import keras
from keras import layers, tree

from secateur.errors import ModelError
from secateur.graph.functional import Opened, opened
from secateur.graph.rule import Open, Pin, rule_of
from secateur.graph.weights import to_numpy

Shape = tuple[int, ...]
Way = tuple[Any, ...]

# More combinations of config entries than this are not tried.
MOST_CONFIGS = 512


def made_again(old: Any, config: dict[str, Any], path: str) -> Any:
    """Return a new operation of the same class from a config.

    Raises:
        ModelError: the class does not take its own config.
    """
    try:
        return type(old).from_config(_unbuilt(config))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"{type(old).__name__} cannot be made again from its own config: {error}",
            where=path,
            mend="Give the class a get_config and a from_config that agree.",
        ) from error


def _unbuilt(config: Any) -> Any:
    """Leave out the shapes that inner layers were built with."""
    if isinstance(config, dict):
        return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
    if isinstance(config, (list, tuple)):
        return type(config)(map(_unbuilt, config))
    return config


@dataclass(frozen=True)
class Wanted:
    """What a layer made again has to have.

    Args:
        weights: the shape of each weight.
        outputs: the shape of each output, without the batch axis.
    """

    weights: Sequence[Shape]
    outputs: Sequence[Shape]


def fitting(old: Any, name: str, wanted: Wanted, specs: Any, args: Any, kwargs: Any) -> Any:
    """Return a new composite layer whose weights have the wanted shapes, if its config can say so.

    Only integers of the config change, and only to a length that some weight's axis of the same
    length shrinks to. What the layer then computes is the same but for the shapes.

    Args:
        old: the layer.
        name: the name of the new one.
        wanted: its shapes.
        specs: what the old one was called with, at known lengths.
        args: what the new layer will be called with.
        kwargs: likewise.

    Returns:
        A built layer, or `None` where no config gives the wanted shapes.
    """
    config = _config(old)
    if config is None:
        return None
    config = _said({**config, "name": name}, wanted.outputs)
    shrinks: dict[int, set[int]] = {}
    for weight, shape in zip(old.weights, wanted.weights, strict=True):
        for before, after in zip(weight.shape, shape, strict=True):
            if before != after:
                shrinks.setdefault(before, set()).add(after)
    places = [place for place in _integers(config, ()) if place[1] in shrinks]
    choices = [[value, *sorted(shrinks[value])] for _, value in places]
    if math.prod(map(len, choices)) > MOST_CONFIGS:
        return None
    for values in product(*choices):
        candidate = _with(config, [way for way, _ in places], values)
        new = _built(old, candidate, (args, kwargs))
        if (
            new is not None
            and new[1] == list(wanted.weights)
            and _agree(new[2], wanted.outputs)
            and _same_work(old, new[0], specs, _at_lengths((args, kwargs), specs))
        ):
            return new[0]
    return None


def sayable(layer: Any, specs: Any) -> list[list[tuple[int, int]]]:
    """Find out what a layer's config can say: which axes of its weights shrink together, and alone.

    Each integer of the config, the width of what the layer is called on, and both at once are
    made smaller by way of trial.

    Args:
        layer: a built composite layer.
        specs: the arguments that it is called with, at known lengths.

    Returns:
        Sets of axes, as pairs (index of the weight, axis).
    """
    config = _config(layer)
    if config is None:
        return []
    shapes = [tuple(weight.shape) for weight in layer.weights]
    lengths = {length for shape in shapes for length in shape if length > 1}
    ways: dict[int, list[Way]] = {}
    for way, value in _integers(config, ()):
        ways.setdefault(value, []).append(way)
    found = []
    for length in sorted(lengths):
        there = ways.get(length, [])
        trials: list[tuple[list[Way], bool]] = [([], True), *(([way], False) for way in there)]
        trials += [([way], True) for way in there]
        trials += [(there, True)] if len(there) > 1 else []
        for changed, narrow in trials:
            axes = None
            for smaller in {length - 1, length // 2}:
                axes = _trial(layer, config, changed, narrow, specs, length, smaller)
                if not axes:
                    break
            if axes:
                found.append(axes)
    return _merged(found)


def _trial(
    layer: Any,
    config: Any,
    changed: Sequence[Way],
    narrow: bool,
    specs: Any,
    length: int,
    smaller: int,
) -> list[tuple[int, int]] | None:
    """Return the axes that shrink from one length to another, `None` where others change as well.

    A layer that then computes with other numbers (a scale from the size of a head) is no smaller
    version of the same.
    """
    like = _narrowed(specs, length, smaller) if narrow else specs
    new = _built(layer, _with(config, changed, [smaller] * len(changed)), like)
    if new is None or len(new[1]) != len(layer.weights):
        return None
    axes = []
    for index, (weight, after) in enumerate(zip(layer.weights, new[1], strict=True)):
        before = tuple(weight.shape)
        if len(before) != len(after):
            return None
        for axis, pair in enumerate(zip(before, after, strict=True)):
            if pair == (length, smaller):
                axes.append((index, axis))
            elif pair[0] != pair[1]:
                return None
    return axes if _same_work(layer, new[0], specs, like) else None


def _merged(sets: Sequence[Sequence[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Join the sets that have an axis in common."""
    joined: list[set[tuple[int, int]]] = []
    for axes in sets:
        together = set(axes)
        apart = []
        for other in joined:
            if other & together:
                together |= other
            else:
                apart.append(other)
        joined = [*apart, together]
    return [sorted(axes) for axes in joined]


def _same_work(old: Any, new: Any, specs: Any, like: Any) -> bool:
    """Say whether two layers do the same operations with the same numbers, whatever the shapes."""
    if isinstance(old, (layers.MultiHeadAttention, layers.GroupQueryAttention)):
        return True  # `compensated` makes up for its scale.
    one, other = opened(old, *specs), opened(new, *like)
    if one is None or other is None:
        return False
    pairs = list(zip_longest(_nodes(one), _nodes(other)))
    return all(a is not None and b is not None and _same_node(a, b) for a, b in pairs)


def _same_node(one: Any, other: Any) -> bool:
    if type(one.operation) is not type(other.operation):
        return False
    if _numbers(one) != _numbers(other):
        return False
    if isinstance(one.operation, keras.Layer) and _is_composite(one.operation):
        specs, like = ((node.arguments.args, node.arguments.kwargs) for node in (one, other))
        return _same_work(one.operation, other.operation, specs, like)
    return True


def _nodes(inside: Opened) -> list[Any]:
    by_depth = inside.function._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _is_composite(layer: Any) -> bool:
    if isinstance(layer, layers.InputLayer):
        return False
    rule = rule_of(layer)
    return isinstance(rule, Open) or (isinstance(rule, Pin) and rule.unknown)


def _numbers(node: Any) -> list[Any]:
    """Return what a call computes with that is neither a tensor of the model nor a size."""
    operation = node.operation
    own = [] if isinstance(operation, keras.Layer) else list(vars(operation).values())
    given = tree.flatten((node.arguments.args, node.arguments.kwargs))
    found = []
    for leaf in (*own, *given):
        if isinstance(leaf, float):
            found.append(leaf)
        elif hasattr(leaf, "shape") and not isinstance(leaf, keras.KerasTensor):
            array = to_numpy(leaf)
            found.append((array.shape, array.tobytes()))
    return found


def any_batch(specs: Any, open_length: int | None) -> Any:
    """Return the tensors that a layer was traced with, for any batch size.

    Args:
        specs: these tensors.
        open_length: the length that stands for any, on axes other than that of the features.
    """

    def loose(leaf: Any) -> Any:
        if not isinstance(leaf, keras.KerasTensor):
            return leaf
        _, *lengths = leaf.shape
        places = range(max(len(lengths) - 1, 1))
        for place in places[: len(lengths)]:
            lengths[place] = None if lengths[place] == open_length else lengths[place]
        return keras.KerasTensor((None, *lengths), dtype=leaf.dtype)

    return tree.map_structure(loose, specs)


def _narrowed(specs: Any, length: int, smaller: int) -> Any:
    def narrow(leaf: Any) -> Any:
        if not isinstance(leaf, keras.KerasTensor) or leaf.shape[-1] != length:
            return leaf
        return keras.KerasTensor((*leaf.shape[:-1], smaller), dtype=leaf.dtype)

    return tree.map_structure(narrow, specs)


def _at_lengths(tensors: Any, specs: Any) -> Any:
    """Return tensors with the lengths that are open filled in from others."""

    def known(leaf: Any, spec: Any) -> Any:
        if not isinstance(leaf, keras.KerasTensor):
            return leaf
        shape = (b if a is None else a for a, b in zip(leaf.shape, spec.shape, strict=True))
        return keras.KerasTensor(tuple(shape), dtype=leaf.dtype)

    return tree.map_structure(known, tensors, specs)


def _config(layer: Any) -> dict[str, Any] | None:
    """Return a layer's config; not every class of one's own has one that works."""
    try:
        return layer.get_config()
    except Exception:
        return None


def described(layer: Any) -> str:
    """Return a layer's config as text, names aside."""
    return json.dumps(_nameless(_config(layer)), sort_keys=True, default=str)


def _nameless(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    return config


def _with(config: Any, ways: Sequence[Way], values: Sequence[int]) -> Any:
    """Return a config with other numbers at some places."""
    changed = deepcopy(config)
    for way, value in zip(ways, values, strict=True):
        _set(changed, way, value)
    return changed


def _agree(shapes: Sequence[Any], others: Sequence[Shape]) -> bool:
    """Say whether shapes are the same where they are not open."""
    return len(shapes) == len(others) and all(
        len(one) == len(other) and all(a is None or a == b for a, b in zip(one, other, strict=True))
        for one, other in zip(shapes, others, strict=True)
    )


def _said(config: dict[str, Any], outputs: Sequence[Shape]) -> dict[str, Any]:
    """State the width of the output where a config leaves it to be that of the input.

    What a layer reads and what it writes may shrink by different numbers.
    """
    if "output_shape" in config and config["output_shape"] is None and len(outputs[0]) > 0:
        return {**config, "output_shape": outputs[0][-1:]}
    return config


def _integers(config: Any, way: Way) -> Iterator[tuple[Way, int]]:
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
            yield from _integers(value, (*way, key))


def _set(config: Any, way: Way, value: int) -> None:
    *steps, last = way
    for step in steps:
        if isinstance(config[step], tuple):
            config[step] = list(config[step])
        config = config[step]
    config[last] = value


def _built(old: Any, config: Any, like: Any) -> tuple[Any, list, list] | None:
    """Build a layer by calling it on tensors like those it will get, off the model's graph.

    Returns:
        The layer, the shapes of its weights, and those of its outputs without the batch axis.
    """

    def alike(leaf: Any) -> Any:
        if not isinstance(leaf, keras.KerasTensor):
            return leaf
        return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype)

    try:
        layer = made_again(old, config, old.name)
        args, kwargs = tree.map_structure(alike, like)
        outputs = layer(*args, **kwargs)
    except Exception:
        # A class of one's own may object to numbers in its own way.
        return None
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return layer, shapes, [tuple(out.shape[1:]) for out in tree.flatten(outputs)]
