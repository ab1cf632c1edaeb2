"""Whether what a tensor holds at a unit becomes zero once the unit's weights are zero.

A sum over units has the same value without those that do, and another one without those that do
not: behind a sigmoid a unit without weights still says one half.
"""

from __future__ import annotations

import warnings
from functools import singledispatch
from typing import Any

import numpy as np
from keras import tree

from secateur.graph.rule import Contract, Elementwise, Flow, Move, Pin, Pool, Rule, expanded
from secateur.graph.sweep import Call, Sweep, Value
from secateur.graph.weights import to_numpy

# Multiplied with everything that such a layer passes on.
FACTORS = ("gamma", "scale", "kernel", "depthwise_kernel")


def vanishes(sweep: Sweep, value: Value, axis: int) -> bool:
    """Say whether a tensor is zero at units on an axis as soon as their weights are.

    What cannot be known counts as no. Units that are never removed count as yes.
    """
    search = _Search(sweep)
    # Oldest first, so that a deep model is no deep recursion.
    for each in _made_of(sweep, value):
        for line in each.live():
            search.vanishes(each, line)
    return search.vanishes(value, axis)


def _made_of(sweep: Sweep, value: Value) -> list[Value]:
    """Return the tensors that one is made of and that were not looked at yet, oldest first."""
    found: dict[int, Value] = {}
    ahead = [value.index]
    while ahead:
        index = ahead.pop()
        made = sweep.values[index]
        if index in found or any((index, axis) in sweep.zeros for axis in made.live()):
            continue
        found[index] = made
        ahead += sweep.makers[index].inputs if index in sweep.makers else ()
    return [found[index] for index in sorted(found)]


class _Search:
    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.known = sweep.zeros

    def vanishes(self, value: Value, axis: int) -> bool:
        axis %= len(value.shape)
        key = value.index, axis
        if key not in self.known:
            call = self.sweep.makers.get(value.index)
            # What no call makes is a weight or an input of the model.
            self.known[key] = call is None or _vanishes(call.rule, self, call, value, axis)
        return self.known[key]

    def inputs(self, call: Call) -> list[Value]:
        return [self.sweep.values[index] for index in call.inputs]


@singledispatch
def _vanishes(rule: Rule, search: _Search, call: Call, value: Value, axis: int) -> bool:
    return False


@_vanishes.register
def _(rule: Pin, search: _Search, call: Call, value: Value, axis: int) -> bool:
    return True


@_vanishes.register
def _(rule: Flow, search: _Search, call: Call, value: Value, axis: int) -> bool:
    layer = call.operation
    x, *states = search.inputs(call)
    if axis != rule.axis % len(value.shape) or not type(layer).__module__.startswith("keras."):
        return False
    if not all(search.vanishes(state, rule.axis) for state in states):
        return False
    factors = {name for name in (*rule.reads, *rule.writes) if name in FACTORS}
    silenced = rule.mints or bool(factors & {weight.name for weight in layer.weights})
    return _quiet(layer) and (silenced or search.vanishes(x, rule.axis))


@_vanishes.register
def _(rule: Elementwise, search: _Search, call: Call, value: Value, axis: int) -> bool:
    back = axis - len(value.shape)
    zero = {
        each.index: -back <= len(each.shape)
        and each.axes[back] is not None
        and search.vanishes(each, back)
        for each in search.inputs(call)
    }
    return all(_zero_at(call, zero, sign) for sign in (1, -1))


def _zero_at(call: Call, zero: dict[int, bool], sign: int) -> bool:
    """Say whether a call gives zero where some tensors are zero and the others anything else."""

    def lay(leaf: Any) -> Any:
        if not isinstance(leaf, Value):
            return leaf
        anything = (sign > 0) if leaf.dtype == "bool" else sign * (1.3 + 0.7 * leaf.index)
        number = 0 if zero.get(leaf.index) else anything
        return np.full((1,) * len(leaf.shape), number).astype(leaf.dtype)

    laid: Any = tree.map_structure(lay, (call.args, call.kwargs))
    args, kwargs = laid
    try:
        with warnings.catch_warnings():
            # Keras warns of a softmax over an axis of length one.
            warnings.simplefilter("ignore")
            found = to_numpy(call.operation.call(*args, **kwargs))
    except Exception:
        # What may go wrong inside a backend has no kind in common.
        return False
    return bool((found == 0).all())


@_vanishes.register
def _(rule: Pool, search: _Search, call: Call, value: Value, axis: int) -> bool:
    x, *_ = search.inputs(call)
    return axis == rule.axis % len(value.shape) and search.vanishes(x, rule.axis)


@_vanishes.register
def _(rule: Move, search: _Search, call: Call, value: Value, axis: int) -> bool:
    sums = not rule.reduces or rule.adds
    return sums and all(search.vanishes(x, a) for x in search.inputs(call) for a in x.live())


@_vanishes.register
def _(rule: Contract, search: _Search, call: Call, value: Value, axis: int) -> bool:
    label = expanded(rule.output, len(value.shape))[axis]
    owned = {weight.name for weight in getattr(call.operation, "weights", ())}
    weights = [text for name, text in rule.weights.items() if name in owned]
    if weights:
        return all(label in text for text in weights) and _quiet(call.operation)
    pairs = zip(rule.inputs, search.inputs(call), strict=False)
    read = [(expanded(text, len(x.shape)), x) for text, x in pairs]
    held = [search.vanishes(x, text.index(label)) for text, x in read if label in text]
    return bool(held) and (all(held) if rule.fixed else any(held))


def _quiet(layer: Any) -> bool:
    """Say whether the activation of a layer, or of the one in it, leaves zero at zero."""
    inner = getattr(layer, "layer", getattr(layer, "cell", layer))
    activation = getattr(inner, "activation", None)
    if activation is None:
        return True
    return not to_numpy(activation(np.zeros((1, 2), "float32"))).any()
