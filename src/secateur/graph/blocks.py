"""Residual blocks as units: `y = x + f(x)`, where nothing but this sum needs `f(x)`.

A block is found by its wiring, not by its class. Two things are asked of `f`: what it reads is
there without it as well, and it is exactly zero where the weights at its end are zero, so that it
can be masked. The second is tried, not assumed: the operations at its end are run with such
weights.

Each weight in a block gets an axis of length one that carries the block's unit. All arithmetic on
shapes, costs and scores then holds for blocks as it does for channels.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import layers, tree
from keras.src.ops.numpy import Add

from secateur.graph.graph import Block, Graph, Group, Slice, Weight
from secateur.graph.sweep import Call, Sweep, Value, mapped
from secateur.graph.weights import to_numpy

# A block's end is looked for no further back than this.
MOST_CALLS = 64


def with_blocks(graph: Graph, sweep: Sweep) -> Graph:
    """Return a graph in which residual blocks are units as well."""
    found = list(_Finder(graph, sweep).blocks())
    if not found:
        return graph
    units = {each.merge: graph.units + number for number, each in enumerate(found)}
    around: dict[int, list[_Found]] = defaultdict(list)
    for each in found:
        for variable in each.variables:
            around[variable].append(each)

    def inside(weight: Weight, blocks: Iterable[_Found], roles: Sequence[str]) -> Weight:
        ids = [np.array([units[each.merge]]) for each in blocks]
        return replace(
            weight,
            shape=(*weight.shape, *(1 for _ in ids)),
            axes=(*weight.axes, *ids),
            roles=(*weight.roles, *roles),
        )

    weights = {}
    for key, weight in graph.weights.items():
        variable = id(graph.variables[key])
        blocks = around.get(variable, [])
        weights[key] = inside(weight, blocks, [each.role(variable) for each in blocks])
    products = []
    for product, made in zip(graph.products, sweep.products, strict=True):
        blocks = [each for each in found if made.call in each.calls]
        products.append(inside(product, blocks, ["cost"] * len(blocks)))
    groups = _groups(graph, found, units, [*weights.values(), *products])
    return replace(
        graph,
        weights=weights,
        products=tuple(products),
        groups=(*graph.groups, *(group for group in groups if group.free.any())),
        fixed=(*graph.fixed, *(group for group in groups if not group.free.any())),
        units=graph.units + len(found),
        blocks=tuple(
            Block(units[each.merge], each.merge, each.stream, each.calls) for each in found
        ),
    )


@dataclass(frozen=True)
class _Found:
    """A block, the weights in it, and those of them that switch it off when they are zero."""

    merge: int
    stream: int
    calls: frozenset[int]
    variables: frozenset[int]
    switch: frozenset[int]
    statistics: frozenset[int]

    def role(self, variable: int) -> str:
        if variable in self.statistics:
            return "pass"
        return "write" if variable in self.switch else "inside"


def _groups(
    graph: Graph, found: list[_Found], units: dict[int, int], weights: list[Weight]
) -> list[Group]:
    """Return one group for the blocks of each residual stream."""
    home = {int(unit): group for group in (*graph.groups, *graph.fixed) for unit in group.units}
    streams: dict[str, list[_Found]] = defaultdict(list)
    breadths = {}
    for each in found:
        call = graph.calls[each.merge]
        tensor = graph.tensors[call.outputs[0]]
        live = [ids for ids in tensor.axes if ids is not None and len(ids)]
        name = home[int(live[-1][0])].name if live else call.path
        breadths.setdefault(name, len(live[-1]) if live else tensor.shape[-1])
        streams[name].append(each)
    places: dict[int, list[tuple[str, int, str]]] = defaultdict(list)
    for weight in weights:
        for axis, (ids, role) in enumerate(zip(weight.axes, weight.roles, strict=True)):
            if ids is not None and len(ids) == 1 and ids[0] >= graph.units:
                places[int(ids[0])].append((weight.key, axis, role or "inside"))
    groups = []
    for name, blocks in streams.items():
        numbers = [units[each.merge] for each in blocks]
        alone = len(blocks) == 1
        groups.append(
            Group(
                name=f"blocks of {name}",
                members=tuple(graph.calls[each.merge].path for each in blocks),
                units=np.array(numbers),
                free=np.full(len(blocks), not alone),
                pins=("it is the only block of its stream",) if alone else (),
                slices=tuple(
                    Slice(key, axis, np.array([index]), role)
                    for index, number in enumerate(numbers)
                    for key, axis, role in places[number]
                ),
                kind="block",
                breadth=breadths[name],
                contents=tuple(
                    frozenset(graph.calls[number].path for number in (each.merge, *each.calls))
                    for each in blocks
                ),
            )
        )
    return groups


@dataclass
class _Finder:
    """Looks through the calls of a graph for residual blocks."""

    graph: Graph
    sweep: Sweep
    maker: dict[int, int] = field(default_factory=dict)
    readers: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    users: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    scopes: Counter[str] = field(default_factory=Counter)
    above: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, call in enumerate(self.graph.calls):
            self.maker |= dict.fromkeys(call.outputs, number)
            for index in _read(call):
                self.readers[index].append(number)
            for variable in self._variables(call):
                self.users[variable].add(number)
            self.scopes.update(scopes_of(call.path))

    def blocks(self) -> Iterator[_Found]:
        """Yield the blocks in the order of their sums."""
        for number, call in enumerate(self.graph.calls):
            found = self._block(number, call)
            # What a block reads has to be there without any block: only the stream leads to it.
            read = _read(call) if found is None else [found.stream]
            above = 0
            for index in read:
                above |= self.above.setdefault(index, 1 << index)
            for index in call.outputs:
                self.above[index] = above | 1 << index
            if found is not None:
                yield found

    def _block(self, number: int, call: Call) -> _Found | None:
        """Return the block that a call ends, if it ends one."""
        operands = summands(call)
        if operands is None or any(value.index in self.graph.constants for value in operands):
            return None
        one, other = (value.index for value in operands)
        for stream, last in ((one, other), (other, one)):
            calls, read = self._branch(number, stream, last)
            if not calls or not self._stands_alone(call, calls):
                continue
            above = self.above.setdefault(stream, 1 << stream)
            if not all(above >> index & 1 for index in read) or not any(
                index == stream or self._same_units(index, call.outputs[0]) for index in read
            ):
                continue
            variables = frozenset(v for n in calls for v in self._variables(self.graph.calls[n]))
            if not variables or any(not self.users[each] <= calls for each in variables):
                continue
            end = _End(self, calls, variables)
            switch = end.switch(last)
            if switch:
                return _Found(number, stream, calls, variables, switch, end.statistics)
        return None

    def _branch(self, merge: int, stream: int, last: int) -> tuple[frozenset[int], set[int]]:
        """Return the calls that only a sum needs, and what they read that others make."""
        inside: set[int] = set()
        read: set[int] = set()
        heap = [-self.maker[last]] if last in self.maker else []
        seen = set(heap)
        while heap:
            number = -heapq.heappop(heap)
            call = self.graph.calls[number]
            needed = {reader for index in call.outputs for reader in self.readers[index]}
            if not needed <= inside | {merge} or self.sweep.left.intersection(call.outputs):
                continue
            inside.add(number)
            for index in _read(call):
                read.add(index)
                maker = self.maker.get(index)
                if index != stream and maker is not None and -maker not in seen:
                    seen.add(-maker)
                    heapq.heappush(heap, -maker)
        made = {index for number in inside for index in self.graph.calls[number].outputs}
        return frozenset(inside), read - made - set(self.graph.constants)

    def _stands_alone(self, merge: Call, calls: frozenset[int]) -> bool:
        """Say whether the block can go from the models and composite layers that it lies in."""
        around = set(scopes_of(merge.path))
        counts = Counter(s for number in calls for s in scopes_of(self.graph.calls[number].path))
        if any(counts[scope] < self.scopes[scope] for scope in counts.keys() - around):
            return False
        for scope in around:
            if scope not in self.graph.opened and counts[scope] < len(calls):
                # A nested model takes no input that is gone.
                return False
            if scope in self.sweep.held and counts[scope] + 1 < self.scopes[scope]:
                # A layer that cannot be laid open can only go as a whole.
                return False
        return True

    def _same_units(self, one: int, other: int) -> bool:
        lines = [[i for i in self.graph.tensors[t].axes if i is not None] for t in (one, other)]
        return any(np.array_equal(a, b) for a in lines[0] for b in lines[1])

    def _variables(self, call: Call) -> list[int]:
        own = [id(variable) for variable in getattr(call.operation, "weights", ())]
        held = (self.graph.constants.get(index) for index in _read(call))
        return own + [id(each) for each in held if isinstance(each, keras.Variable)]


@dataclass
class _End:
    """Finds the weights at the end of a block that make what it adds zero when they are zero."""

    finder: _Finder
    calls: frozenset[int]
    own: frozenset[int]
    known: dict[int, frozenset[int] | None] = field(default_factory=dict)
    statistics: frozenset[int] = frozenset()

    def switch(self, index: int) -> frozenset[int] | None:
        """Return the weights that make a tensor zero, or `None` if there are no such."""
        graph = self.finder.graph
        if index in graph.constants:
            variable = frozenset({id(graph.constants[index])})
            return variable if variable <= self.own else None
        if index not in self.known:
            number = self.finder.maker.get(index)
            found = None
            if number in self.calls and len(self.known) < MOST_CALLS:
                # A guard against walking in circles; there are none.
                self.known[index] = None
                found = self._switch(graph.calls[number])
            self.known[index] = found
        return self.known[index]

    def _switch(self, call: Call) -> frozenset[int] | None:
        variables = frozenset(self.finder._variables(call))
        if not variables or not self._is_zero(call, frozenset()):
            behind = {index: self.switch(index) for index in _read(call)}
            silent = {index: each for index, each in behind.items() if each is not None}
            if not silent or not self._is_zero(call, frozenset(silent)):
                return None
            variables = variables.union(*silent.values())
        layer = call.operation
        if isinstance(layer, layers.BatchNormalization):
            estimated = {id(v) for v in layer.weights} - {id(layer.gamma), id(layer.beta)}
            self.statistics |= estimated
        return variables

    def _is_zero(self, call: Call, silent: frozenset[int]) -> bool:
        """Run a call with its weights and some of its inputs zero, the others at random."""
        operation = call.operation
        constants = self.finder.graph.constants

        def value_of(variable: Any) -> Any:
            value = to_numpy(variable)
            return np.zeros_like(value) if id(variable) in self.own else value

        def filled(value: Value) -> Any:
            if value.index in constants:
                return keras.ops.convert_to_tensor(value_of(constants[value.index]))
            if value.index in silent:
                return keras.ops.zeros(value.shape, value.dtype)
            return keras.ops.convert_to_tensor(_noise(value.shape, value.dtype))

        args, kwargs = mapped(filled, call.args), mapped(filled, call.kwargs)
        try:
            if isinstance(operation, keras.Layer):
                trainable = [value_of(v) for v in operation.trainable_variables]
                others = [value_of(v) for v in operation.non_trainable_variables]
                outputs = operation.stateless_call(trainable, others, *args, **kwargs)[0]
            else:
                outputs = operation.call(*args, **kwargs)
        except Exception:
            # What cannot be tried is no block.
            return False
        return not any(np.any(to_numpy(output)) for output in tree.flatten(outputs))


def summands(call: Call) -> tuple[Value, Value] | None:
    """Return the two tensors of one shape that a call adds, if that is what it does."""
    if not isinstance(call.operation, (layers.Add, Add)):
        return None
    values = [leaf for leaf in tree.flatten((call.args, call.kwargs)) if isinstance(leaf, Value)]
    if len(values) != 2 or values[0] is values[1] or values[0].shape != values[1].shape:
        return None
    return values[0], values[1]


def _read(call: Call) -> list[int]:
    """Return the indices of all tensors that a call is given, masks among them."""
    leaves = tree.flatten((call.args, call.kwargs))
    return [leaf.index for leaf in leaves if isinstance(leaf, Value)]


def scopes_of(path: str) -> list[str]:
    """Return the paths of the nested models and composite layers that a call lies in."""
    steps = path.split("/")
    return ["/".join(steps[:count]) for count in range(1, len(steps))]


def _noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return values of both signs, the same each time."""
    values = np.random.default_rng(0).normal(size=997)
    if not dtype.startswith(("float", "bfloat")):
        values = values > 0
    return np.resize(values, shape).astype(dtype)
