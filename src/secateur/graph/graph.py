"""What a trace found: a read-only view of a model as calls, weights and groups of units.

Everything here is NumPy: planning needs no more, and knows no Keras.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import keras
import numpy as np

from secateur.graph.rule import Flow
from secateur.graph.sweep import Call, Composite, Sweep
from secateur.graph.units import Axes, Ids
from secateur.graph.weights import paired
from secateur.graph.whole import Said


@dataclass(frozen=True)
class Weight:
    """A weight: the unit on each position of each axis, and how often each element is used.

    `uses` is the number of multiply-adds that one element takes part in for one sample. A weight
    inside of residual blocks has an axis of length one for each of them after its own.
    """

    key: str
    shape: tuple[int, ...]
    axes: Axes
    roles: tuple[str | None, ...]
    uses: int


@dataclass(frozen=True)
class Slice:
    """Where a group lives: an axis of a weight, and the index in the group of each position.

    `unit` holds -1 at positions of other groups. `role` is `write` for the weights that make the
    units, `read` for those that consume them, `pass` for those that a unit passes through and
    `cost` for products between tensors, which have no elements. Of a residual block, `write` are
    the weights that switch it off when they are zero, `inside` all others.
    """

    weight: str
    axis: int
    unit: np.ndarray
    role: str


@dataclass(frozen=True)
class Group:
    """Units that live on the same axes and compete with each other.

    Args:
        name: the first layer that makes its units.
        members: all layers that make its units.
        units: the graph's number of each unit.
        free: for each unit, whether it may be removed.
        pins: why the others may not.
        slices: where the units live.
        lines: sets of units, as indices in the group, of which one must stay each, since they
            alone make up an axis of some tensor (a slice of another one, say).
        kind: what its units are, as `secateur.graph.kinds` tells.
        breadth: how many units of another group one of these weighs: a block writes as many as
            its stream is wide.
        contents: for each unit that is a block, the paths of its calls.
    """

    name: str
    members: tuple[str, ...]
    units: Ids
    free: np.ndarray
    pins: tuple[str, ...]
    slices: tuple[Slice, ...]
    lines: tuple[Ids, ...] = ()
    kind: str = "channel"
    breadth: int = 1
    contents: tuple[frozenset[str], ...] = ()

    def __len__(self) -> int:
        return len(self.units)


@dataclass(frozen=True)
class Block:
    """A residual block `y = x + f(x)`, which is removed by letting `x` stand for `y`.

    Args:
        unit: the unit that it is.
        merge: the number of the call that adds.
        stream: the index of the tensor `x`.
        calls: the numbers of the calls that make `f(x)` and nothing else.
    """

    unit: int
    merge: int
    stream: int
    calls: frozenset[int]


@dataclass(frozen=True)
class Tensor:
    """A tensor of the model at batch size one: its shape and the unit on each position."""

    shape: tuple[int, ...]
    axes: Axes


@dataclass(frozen=True)
class Graph:
    """The model as operations, and the groups of units that can be removed from it.

    Args:
        model: the traced model, unchanged.
        variables: the model's variables by the key of their weight.
        constants: weights that are used as tensors, by the index of the tensor.
        opened: the calls of composite layers whose inner operations are followed, by path.
        products: multiply-adds between tensors, in the form of weights without elements.
        calls: every call of every operation, in topological order.
        tensors: what the calls name by index.
        weights: every weight by its key, `path/name`.
        groups: the groups that have at least one unit that may be removed.
        fixed: the groups that have none.
        units: how many units there are.
        open_length: what stands in for lengths that the model leaves open.
        said: for a model that is made again as a whole, what its config can say.
        mixed: calls that normalise across units, each with these units.
        alike: names of groups that must be of one width, because one number says it.
        blocks: the residual blocks that are units.
    """

    model: keras.Model
    variables: Mapping[str, Any]
    constants: Mapping[int, Any]
    opened: Mapping[str, Sequence[Composite]]
    products: tuple[Weight, ...]
    calls: tuple[Call, ...]
    tensors: tuple[Tensor, ...]
    weights: Mapping[str, Weight]
    groups: tuple[Group, ...]
    fixed: tuple[Group, ...]
    units: int
    open_length: int | None = None
    mixed: tuple[tuple[str, Ids], ...] = ()
    said: tuple[Said, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    blocks: tuple[Block, ...] = ()

    @classmethod
    def of(cls, model: keras.Model, sweep: Sweep, said: tuple[Said, ...] = ()) -> Graph:
        """Settle a finished sweep."""
        settled = sweep.ledger.settle()

        def renamed(axes: Any) -> Axes:
            return tuple(None if ids is None else settled.unit[ids] for ids in axes)

        weights = {
            entry.key: Weight(
                entry.key, entry.shape, renamed(entry.axes), tuple(entry.roles), entry.uses
            )
            for entry in sweep.weights.values()
        }
        products = tuple(
            Weight(
                product.key,
                tuple(len(ids) for ids in product.axes),
                renamed(product.axes),
                ("cost",) * len(product.axes),
                product.count,
            )
            for product in sweep.products
        )
        count = int(settled.unit.max(initial=-1)) + 1
        tensors = tuple(Tensor(v.shape, renamed(v.axes)) for v in sweep.values)
        axes = [ids for part in (*tensors, *weights.values()) for ids in part.axes]
        groups = _groups(sweep, settled, [*weights.values(), *products], count, axes)
        groups, alike = _together(model, said, sweep, groups)
        return cls(
            model=model,
            constants=sweep.constants,
            opened=sweep.opened,
            products=products,
            variables={entry.key: entry.variable for entry in sweep.weights.values()},
            calls=tuple(sweep.calls),
            tensors=tensors,
            weights=weights,
            groups=tuple(group for group in groups if group.free.any()),
            fixed=tuple(group for group in groups if not group.free.any()),
            units=count,
            open_length=sweep.open_length,
            mixed=tuple((path, settled.unit[i]) for path, i in sweep.mixed if i is not None),
            said=said,
            alike=alike,
        )

    def variables_of(self, twin: keras.Model) -> dict[str, Any]:
        """Return the variables of a copy of the model by the keys of their weights.

        Those of layers that no output depends on have none.
        """
        places = {id(variable): key for key, variable in self.variables.items()}
        pairs = paired(self.model, twin)
        return {places[id(old)]: new for old, new in pairs if id(old) in places}

    def everything(self) -> np.ndarray:
        """Return the mask that keeps every unit."""
        return np.ones(self.units, bool)

    def sizes(self, keep: np.ndarray) -> dict[str, int]:
        """Return the number of elements of each weight when only `keep` is kept."""
        return {key: prod(kept_shape(w.shape, w.axes, keep)) for key, w in self.weights.items()}

    def shapes(self, keep: np.ndarray) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight when only `keep` is kept, its own axes alone."""
        return {
            key: kept_shape(w.shape, w.axes, keep)[: len(self.variables[key].shape)]
            for key, w in self.weights.items()
        }

    def removed(self, keep: np.ndarray) -> tuple[Block, ...]:
        """Return the blocks that go."""
        return tuple(block for block in self.blocks if not keep[block.unit])

    def parameters(self, keep: np.ndarray | None = None) -> int:
        """Return the number of weights' elements that are left."""
        return sum(self.sizes(self.everything() if keep is None else keep).values())

    def macs(self, keep: np.ndarray | None = None) -> int:
        """Return the multiply-adds of one sample, of the operations that multiply by weights."""
        keep = self.everything() if keep is None else keep
        multiplied = (*self.weights.values(), *self.products)
        return sum(prod(kept_shape(w.shape, w.axes, keep)) * w.uses for w in multiplied)

    def mixing(self, keep: np.ndarray) -> list[str]:
        """Return the calls that normalise across units of which some are not kept.

        What is left of those units is then normalised by other figures than before.
        """
        return [path for path, units in self.mixed if not keep[units].all()]

    def widths(self, keep: np.ndarray) -> dict[str, tuple[int, int]]:
        """Return the output width before and after, of each layer that makes units."""
        found = {}
        gone = {number for block in self.removed(keep) for number in block.calls}
        for number, call in enumerate(self.calls):
            if isinstance(call.rule, Flow) and call.rule.mints:
                tensor = self.tensors[call.outputs[0]]
                axis = call.rule.axis % len(tensor.shape)
                after = kept_shape(tensor.shape, tensor.axes, keep)[axis]
                found[call.path] = (tensor.shape[axis], 0 if number in gone else after)
        return found

    def fingerprint(self) -> str:
        """Return a hash of the structure: operations, wiring, names and shapes, not values."""
        calls = [
            (type(call.operation).__name__, call.path, call.inputs, call.outputs)
            for call in self.calls
        ]
        shapes = sorted((key, tuple(weight.shape)) for key, weight in self.variables.items())
        text = json.dumps([calls, shapes, [tensor.shape for tensor in self.tensors]])
        return hashlib.sha256(text.encode()).hexdigest()


