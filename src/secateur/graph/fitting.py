"""Composite layers made again by their own class: what a config can say, and which one does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product, zip_longest
from typing import Any

import keras
from keras import layers, tree

from secateur.graph.configs import (
    TIMES,
    Place,
    Shape,
    Way,
    config_of,
    integers,
    made_again,
    numbers,
    quietly,
    shrunk,
    with_numbers,
)
from secateur.graph.functional import Opened, opened
from secateur.graph.rule import Open, Pin, rule_of
from secateur.graph.weights import paired

# More combinations of config entries than this are not tried.
MOST_CONFIGS = 512


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
    config = config_of(old)
    if config is None:
        return None
    config = _said({**config, "name": name}, wanted.outputs)
    changes = {
        pair
        for weight, shape in zip(old.weights, wanted.weights, strict=True)
        for pair in zip(weight.shape, shape, strict=True)
        if pair[0] != pair[1]
    }
    like = _at_lengths((args, kwargs), specs)
    for candidate in chain.from_iterable(_candidates(config, changes, t) for t in ((1,), TIMES)):
        new = _built(old, candidate, (args, kwargs))
        if (
            new is not None
            and new[1] == list(wanted.weights)
            and (_agree(new[2], wanted.outputs) or _agree(_given(new[0], like), wanted.outputs))
            and _same_work(old, new[0], specs, like)
        ):
            return new[0]
    return None


def _candidates(config: Any, changes: set[tuple[int, int]], times: Sequence[int]) -> Iterator[Any]:
    """Yield configs in which numbers, or multiples of them, change as the lengths of axes do."""
    smaller: dict[int, set[int]] = {}
    for factor, (before, after) in product(times, changes):
        smaller.setdefault(factor * before, set()).add(factor * after)
    places = [place for place in integers(config) if place[1] in smaller]
    choices = [[number, *sorted(smaller[number])] for _, number in places]
    if math.prod(map(len, choices)) > MOST_CONFIGS:
        return
    for chosen in product(*choices):
        yield with_numbers(config, [way for way, _ in places], chosen)


def sayable(layer: Any, specs: Any) -> list[list[Place]]:
    """Find out what a layer's config can say: which axes of its weights shrink together, and alone.

    Each integer of the config, the width of what the layer is called on, and both at once are
    made smaller by way of trial.

    Args:
        layer: a built composite layer.
        specs: the arguments that it is called with, at known lengths.

    Returns:
        Sets of axes, as pairs (index of the weight, axis).
    """
    config = config_of(layer)
    if config is None:
        return []
    ways: dict[int, list[Way]] = {}
    for way, number in integers(config):
        ways.setdefault(number, []).append(way)
    tensors = [leaf for leaf in tree.flatten(specs) if isinstance(leaf, keras.KerasTensor)]
    widths = {leaf.shape[-1] for leaf in tensors if leaf.shape}
    found: list[list[Place]] = []
    for number in sorted({*ways, *widths} - {0, 1}):
        there = ways.get(number, [])
        # One thing at a time first, then more of what has the same number.
        trials = [([way], False) for way in there]
        trials += [([], True)] if number in widths else []
        trials += [(there, False)] if len(there) > 1 else []
        trials += [([way], True) for way in there] if number in widths else []
        trials += [(there, True)] if number in widths and len(there) > 1 else []
        for changed, narrow in trials:
            trial = _Trial(layer, config, changed, narrow, specs, number)
            first = trial.run(number // 2)
            if first is None:
                continue
            axes, length, _ = first
            if set(axes) <= set(chain.from_iterable(found)):
                continue  # Two things at once that can be said one by one.
            times = number // length
            # That half can be said does not mean that one less can (the number of heads).
            if times in TIMES and trial.run(number - times) == (axes, length, length - 1):
                found.append(axes)
    return _merged(found)


@dataclass(frozen=True)
class _Trial:
    """A layer made again with another number in its config, in the width it is called on, or both.

    A layer that then computes with other numbers (a scale from the size of a head) is no smaller
    version of the same.
    """

    layer: Any
    config: Any
    ways: Sequence[Way]
    narrow: bool
    specs: Any
    number: int

    def run(self, smaller: int) -> tuple[list[Place], int, int] | None:
        """Return the axes that shrink, and their length before and after."""
        like = _narrowed(self.specs, self.number, smaller) if self.narrow else self.specs
        config = with_numbers(self.config, self.ways, [smaller] * len(self.ways))
        new = _built(self.layer, config, like)
        if new is None:
            return None
        found = shrunk([tuple(weight.shape) for weight in self.layer.weights], new[1])
        return found if found and _same_work(self.layer, new[0], self.specs, like) else None


def _merged(sets: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """Join the sets that have an axis in common."""
    joined: list[set[Place]] = []
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
    specs, like = ((node.arguments.args, node.arguments.kwargs) for node in (one, other))
    if numbers(one.operation, *specs) != numbers(other.operation, *like):
        return False
    if isinstance(one.operation, keras.Layer) and _is_composite(one.operation):
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
        if not isinstance(leaf, keras.KerasTensor) or leaf.shape[-1:] != (length,):
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


def _given(layer: Any, like: Any) -> list[Shape]:
    """Return the shapes that a layer gives, which need not be those that it states."""
    inner = opened(layer, *like)
    return [] if inner is None else [tuple(out.shape[1:]) for out in inner.function.outputs]


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


def _built(old: Any, config: Any, like: Any) -> tuple[Any, list, list] | None:
    """Build a layer by calling it on tensors like those it will get, off the model's graph.

    Returns:
        The layer, the shapes of its weights in the order of the old one's, and those of its
        outputs without the batch axis.
    """

    def alike(leaf: Any) -> Any:
        if not isinstance(leaf, keras.KerasTensor):
            return leaf
        return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype)

    try:
        layer = made_again(old, config, old.name)
        laid: Any = tree.map_structure(alike, like)
        args, kwargs = laid
        with quietly():
            outputs = layer(*args, **kwargs)
        shapes = [tuple(new.shape) for _, new in paired(old, layer)]
    except Exception:
        # A class of one's own may object to numbers in its own way.
        return None
    return layer, shapes, [tuple(out.shape[1:]) for out in tree.flatten(outputs)]
