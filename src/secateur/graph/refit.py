"""Configs and arguments that fit smaller shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from keras import layers
from keras.src.ops.core import Slice
from keras.src.ops.nn import DotProductAttention
from keras.src.ops.numpy import GetItem, Split, Take

from secateur.errors import ModelError
from secateur.graph.rule import Contract, Flow, Move, Rule
from secateur.graph.weights import to_numpy

Shape = tuple[int, ...]


def resized(config: dict[str, Any], rule: Rule, before: Shape, after: Shape) -> dict[str, Any]:
    """Return a config for an operation whose output shrinks from one shape to another."""
    config = dict(config)
    if isinstance(rule, Flow) and rule.size:
        place = config
        *way, last = rule.size.split(".")
        for step in way:
            place[step] = dict(place[step])
            place = place[step]
        place[last] = after[rule.axis % len(after)]
    if isinstance(rule, Move) and rule.shape and before != after:
        config[rule.shape] = _reshaped(config[rule.shape], after if rule.batch else after[1:])
    if isinstance(rule, Contract) and rule.shape and before != after:
        target = np.atleast_1d(config[rule.shape]).tolist()
        # Axes under a leading ellipsis are not stated.
        first = len(after) - len(target) if rule.output.startswith("...") else 1
        config[rule.shape] = _reshaped(target, after[first : first + len(target)])
    return config


def compensated(old: Any, new: Any) -> None:
    """Make up for what a layer derives from its config besides its shapes.

    Attention divides by the root of the size of a head; a head that lost units would divide by
    less, so the query projection of the new layer is scaled to give the old scores.
    """
    if isinstance(old, layers.MultiHeadAttention):
        entry = "key_dim"
    elif isinstance(old, layers.GroupQueryAttention):
        entry = "head_dim"
    else:
        return
    before, after = (each.get_config()[entry] for each in (old, new))
    if before != after:
        for weight in new._query_dense.weights:
            weight.assign(to_numpy(weight) * math.sqrt(after / before))


def pieces(split: Split, keep: np.ndarray) -> list[slice] | None:
    """Return the slices that take, of what is kept, what a split takes of all.

    Returns:
        `None` where they are all of one length, so that the split itself serves.
    """
    places = split.indices_or_sections
    if isinstance(places, int):
        places = [len(keep) * number // places for number in range(1, places)]
    ends = [int(np.count_nonzero(keep[:place])) for place in (0, *places, len(keep))]
    alike = len(set(np.diff(ends))) == 1
    if alike and isinstance(split.indices_or_sections, int):
        return None
    return [slice(start, stop) for start, stop in pairwise(ends)]


def rewritten(operation: Any, keeps: Sequence[Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the arguments of an operation whose first tensor shrinks.

    Args:
        operation: a Keras operation that is no layer.
        keeps: for each axis of its first tensor, which positions stay; `None` for all.
        args: its arguments, with the new tensors.
        kwargs: its keyword arguments.
    """
    if isinstance(operation, DotProductAttention) and kwargs.get("scale") is None:
        # Without a scale it divides by the root of the size of a head, which may shrink.
        size = args[0].shape[-1] if keeps[-1] is None else len(keeps[-1])
        return args, {**kwargs, "scale": 1 / math.sqrt(size)}
    if isinstance(operation, Take):
        axis: Any = operation.axis
        return (args[0], _taken(args[1], keeps[axis])) if axis is not None else args, kwargs
    if isinstance(operation, Slice):
        starts = [
            start if keep is None else int(np.count_nonzero(keep[:start]))
            for start, keep in zip(args[1], keeps, strict=True)
        ]
        return (args[0], tuple(starts)), kwargs
    if not isinstance(operation, GetItem):
        return args, kwargs
    tensor, key = args
    keys = full_key(key, len(keeps))
    axis = 0
    for place, each in enumerate(keys):
        if each is None:
            continue
        keep = keeps[axis]
        if keep is not None and not keep.all():
            keys[place] = _shrunk(each, keep)
        axis += 1
    return (tensor, tuple(keys)), kwargs


def full_key(key: Any, rank: int) -> list[Any]:
    """Return the key of an indexing as a list, its ellipsis written out as full slices."""
    keys = list(key) if isinstance(key, tuple) else [key]
    places = [place for place, each in enumerate(keys) if each is Ellipsis]
    for place in places:
        named = sum(each is not None and each is not Ellipsis for each in keys)
        keys[place : place + 1] = [slice(None)] * (rank - named)
    return keys


def _shrunk(key: Any, keep: np.ndarray) -> Any:
    """Return the slice or index that takes, of what is kept, what `key` takes of all."""
    before = np.concatenate([[0], np.cumsum(keep)])
    if isinstance(key, slice):
        start, stop, step = key.indices(len(keep))
        if step == 1:
            return slice(int(before[start]), int(before[stop]))
        taken = np.arange(len(keep))[key]
        raise ModelError(
            f"a slice with step {step} over units cannot shrink (it takes {len(taken)}).",
            mend="Keep the layers before it whole with keep=.",
        )
    return int(before[key % len(keep)])


def _taken(indices: Any, keep: np.ndarray | None) -> Any:
    """Return the indices that name, of what is kept, what some name of all."""
    if keep is None or keep.all():
        return indices
    places = np.asarray(indices) % len(keep)
    return (np.cumsum(keep) - 1)[places[keep[places]]].astype("int32")


def _reshaped(target: Any, shape: Shape) -> tuple[int | None, ...]:
    """Write a smaller shape into a target shape, leaving open lengths open."""
    pairs = zip(target, shape, strict=True)
    return tuple(old if old in (-1, None) else new for old, new in pairs)


def stated(target: Any, shape: Shape) -> Any:
    """Return a target shape with its open lengths filled in."""
    if not isinstance(target, (list, tuple)) or len(target) != len(shape):
        return target
    return tuple(new if old is None else old for old, new in zip(target, shape, strict=True))