def kept_shape(shape: tuple[int, ...], axes: Axes, keep: np.ndarray) -> tuple[int, ...]:
    """Return a shape after the positions of units that are not kept are gone."""
    return tuple(
        length if ids is None else int(np.count_nonzero(keep[ids]))
        for length, ids in zip(shape, axes, strict=True)
    )


def _groups(
    sweep: Sweep, settled: Any, weights: list[Weight], count: int, axes: Sequence[Ids | None]
) -> list[Group]:
    owner = np.array([name for _, _, name in sweep.ledger.blocks])
    group_of = np.zeros(count, int)
    group_of[settled.unit] = settled.group
    free = np.ones(count, bool)
    reasons: dict[int, dict[str, None]] = {}
    for ids, reason in sweep.ledger.pins:
        free[settled.unit[ids]] = False
        for group in np.unique(settled.group[ids]):
            reasons.setdefault(int(group), {})[reason] = None
    slices = _slices(weights, group_of)
    lines = _lines(axes, group_of, free)
    found = []
    named: Counter[str] = Counter()
    for group in np.unique(group_of):
        units = np.flatnonzero(group_of == group)
        blocks = np.unique(settled.block[settled.group == group])
        members = tuple(dict.fromkeys(str(name) for name in owner[blocks]))
        # A projection to heads makes two groups: the heads, and the units inside a head.
        named[members[0]] += 1
        again = named[members[0]]
        alone = (np.searchsorted(units, line) for line in lines.get(int(group), ()))
        found.append(
            Group(
                name=members[0] if again == 1 else f"{members[0]}#{again}",
                members=members,
                units=units,
                free=free[units],
                pins=tuple(reasons.get(int(group), ())),
                slices=tuple(slices.get(int(group), ())),
                lines=tuple(alone),
            )
        )
    return found


