"""The sweep: what each call does with the ids on the axes of its inputs, following its rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.graph.rule import At, Elementwise, Flow, Move, Per, Pin, Pool, Rule, Where
from secateur.graph.units import Axes, Ids, Ledger, gather, spread
from secateur.graph.weights import to_numpy


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the model at batch size one: its shape and the ids on each axis."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    axes: Axes

    @property
    def spec(self) -> keras.KerasTensor:
        """Return what Keras computes shapes with."""
        return keras.KerasTensor(self.shape, dtype=self.dtype)

    def live(self) -> list[int]:
        """Return the axes that carry ids."""
        return [axis for axis, ids in enumerate(self.axes) if ids is not None]


@dataclass(frozen=True)
class Call:
    """One call of one operation; tensors are named by their index.

    `args` and `kwargs` hold what it was called with, a `Value` for every tensor.
    """

    path: str
    operation: Any
    rule: Rule
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    args: Any
    kwargs: Any


@dataclass
class WeightIds:
    """The ids on the axes of a weight, and how many multiply-adds an element takes part in."""

    key: str
    variable: Any
    shape: tuple[int, ...]
    axes: list[Ids | None]
    roles: list[str | None]
    uses: int = 0


@dataclass
class Sweep:
    """The state of one sweep: every value and call so far, and the ledger of ids."""

    ledger: Ledger = field(default_factory=Ledger)
    values: list[Value] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    weights: dict[int, WeightIds] = field(default_factory=dict)
    named: Counter[str] = field(default_factory=Counter)

    def enter(self, name: str, shape: tuple[int, ...], dtype: str) -> Value:
        """Return the value of a model input; its features may not be removed."""
        return self._pinned(name, shape, dtype, "model input")

    def leave(self, value: Value) -> None:
        """Mark a value as a model output."""
        self._pin(value, value.live(), "model output")

    def call(self, path: str, operation: Any, rule: Rule, args: Any, kwargs: Any) -> Any:
        """Follow one call and return its outputs in the operation's own structure."""
        inputs = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Value)]
        specs = mapped(lambda value: value.spec, (args, kwargs))
        structure = operation.compute_output_spec(*specs[0], **specs[1])
        outs = [(tuple(spec.shape), spec.dtype) for spec in tree.flatten(structure)]
        if isinstance(rule, Move):
            axes = self._move(path, operation, args, kwargs, inputs, outs)
        elif isinstance(rule, Elementwise):
            constants = [leaf for leaf in tree.flatten((args, kwargs)) if _is_constant(leaf)]
            axes = self._elementwise(path, operation, rule, inputs, constants, outs)
        elif isinstance(rule, Pool):
            axes = self._pool(path, rule, inputs, outs)
        elif isinstance(rule, Flow):
            axes = self._flow(path, operation, rule, inputs, outs)
        else:
            axes = self._stop(path, rule, inputs, outs)
        for weight in getattr(operation, "weights", ()):
            self._weight(path, weight)
        values = [self._value(*out, ids) for out, ids in zip(outs, axes, strict=True)]
        indices = tuple(value.index for value in values)
        taken = tuple(value.index for value in inputs)
        self.calls.append(Call(path, operation, rule, taken, indices, args, kwargs))
        return tree.pack_sequence_as(structure, values)

    # ---- one method a kind of rule --------------------------------------------------------------

    def _flow(self, path: str, layer: Any, rule: Flow, inputs: list[Value], outs: list) -> list:
        x, *others = inputs
        axis = rule.axis % len(x.shape)
        read = x.axes[axis] if rule.reads or not rule.mints else None
        aside = [a for a in x.live() if a != axis]
        if not rule.pointwise:
            self._pin(x, aside, f"{path} computes across this axis")
        for other in others:
            self._pin(other, other.live(), f"second input of {path}")
        variables = {weight.name: weight for weight in layer.weights}
        first = self._alike(read, rule.groups)
        for name, where in rule.reads.items():
            self._attach(path, variables.get(name), where, read, first, "read")
        (shape, _), *_ = outs
        width = shape[rule.axis % len(shape)]
        if rule.mints:
            written: Ids | None = self.ledger.mint(width, path)
            self._alike(written, rule.groups)
        else:
            written = None if read is None else np.repeat(read, rule.repeat)
        for name, where in rule.writes.items():
            role = "write" if rule.mints else "pass"
            self._attach(path, variables.get(name), where, written, written, role)
        if rule.keeps and written is not None:
            self.ledger.pin(written, rule.keeps)
        for name, per in rule.macs.items():
            self._weight(path, variables[name]).uses += _positions(per, rule.axis, x.shape, shape)
        axes = []
        for shape, _ in outs:
            line: list[Ids | None] = [None] * len(shape)
            if rule.pointwise and len(shape) == len(x.shape):
                line = list(x.axes)
            line[rule.axis % len(shape)] = written
            axes.append(tuple(line))
        return axes

    def _elementwise(
        self,
        path: str,
        layer: Any,
        rule: Elementwise,
        inputs: list[Value],
        constants: list,
        outs: list,
    ) -> list:
        (shape, _), *_ = outs
        if isinstance(layer, keras.Layer) and len({len(value.shape) for value in inputs}) > 1:
            return self._stop(path, Pin(f"{path} merges tensors of different ranks"), inputs, outs)
        axes: list[Ids | None] = []
        for back in range(-len(shape), 0):
            ids = [v.axes[back] for v in inputs if -back <= len(v.shape) and v.shape[back] > 1]
            ids += [v.axes[back] for v in inputs if shape[back] == 1 and -back <= len(v.shape)]
            live = [line for line in ids if line is not None]
            for line in live[1:]:
                self.ledger.join(live[0], line)
            fixed = any(c.ndim >= -back and c.shape[back] > 1 for c in constants)
            if live and (len(live) < len(ids) or fixed):
                self.ledger.pin(live[0], f"{path} merges it with a tensor that cannot shrink")
            narrow = [v for v in inputs if -back <= len(v.shape) and v.shape[back] < shape[back]]
            for value in narrow:
                self.ledger.pin(value.axes[back], f"{path} repeats it over an axis")
            axes.append(live[0] if live else None)
        for weight in getattr(layer, "weights", ()):
            if weight.name in rule.weights:
                for axis, length in enumerate(weight.shape):
                    line = inputs[0].axes[axis + 1]
                    if line is not None and length == len(line):
                        self._claim(path, weight, axis, line, "pass")
        return [tuple(axes)] * len(outs)

    def _pool(self, path: str, rule: Pool, inputs: list[Value], outs: list) -> list:
        (x,) = inputs
        axis = rule.axis % len(x.shape)
        aside = [a for a in x.live() if a != axis]
        self._pin(x, aside, f"{path} computes across this axis")
        axes = []
        for shape, _ in outs:
            line: list[Ids | None] = [None] * len(shape)
            line[axis if len(shape) == len(x.shape) else -1] = x.axes[axis]
            axes.append(tuple(line))
        return axes

    def _move(
        self, path: str, operation: Any, args: Any, kwargs: Any, inputs: list[Value], outs: list
    ) -> list:
        axes: list[list[Ids | None]] = [[None] * len(shape) for shape, _ in outs]
        for axis in sorted({axis for value in inputs for axis in value.live()}):
            carried = [v for v in inputs if len(v.shape) > axis and v.axes[axis] is not None]

            def lay(value: Value, axis: int = axis, carried: list[Value] = carried) -> np.ndarray:
                ids = value.axes[axis] if any(value is c for c in carried) else None
                return spread(ids, axis, value.shape)

            arrays = mapped(lay, (args, kwargs))
            results = tree.flatten(operation.call(*arrays[0], **arrays[1]))
            found = [gather(to_numpy(result)) for result in results]
            for line, place in zip(axes, found, strict=True):
                if place is None or line[place[0]] is not None:
                    for value in carried:
                        self._pin(value, [axis], f"{path} spreads it over several axes")
                else:
                    line[place[0]] = self._filled(place[1], path)
        return [tuple(line) for line in axes]

    def _stop(self, path: str, rule: Pin, inputs: list[Value], outs: list) -> list:
        for value in inputs:
            self._pin(value, value.live(), f"{path}: {rule.reason}")
        axes = []
        for shape, _ in outs:
            line: list[Ids | None] = [None] * len(shape)
            if len(shape) > 1:
                line[-1] = self.ledger.mint(shape[-1], path)
                self.ledger.pin(line[-1], f"{path}: {rule.reason}")
            axes.append(tuple(line))
        return axes

    # ---- small parts ----------------------------------------------------------------------------

    def _value(self, shape: tuple[int, ...], dtype: str, axes: Axes) -> Value:
        value = Value(len(self.values), shape, dtype, axes)
        self.values.append(value)
        return value

    def _pinned(self, owner: str, shape: tuple[int, ...], dtype: str, reason: str) -> Value:
        axes: list[Ids | None] = [None] * len(shape)
        if len(shape) > 1:
            axes[-1] = self.ledger.mint(shape[-1], owner)
            self.ledger.pin(axes[-1], reason)
        return self._value(shape, dtype, tuple(axes))

    def _pin(self, value: Value, axes: Iterable[int], reason: str) -> None:
        for axis in axes:
            self.ledger.pin(value.axes[axis], reason)

    def _alike(self, ids: Ids | None, groups: int) -> Ids | None:
        """Join the j-th ids of all groups and return those of the first group."""
        if ids is None or groups == 1:
            return ids
        lines = ids.reshape(groups, -1)
        for line in lines[1:]:
            self.ledger.join(lines[0], line)
        return lines[0]

    def _filled(self, line: Ids, path: str) -> Ids:
        """Turn what `gather` found into ids: positions that hold none cannot be removed."""
        ids = line - 1
        empty = np.flatnonzero(line == 0)
        if len(empty):
            ids[empty] = self.ledger.mint(len(empty), path)
            self.ledger.pin(ids[empty], f"{path} adds it beside what can be removed")
        return ids

    def _weight(self, path: str, weight: Any) -> WeightIds:
        found = self.weights.get(id(weight))
        if found is None:
            none = [None] * len(weight.shape)
            key = f"{path}/{weight.name}"
            self.named[key] += 1
            key = key if self.named[key] == 1 else f"{key}#{self.named[key]}"
            found = WeightIds(key, weight, tuple(weight.shape), none, list(none))
            self.weights[id(weight)] = found
        return found

    def _attach(
        self, path: str, weight: Any, where: Where, ids: Ids | None, first: Ids | None, role: str
    ) -> None:
        if weight is None or ids is None:
            return
        for at in where if isinstance(where, tuple) else (where,):
            place = at if isinstance(at, At) else At(at)
            full = np.tile(np.repeat(ids, place.repeat), place.tile)
            axis = place.axis % len(weight.shape)
            # A grouped kernel has one group's worth of input channels.
            line = full if len(full) == weight.shape[axis] else first
            self._claim(path, weight, axis, line, role)

    def _claim(self, path: str, weight: Any, axis: int, ids: Ids | None, role: str) -> None:
        entry = self._weight(path, weight)
        known = entry.axes[axis]
        if known is not None and ids is not None:
            self.ledger.join(known, ids)
        else:
            entry.axes[axis], entry.roles[axis] = ids, role


def mapped(function: Callable[[Value], Any], structure: Any) -> Any:
    """Return a structure with `function` applied to every value in it."""
    return tree.map_structure(lambda v: function(v) if isinstance(v, Value) else v, structure)


def _is_constant(leaf: Any) -> bool:
    return not isinstance(leaf, Value) and hasattr(leaf, "shape") and hasattr(leaf, "ndim")


def _positions(per: Per, axis: int, before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Count how often each element of a kernel is used for one sample."""
    if per == "step":
        return before[1]
    shape = before if per == "input" else after
    return prod(shape) // shape[axis]
