"""What a call does with the ids on the axes of its inputs: one function a kind of rule.

All functions here take `(rule, sweep, call)` and return the axes of each output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from math import prod
from typing import Any

import numpy as np

from secateur.graph.rule import Contract, Elementwise, Flow, Per, Pin, Pool, Rule, expanded
from secateur.graph.sweep import Pending, Sweep
from secateur.graph.units import Axes, Ids
from secateur.graph.vanish import vanishes


@singledispatch
def follow(rule: Rule, sweep: Sweep, call: Pending) -> list[Axes]:
    """Return the axes of each output of a call."""
    raise TypeError(f"{type(rule).__name__} is no rule")


@follow.register
def _(rule: Flow, sweep: Sweep, call: Pending) -> list[Axes]:
    x, *others = call.inputs
    axis = rule.axis % len(x.shape)
    read = x.axes[axis] if rule.reads or not rule.mints else None
    if not rule.pointwise:
        aside = [a for a in x.live() if a != axis]
        sweep.pin(x, aside, f"{call.path} computes across this axis")
    variables = {weight.name: weight for weight in call.operation.weights}
    first = sweep.alike(read, rule.groups)
    for name, where in rule.reads.items():
        sweep.attach(call.path, variables.get(name), where, read, first, "read")
    shape = call.shapes[0]
    if rule.mints:
        written: Ids | None = sweep.ledger.mint(shape[rule.axis % len(shape)], call.path)
        sweep.alike(written, rule.groups)
    else:
        written = None if read is None else np.repeat(read, rule.repeat)
    for name, where in rule.writes.items():
        role = "write" if rule.mints else "pass"
        sweep.attach(call.path, variables.get(name), where, written, written, role)
    if rule.mixes:
        sweep.mixed.append((call.path, written))
    if rule.keeps and written is not None:
        sweep.ledger.pin(written, rule.keeps)
    for name, per in rule.macs.items():
        uses = _positions(per, rule.axis, x.shape, shape)
        lines = {a: x.axes[a] for a in x.live() if a != axis} if rule.pointwise else {}
        _use(sweep, call.path, variables[name], uses, lines, x.shape)
    for other in others:
        if rule.states and other.axes[rule.axis] is not None:
            sweep.meet([written, other.axes[rule.axis]])
        elif rule.states:
            sweep.ledger.pin(written, f"{call.path} begins with a state that cannot shrink")
        else:
            sweep.pin(other, other.live(), f"second input of {call.path}")
    axes = []
    for shape in call.shapes:
        passes = rule.pointwise and len(shape) == len(x.shape)
        line: list[Ids | None] = list(x.axes) if passes else [None] * len(shape)
        line[rule.axis % len(shape)] = written
        axes.append(tuple(line))
    return axes


@follow.register
def _(rule: Elementwise, sweep: Sweep, call: Pending) -> list[Axes]:
    (shape, *_), inputs = call.shapes, call.inputs
    axes: list[Ids | None] = []
    for back in range(-len(shape), 0):
        length = shape[back]
        there = [v for v in inputs if -back <= len(v.shape)]
        lines = [v.axes[back] for v in there if v.shape[back] == length]
        met = sweep.meet(lines)
        fixed = any(len(c.shape) >= -back and c.shape[back] > 1 for c in call.constants)
        if met is not None and (fixed or any(line is None for line in lines)):
            sweep.ledger.pin(met, f"{call.path} merges it with a tensor that cannot shrink")
        for value in there:
            if value.shape[back] < length:
                sweep.ledger.pin(value.axes[back], f"{call.path} repeats it over an axis")
        axes.append(met)
    for back in (axis % len(shape) - len(shape) for axis in rule.fixed):
        for value in inputs:
            if -back <= len(value.shape):
                sweep.ledger.pin(value.axes[back], rule.reason or "")
    if rule.mixes is not None:
        sweep.mixed.append((call.path, axes[rule.mixes % len(axes)]))
    for variable in getattr(call.operation, "weights", ()):
        if variable.name in rule.weights:
            for axis, length in enumerate(variable.shape):
                # Counted from the last: a layer over time does not see the axis of time.
                if length > 1:
                    line = axes[axis - len(variable.shape)]
                    sweep.claim(call.path, variable, axis, line, "pass")
    return [tuple(axes)] * len(call.shapes)


@follow.register
def _(rule: Pool, sweep: Sweep, call: Pending) -> list[Axes]:
    x, *others = call.inputs
    for other in others:
        sweep.pin(other, other.live(), f"second input of {call.path}")
    axis = rule.axis % len(x.shape)
    sweep.pin(x, [a for a in x.live() if a != axis], f"{call.path} computes across this axis")
    axes = []
    for shape in call.shapes:
        line: list[Ids | None] = [None] * len(shape)
        line[axis if len(shape) == len(x.shape) else -1] = x.axes[axis]
        axes.append(tuple(line))
    return axes


@follow.register
def _(rule: Pin, sweep: Sweep, call: Pending) -> list[Axes]:
    reason = f"{call.path}: {rule.reason}"
    for value in call.inputs:
        sweep.pin(value, value.live(), reason)
    return [sweep.fixed(call.path, shape, reason) for shape in call.shapes]


@follow.register
def _(rule: Contract, sweep: Sweep, call: Pending) -> list[Axes]:
    labels = _Labels(sweep, call.path)
    inputs = call.inputs
    if len(inputs) < len(rule.inputs):
        return follow(Pin("it multiplies by a constant"), sweep, call)
    if not _fits(rule, call):
        return follow(
            Pin("it multiplies tensors of other shapes than its rule is for"), sweep, call
        )
    for extra in inputs[len(rule.inputs) :]:
        sweep.pin(extra, extra.live(), f"{call.path} takes it as a mask")
    read = [expanded(text, len(v.shape)) for text, v in zip(rule.inputs, inputs, strict=False)]
    for text, value in zip(read, inputs, strict=False):
        for label, length, line in zip(text, value.shape, value.axes, strict=True):
            labels.meet(label, length, line)
    variables = {weight.name: weight for weight in getattr(call.operation, "weights", ())}
    output = expanded(rule.output, len(call.shapes[0]))
    made = set()
    for name, text in rule.weights.items():
        if name not in variables:
            continue
        for axis, (label, length) in enumerate(zip(text, variables[name].shape, strict=True)):
            if label not in labels.sizes:
                # Only weights hold this axis: the operation makes its units.
                labels.sizes[label], labels.ids[label] = (
                    length,
                    sweep.ledger.mint(length, call.path),
                )
                made.add(label)
            role = "write" if label in made else "read"
            if label != "_":
                sweep.claim(call.path, variables[name], axis, labels.ids[label], role)
    for label in made if rule.keeps else ():
        sweep.ledger.pin(labels.ids[label], rule.keeps or "")
    for label in rule.fixed:
        sweep.ledger.pin(labels.ids.get(label), f"{call.path} computes across this axis")
    weighed = "".join(text for name, text in rule.weights.items() if name in variables)
    for label in set("".join(read)) - {*output, *rule.fixed, *weighed}:
        holders = [(v, t.index(label)) for t, v in zip(read, inputs, strict=False) if label in t]
        if not any(vanishes(sweep, value, axis) for value, axis in holders):
            why = f"{call.path} sums over it, and what is cut does not become zero"
            sweep.ledger.pin(labels.ids.get(label), why)
    for label, length in zip(output, call.shapes[0], strict=True):
        labels.sizes.setdefault(label, length)
    _count(rule, sweep, call, labels, variables)
    return [tuple(labels.ids.get(label) for label in output)] * len(call.shapes)


def _fits(rule: Contract, call: Pending) -> bool:
    """Say whether the tensors of a call have the ranks and lengths that the labels ask for."""
    sizes: dict[str, int] = {}
    shapes = [value.shape for value in call.inputs[: len(rule.inputs)]]
    for text, shape in zip((*rule.inputs, rule.output), (*shapes, call.shapes[0]), strict=True):
        labels = expanded(text, len(shape))
        if len(labels) != len(shape):
            return False
        for label, length in zip(labels, shape, strict=True):
            if length not in (1, sizes.setdefault(label, length)) and sizes[label] != 1:
                return False
    return True


@dataclass
class _Labels:
    """What each label stands for: a length, and the ids on the axes that carry it."""

    sweep: Sweep
    path: str
    sizes: dict[str, int] = field(default_factory=dict)
    ids: dict[str, Ids | None] = field(default_factory=dict)

    def meet(self, label: str, length: int, line: Ids | None) -> None:
        """Let one axis of a tensor meet those of the same label."""
        known = self.ids.get(label)
        size = self.sizes.get(label, 1 if known is None else 0)
        if length == size and label in self.sizes:
            if (known is None) != (line is None):
                met = known if line is None else line
                self.sweep.ledger.pin(met, f"{self.path} merges it with one that cannot shrink")
            self.ids[label] = self.sweep.meet([known, line])
        elif label not in self.sizes or length > size:
            self.sweep.ledger.pin(known, f"{self.path} repeats it over an axis")
            self.sizes[label], self.ids[label] = length, line
        else:
            self.sweep.ledger.pin(line, f"{self.path} repeats it over an axis")


def _count(
    rule: Contract, sweep: Sweep, call: Pending, labels: _Labels, variables: dict[str, Any]
) -> None:
    """Count multiply-adds: with weights by the weight's elements, between tensors by product."""
    everything = "".join(sorted(labels.sizes))
    kernels = [name for name in rule.weights if name in variables and name != "bias"]
    for name in kernels:
        rest = sorted(set(everything) - set(rule.weights[name]))
        uses = prod(labels.sizes[label] for label in rest)
        lines = {label: labels.ids[label] for label in rest if labels.ids.get(label) is not None}
        _use(sweep, call.path, variables[name], uses, lines, labels.sizes)
    for number, product in enumerate(rule.products or (everything,)) if not kernels else ():
        live = [line for label in product if (line := labels.ids.get(label)) is not None]
        count = prod(labels.sizes[label] for label in product if labels.ids.get(label) is None)
        sweep.product(f"{call.path}/product{number or ''}", count, live)


def _use(
    sweep: Sweep, path: str, variable: Any, uses: int, lines: Mapping[Any, Any], sizes: Any
) -> None:
    """Count the uses of a weight's elements, some of them at positions that may be removed."""
    entry = sweep.weight(path, variable)
    if not lines:
        entry.uses += uses
        return
    static = prod(n for n, ids in zip(entry.shape, entry.axes, strict=True) if ids is None)
    positions = prod(sizes[place] for place in lines)
    own = [ids for ids in entry.axes if ids is not None]
    sweep.product(
        f"{path}/{variable.name}/uses", uses // positions * static, [*lines.values(), *own]
    )


def _positions(per: Per, axis: int, before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Count how often each element of a kernel is used for one sample."""
    if per == "step":
        return before[1]
    shape = before if per == "input" else after
    return prod(shape) // shape[axis]