def _together(
    model: keras.Model, said: tuple[Said, ...], sweep: Sweep, groups: list[Group]
) -> tuple[list[Group], tuple[tuple[str, ...], ...]]:
    """Return the groups, and the names of those that one number gives the width of.

    Where one of them may not shrink, none of them may.
    """
    keys = [sweep.weights[id(variable)].key for variable in model.weights] if said else []
    named = {group.name: group for group in groups}
    found = []
    for each in said:
        places = {(keys[index], axis) for index, axis in each.axes}
        there = [g for g in groups if places & {(p.weight, p.axis) for p in g.slices}]
        if len({len(group) for group in there}) == 1 and all(g.free.all() for g in there):
            found.append(tuple(group.name for group in there))
            continue
        reason = f"{'.'.join(map(str, each.way))} says the width of what may not shrink as well"
        for group in there:
            pins = (*group.pins, reason)
            named[group.name] = replace(group, free=np.zeros(len(group), bool), pins=pins)
    return list(named.values()), tuple(names for names in found if len(names) > 1)


def _lines(
    axes: Sequence[Ids | None], group_of: np.ndarray, free: np.ndarray
) -> dict[int, list[Ids]]:
    """Return, for each group, the sets of its units that alone keep some axis from being empty."""
    sizes = np.bincount(group_of)
    found: dict[int, list[Ids]] = {}
    distinct = {ids.tobytes(): ids for ids in axes if ids is not None and len(ids)}
    for line in {np.unique(ids).tobytes(): np.unique(ids) for ids in distinct.values()}.values():
        groups, counts = np.unique(group_of[line], return_counts=True)
        # One unit of every group stays in any case.
        if free[line].all() and (counts < sizes[groups]).all():
            found.setdefault(int(groups[0]), []).append(line[group_of[line] == groups[0]])
    return found


def _slices(weights: list[Weight], group_of: np.ndarray) -> dict[int, list[Slice]]:
    order = np.argsort(group_of, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group_of))])
    within = np.empty(len(group_of), int)
    within[order] = np.arange(len(order)) - starts[group_of[order]]
    found: dict[int, list[Slice]] = {}
    for weight in weights:
        for axis, (ids, role) in enumerate(zip(weight.axes, weight.roles, strict=True)):
            if ids is None or role is None:
                continue
            for group in np.unique(group_of[ids]):
                unit = np.where(group_of[ids] == group, within[ids], -1)
                found.setdefault(int(group), []).append(Slice(weight.key, axis, unit, role))
    return found
