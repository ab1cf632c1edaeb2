"""Operations that only move values are run on arrays of ids: where the ids end up is the answer."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from keras import tree
from keras.src.ops.numpy import GetItem, Mean, Multiply, Power, Square, Take

from secateur.graph.follow import follow
from secateur.graph.refit import full_key
from secateur.graph.rule import Move, Pin
from secateur.graph.sweep import Pending, Sweep, Value
from secateur.graph.units import Axes, Ids, components, gather, spread, varying
from secateur.graph.vanish import vanishes
from secateur.graph.weights import is_array, to_numpy


@follow.register
def _(rule: Move, sweep: Sweep, call: Pending) -> list[Axes]:
    """Run the operation once for each axis that carries ids, on ids spread along that axis."""
    inputs, others = call.inputs[: rule.moved], call.inputs[len(call.inputs[: rule.moved]) :]
    for other in others:
        sweep.pin(other, other.live(), f"{call.path} takes positions from it")
    axes: list[list[Ids | None]] = [[None] * len(shape) for shape in call.shapes]
    counts = (*rule.counts, *strided(call))
    summed: set[int] = set()
    for value in inputs:
        for axis in chain.from_iterable(_lines(value, each) for each in rule.reduces):
            if rule.adds and vanishes(sweep, value, axis):
                summed.add(axis)
            elif _is_root_mean_square(sweep, call, value, axis):
                summed.add(axis)
                sweep.mixed.append((call.path, value.axes[axis]))
            else:
                sweep.pin(value, [axis], f"{call.path} computes across this axis")
        for axis in counts:
            sweep.pin(value, _lines(value, axis), f"{call.path} counts positions on this axis")
    for axis in sorted({axis for value in inputs for axis in value.live()} - summed):
        carried = [v for v in inputs if len(v.shape) > axis and v.axes[axis] is not None]
        arrays = _ran(rule, call, axis, carried)
        if arrays is None:
            return follow(Pin("it cannot be run on numbers of units"), sweep, call)
        for line, array in zip(axes, arrays, strict=True):
            found = gather(array) or _settled(sweep, array)
            if found is None or line[found[0]] is not None:
                for value in carried:
                    sweep.pin(value, [axis], f"{call.path} spreads it over several axes")
            else:
                line[found[0]] = _filled(sweep, call.path, found[1])
    return [tuple(line) for line in axes]


def _is_root_mean_square(sweep: Sweep, call: Pending, value: Value, axis: int) -> bool:
    """Say whether a call is the heart of a normalisation: the mean of squares over the features."""
    operation = call.operation
    if not isinstance(operation, Mean) or not operation.keepdims or axis != len(value.shape) - 1:
        return False
    made = sweep.makers.get(value.index)
    if made is None:
        return False
    squares = isinstance(made.operation, Multiply) and len(set(made.inputs)) == 1
    power = isinstance(made.operation, Power) and made.args[1] == 2
    return squares or power or isinstance(made.operation, Square)


def _lines(value: Value, axis: int | None) -> list[int]:
    return value.live() if axis is None else [axis % len(value.shape)]


def strided(call: Pending) -> list[int | None]:
    """Return the axes of which a call takes positions that no smaller argument can name."""
    if isinstance(call.operation, Take):
        _, indices = call.args
        named = not isinstance(indices, Value) and np.ndim(indices) == 1
        return [] if named and call.operation.axis is not None else [call.operation.axis]
    if not isinstance(call.operation, GetItem):
        return []
    value, key = call.args
    keys = full_key(key, len(value.shape))
    taken = [each for each in keys if each is not None]
    return [
        axis
        for axis, each in enumerate(taken)
        if (isinstance(each, slice) and each.step not in (None, 1)) or is_array(each)
    ]


def _ran(rule: Move, call: Pending, axis: int, carried: list[Value]) -> list[np.ndarray] | None:
    def lay(leaf: Any) -> Any:
        if isinstance(leaf, Value):
            ids = leaf.axes[axis] if any(leaf is one for one in carried) else None
            return spread(ids, axis, leaf.shape)
        # What is no tensor of the model carries no ids.
        return np.zeros(leaf.shape, np.int32) if is_array(leaf) else leaf

    laid: Any = tree.map_structure(lay, (call.args, call.kwargs))
    args, kwargs = laid
    if rule.reduces:
        # Along an axis without ids all values are the same, so the largest is any of them.
        (array,) = (leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, np.ndarray))
        axes = tuple(range(array.ndim)) if None in rule.reduces else rule.reduces
        found = np.amax(array, axis=axes)  # type: ignore[arg-type]
        return [found.reshape(shape) for shape in call.shapes]
    # What a padding adds is no unit, whatever its value.
    kwargs.pop("constant_values", None)
    try:
        results = call.operation.call(*args, **kwargs)
    except Exception:
        # What may go wrong inside a backend has no kind in common.
        return None
    return [to_numpy(result) for result in tree.flatten(results)]


def _settled(sweep: Sweep, array: np.ndarray) -> tuple[int, Ids] | None:
    """Choose one of several axes that ids were spread over, and join what shares a position on it.

    A split of channels into (groups, channels a group), or into (heads, size of a head), leaves
    ids that vary along both. Units then live on the axis that keeps most of them apart; on a tie
    on the first.
    """
    candidates = varying(array)
    if len(candidates) < 2 or not array.all():
        return None
    pairs = sweep.ledger.pairs
    best: tuple[int, int, list[tuple[Any, Any]]] | None = None
    for axis in candidates:
        lines = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(int) - 1
        lines = np.unique(lines, axis=1)
        joins = [(lines[:, 0], lines[:, other]) for other in range(1, lines.shape[1])]
        label = components(sweep.ledger.size, [*pairs, *joins])
        apart = len(np.unique(label[lines[:, 0]]))
        if best is None or apart > best[0]:
            best = apart, axis, joins
    if best is None or best[0] < 2:
        return None
    _, axis, joins = best
    for one, other in joins:
        sweep.ledger.join(one, other)
    first = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)[:, 0]
    return axis, first.astype(int)


def _filled(sweep: Sweep, path: str, line: Ids) -> Ids:
    """Turn what `gather` found into ids: positions that hold none cannot be removed."""
    ids = line - 1
    empty = np.flatnonzero(line == 0)
    if len(empty):
        ids[empty] = sweep.ledger.mint(len(empty), path)
        sweep.ledger.pin(ids[empty], f"{path} adds it beside what can be removed")
    return ids
