"""The state of one sweep over a model's calls: values, weights, and the ledger of their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import ModelError
from secateur.graph.configs import Place, described
from secateur.graph.fitting import sayable
from secateur.graph.rule import At, Rule, Where
from secateur.graph.units import Axes, Ids, Ledger
from secateur.graph.weights import is_array


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


@dataclass(frozen=True)
class Composite:
    """One call of a layer that was opened.

    The symbolic arguments, the indices of its outputs, the calls inside it, and whether these
    cannot be laid into the graph of the model.
    """

    specs: Any
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    held: bool = False


@dataclass(frozen=True)
class Pending:
    """A call that is being followed: its inputs are known, and the shapes of its outputs."""

    path: str
    operation: Any
    args: Any
    kwargs: Any
    shapes: tuple[tuple[int, ...], ...]

    @property
    def inputs(self) -> list[Value]:
        """Return the tensors among the arguments, masks aside."""
        return [leaf for leaf in self._leaves() if isinstance(leaf, Value)]

    @property
    def masks(self) -> list[Value]:
        """Return the masks that Keras hands on beside what they mask."""
        found = tree.flatten(self.kwargs.get("mask"))
        return [leaf for leaf in found if isinstance(leaf, Value)]

    @property
    def constants(self) -> list[Any]:
        """Return the arrays and variables among the arguments."""
        return [leaf for leaf in self._leaves() if not isinstance(leaf, Value) and is_array(leaf)]

    def _leaves(self) -> list[Any]:
        named = {name: value for name, value in self.kwargs.items() if name != "mask"}
        return tree.flatten((self.args, named))


@dataclass
class WeightIds:
    """The ids on the axes of a weight, and how many multiply-adds an element takes part in."""

    key: str
    variable: Any
    shape: tuple[int, ...]
    axes: list[Ids | None]
    roles: list[str | None]
    uses: int = 0
    held: dict[int, str] = field(default_factory=dict)


@dataclass
class Product:
    """Multiply-adds between tensors: `count` for each combination of positions on the axes.

    `call` is the number of the call that does them.
    """

    key: str
    count: int
    axes: list[Ids]
    call: int


@dataclass
class Sweep:
    """Every value, call and weight so far."""

    ledger: Ledger = field(default_factory=Ledger)
    values: list[Value] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    makers: dict[int, Call] = field(default_factory=dict)
    zeros: dict[tuple[int, int], bool] = field(default_factory=dict)
    weights: dict[int, WeightIds] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    opened: dict[str, list[Composite]] = field(default_factory=dict)
    shared: dict[int, list[Value]] = field(default_factory=dict)
    named: Counter[str] = field(default_factory=Counter)
    mixed: list[tuple[str, Ids | None]] = field(default_factory=list)
    open_length: int | None = None
    whole: bool = False
    faults: list[ModelError] = field(default_factory=list)
    said: dict[str, list[list[Place]]] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    def value(self, shape: tuple[int, ...], dtype: str, axes: Axes) -> Value:
        """Add a value."""
        made = Value(len(self.values), shape, dtype, axes)
        self.values.append(made)
        return made

    def add(self, call: Call) -> None:
        """Add a call that was followed."""
        self.calls.append(call)
        self.makers |= dict.fromkeys(call.outputs, call)

    def enter(self, name: str, shape: tuple[int, ...], dtype: str) -> Value:
        """Add a model input; its features may not be removed."""
        return self.value(shape, dtype, self.fixed(name, shape, "model input"))

    def leave(self, value: Value) -> None:
        """Mark a value as a model output."""
        self.left.add(value.index)
        self.pin(value, value.live(), "model output")

    def fixed(self, owner: str, shape: tuple[int, ...], reason: str) -> Axes:
        """Return axes whose last one carries fresh ids that may not be removed."""
        axes: list[Ids | None] = [None] * len(shape)
        if len(shape) > 1:
            axes[-1] = self.ledger.mint(shape[-1], owner)
            self.ledger.pin(axes[-1], reason)
        return tuple(axes)

    def pin(self, value: Value, axes: Iterable[int], reason: str) -> None:
        """Forbid the removal of what is on some axes of a value."""
        for axis in axes:
            self.ledger.pin(value.axes[axis], reason)

    def meet(self, lines: Iterable[Ids | None]) -> Ids | None:
        """Join axes that must shrink together and return one of them."""
        live = [line for line in lines if line is not None]
        for line in live[1:]:
            self.ledger.join(live[0], line)
        return live[0] if live else None

    def alike(self, ids: Ids | None, groups: int) -> Ids | None:
        """Join the j-th ids of all groups and return those of the first group."""
        if ids is None or groups == 1:
            return ids
        lines = ids.reshape(groups, -1)
        for line in lines[1:]:
            self.ledger.join(lines[0], line)
        return lines[0]

    def again(self, path: str, operation: Any, values: list[Value], *, strict: bool = True) -> None:
        """Let what a layer is called on shrink alike each time, since it has one shape only.

        A layer that is called on tensors of other ranks does something else with them: if
        `strict`, they are kept whole, else they go their own ways.
        """
        first = self.shared.setdefault(id(operation), values)
        if first is values:
            return
        reason = f"{path} is used on what cannot shrink alike"
        lines = [[v.axes for v in each] for each in (first, values)]
        if list(map(len, lines[0])) != list(map(len, lines[1])):
            for value in (*first, *values) if strict else ():
                self.pin(value, value.live(), reason)
            return
        for ids, more in zip(*(chain.from_iterable(each) for each in lines), strict=True):
            if ids is not None and more is not None and len(ids) == len(more):
                self.ledger.join(ids, more)
            else:
                self.ledger.pin(ids, reason)
                self.ledger.pin(more, reason)

    def sayable(self, layer: Any, specs: Any) -> list[list[Place]]:
        """Return what a layer's config can say, found out once for layers that are alike."""
        shapes = [getattr(leaf, "shape", leaf) for leaf in tree.flatten(specs)]
        key = f"{type(layer)} {[w.shape for w in layer.weights]} {shapes} {described(layer)}"
        if key not in self.said:
            self.said[key] = sayable(layer, specs)
        return self.said[key]

    def weight(self, path: str, variable: Any) -> WeightIds:
        """Return the entry of a weight, a new one where it is seen for the first time."""
        found = self.weights.get(id(variable))
        if found is None:
            none: list[Ids | None] = [None] * len(variable.shape)
            key = f"{path}/{variable.name}"
            self.named[key] += 1
            key = key if self.named[key] == 1 else f"{key}#{self.named[key]}"
            found = WeightIds(key, variable, tuple(variable.shape), none, [None] * len(none))
            self.weights[id(variable)] = found
        return found

    def constant(self, path: str, held: Any) -> Value:
        """Return a weight or tensor that a layer holds and uses as a tensor.

        Each position of a weight may be a unit.
        """
        for index, known in self.constants.items():
            if known is held:
                return self.values[index]
        shape = tuple(held.shape)
        axes: list[Ids | None] = [None] * len(shape)
        if isinstance(held, keras.Variable):
            owner = f"{path}/{held.name}"
            axes = [self.ledger.mint(length, owner) if length > 1 else None for length in shape]
            for axis, ids in enumerate(axes):
                self.claim(path, held, axis, ids, "write")
        dtype = keras.backend.standardize_dtype(held.dtype)
        value = self.value(shape, dtype, tuple(axes))
        self.constants[value.index] = held
        return value

    def attach(
        self, path: str, variable: Any, where: Where, ids: Ids | None, first: Ids | None, role: str
    ) -> None:
        """Lay ids on axes of a weight; `first` are those of the first group of channels."""
        if variable is None:
            return
        for at in where if isinstance(where, tuple) else (where,):
            place = at if isinstance(at, At) else At(at)
            axis = place.axis % len(variable.shape)
            if ids is None:
                self.claim(path, variable, axis, None, role)
                continue
            full = np.tile(np.repeat(ids, place.repeat), place.tile)
            # A grouped kernel has one group's worth of input channels.
            fits = full if len(full) == variable.shape[axis] else first
            if fits is None or len(fits) != variable.shape[axis]:
                raise ModelError(
                    f"the rule lays {len(full)} units on axis {place.axis} of {variable.name}, "
                    f"which has {variable.shape[axis]} positions.",
                    where=path,
                    mend="Correct reads= and writes= of the rule that was registered for it.",
                )
            self.claim(path, variable, axis, fits, role)

    def claim(self, path: str, variable: Any, axis: int, ids: Ids | None, role: str) -> None:
        """Lay ids on one axis of a weight, joining those that another call laid there.

        Without ids the axis is held: what other calls lay there may not be removed.
        """
        entry = self.weight(path, variable)
        known = entry.axes[axis]
        if ids is None:
            entry.held[axis] = f"{path} is used on an axis that cannot shrink as well"
        elif known is None:
            entry.axes[axis], entry.roles[axis] = ids, role
        else:
            self.ledger.join(known, ids)
        if axis in entry.held:
            self.ledger.pin(entry.axes[axis], entry.held[axis])

    def product(self, key: str, count: int, axes: list[Ids]) -> None:
        """Count multiply-adds: `count` for each combination of positions on the axes."""
        self.named[key] += 1
        key = key if self.named[key] == 1 else f"{key}#{self.named[key]}"
        self.products.append(Product(key, count, axes, len(self.calls)))


def shortest(axes: Sequence[Ids | None]) -> list[Ids]:
    """Return the shortest of some axes, none if others hold other units or cannot shrink."""
    lines = [ids for ids in axes if ids is not None]
    if len(lines) < len(axes):
        return []
    length = min(map(len, lines), default=0)
    short = [line for line in lines if len(line) == length]
    longer = [line for line in lines if len(line) > length]
    return short if all(np.isin(line, short).all() for line in longer) else []


def mapped(function: Callable[[Value], Any], structure: Any) -> Any:
    """Return a structure with `function` applied to every value in it."""
    return tree.map_structure(lambda v: function(v) if isinstance(v, Value) else v, structure)
