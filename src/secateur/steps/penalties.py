"""Penalties on units and weights, laid on by the optimizer within its own compiled step.

A unit is one vector: all its slices of all weights that the penalty sees. So what makes a unit and
what reads it shrink alike and reach zero at once, wherever in the model they lie. A weight between
two hidden layers is part of a unit of each of them, and is shrunk by both.

There are two ways to lay a penalty on. Added to the loss, its gradient is added to that of the
loss, before Adam scales it. As a proximal step after that of the optimizer (Parikh & Boyd 2014,
"Proximal Algorithms"; Yun et al. 2021, "Adaptive Proximal Gradient Methods"), what falls below zero
is exactly zero. Both take the strength in the same unit, that of the gradient of the loss by one
element: the proximal step is as long as Adam would make it, so never longer than the learning rate.

How strong a penalty is, and which units are alive, are variables of the optimizer: setting them
traces nothing again, and its state on disk has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from secateur.graph.graph import Group, Slice
from secateur.planning.scoring import per_unit as _per_unit

# Keras annotates operations too narrowly for a type checker.
ops: Any = keras.ops
_TINY = 1e-12
# Planning does not know of slices that are frozen.
per_unit: Any = _per_unit


@dataclass(frozen=True)
class Units:
    """The units of one group, as a penalty sees them.

    Args:
        group: the group.
        parts: the slices that make up the vector of a unit.
        whole: the slices that are zero once a unit is gone.
        on: which units are penalised.
        spared: the largest so many of these are not, so that a group is never emptied.
    """

    group: Group
    parts: tuple[Slice, ...]
    whole: tuple[Slice, ...]
    on: np.ndarray
    spared: int = 0

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
        """Return how many elements each unit has."""
        ones = {part.weight: np.ones(shapes[part.weight]) for part in self.parts}
        return sum(
            (per_unit(self.group, part, ones[part.weight]) for part in self.parts),
            np.zeros(len(self.group)),
        )

    def norms(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the root of the mean square of each unit: its norm by the root of its size."""
        total = sum(
            (per_unit(self.group, part, np.square(values[part.weight])) for part in self.parts),
            np.zeros(len(self.group)),
        )
        sizes = self.sizes({key: value.shape for key, value in values.items()})
        return np.sqrt(total / np.maximum(sizes, 1))


@dataclass(frozen=True)
class Penalty:
    """What an optimizer lays on beside the loss.

    Args:
        units: the groups, and how each is seen.
        on_units: `lasso` pulls the norm of a unit, `ridge` its square; `None` leaves units alone.
        singles: the keys of weights whose elements are penalised one by one.
        mix: how much of that is L1; the rest is L2.
        proximal: whether it is a step of its own; else its gradient is added to that of the loss.
    """

    units: tuple[Units, ...]
    on_units: str | None
    singles: tuple[str, ...] = ()
    mix: float = 1.0
    proximal: bool = True


def soft(size: Any, pull: Any) -> Any:
    """Return what to multiply by so that sizes are smaller by `pull`, and none below zero.

    The proximal operator of `pull * |size|`: of a single weight (soft threshold), or of a norm
    (Yuan & Lin 2006, "Model Selection and Estimation in Regression with Grouped Variables").
    """
    return ops.maximum(1.0 - pull / ops.maximum(size, _TINY), 0.0)


def ridge(pull: Any) -> Any:
    """Return what to multiply by: the proximal operator of `pull / 2 * size ** 2`."""
    return 1.0 / (1.0 + pull)


class Penalising(keras.optimizers.Adam):
    """Adam that lays a penalty on the weights that it trains.

    Attributes:
        strength: how strong the penalty is, a variable.
        hold: whether single weights that are zero stay it, 0 or 1, a variable.
        alive: for each group by name, one for each unit that is there and zero for one that is
            gone: all its slices are zero after every step.
        target: for each group by name, one for each unit that the penalty may pull at.
    """

    def attach(self, penalty: Penalty, variables: Mapping[str, Any], strength: float) -> None:
        """Take up a penalty. The optimizer is built already.

        Args:
            penalty: what is penalised.
            variables: the variables of the model that is trained, by the keys of their weights.
            strength: how strong the penalty is at first.
        """
        start: Any = keras.initializers.Constant(strength)
        self._penalty = penalty
        self._pulling = [
            each
            for each in penalty.units
            if penalty.on_units is not None and each.parts and each.on.any()
        ]
        keys = [p.weight for units in penalty.units for p in units.whole] + [*penalty.singles]
        # A plain dict would be tracked: on JAX the model's variables would be the optimizer's, too.
        self._penalised = MappingProxyType({key: variables[key] for key in keys})
        shapes = {key: tuple(each.shape) for key, each in self._penalised.items()}
        self._sizes = {each.group.name: each.sizes(shapes) for each in penalty.units}
        self.strength = self.add_variable((), start, "float32", name="strength")
        self.hold = self.add_variable((), "zeros", "float32", name="hold")
        self.alive, self.target = (
            {
                each.group.name: self.add_variable(
                    (len(each.group),), "ones", "float32", name=f"{what}_{index}"
                )
                for index, each in enumerate(penalty.units)
            }
            for what in ("alive", "target")
        )

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Do Adam's step, and lay the penalty on before or after it."""
        if trainable_variables is None:
            trainable_variables = self._trainable_variables
        trained = list(trainable_variables)
        rate = ops.cast(self.learning_rate, "float32")
        zero = {key: ops.equal(self._penalised[key], 0) for key in self._penalty.singles}
        if not self._penalty.proximal:
            grads = self._with_penalty(list(grads), trained)
        super().apply(grads, trained)
        self._shrink(rate, zero)

    def _with_penalty(self, grads: list[Any], trained: list[Any]) -> list[Any]:
        """Return gradients to which those of the penalty are added."""
        found: dict[str, Any] = {}
        for units in self._pulling:
            size = self._roots(units, self._squares(units))
            pull = self.strength * self._pulled(units, size)
            if self._penalty.on_units == "lasso":
                pull = pull / ops.maximum(size, 1e-6)
            for part in units.parts:
                more = self._value(part.weight) * self._spread(pull, part, 0.0)
                found[part.weight] = found[part.weight] + more if part.weight in found else more
        for key in self._penalty.singles:
            value, mix = self._value(key), self._penalty.mix
            found[key] = self.strength * (mix * ops.sign(value) + (1 - mix) * value)
        keys = {id(self._penalised[key]): key for key in found}
        return [
            grad
            if grad is None or id(variable) not in keys
            else grad + ops.cast(found[keys[id(variable)]], grad.dtype)
            for grad, variable in zip(grads, trained, strict=True)
        ]

    def _shrink(self, rate: Any, zero: Mapping[str, Any]) -> None:
        """Do the proximal step, and take away what is gone."""
        values = {key: self._value(key) for key in self._penalised}
        proximal = self._penalty.proximal
        for key in self._penalty.singles:
            if proximal:
                values[key] = values[key] * self._factor(values[key], self._second(key), rate)
            gone = ops.cast(zero[key], "float32") * self.hold
            values[key] = values[key] * (1.0 - gone)
        for units in self._penalty.units:
            alive = self.alive[units.group.name]
            factor = ops.convert_to_tensor(alive)
            for part in units.whole:
                values[part.weight] = values[part.weight] * self._spread(factor, part, 1.0)
        for units in self._pulling if proximal else ():
            size = self._roots(units, self._squares(units))
            second = self._roots(units, self._seconds(units))
            pull = rate * self._length(size, second) * self._pulled(units, size)
            factor = soft(size, pull) if self._penalty.on_units == "lasso" else ridge(pull)
            for part in units.parts:
                values[part.weight] = values[part.weight] * self._spread(factor, part, 1.0)
        for key, value in values.items():
            variable = self._penalised[key]
            self.assign(variable, ops.cast(value, variable.dtype))

    def _factor(self, value: Any, second: Any, rate: Any) -> Any:
        """Return what single weights are multiplied by."""
        mix, size = self._penalty.mix, ops.abs(value)
        lasso = rate * self.strength * mix / ops.sqrt(second + ops.square(self.strength) + _TINY)
        pulled = ops.square(self.strength * value)
        square = rate * self.strength * (1 - mix) / ops.sqrt(second + pulled + _TINY)
        return soft(size, lasso) * ridge(square)

    def _length(self, size: Any, second: Any) -> Any:
        """Return how far a step of length one pulls, as a share: what Adam would make of it."""
        own = self.strength if self._penalty.on_units == "lasso" else self.strength * size
        return self.strength / ops.sqrt(ops.square(second) + ops.square(own) + _TINY)

    def _pulled(self, units: Units, size: Any) -> Any:
        """Return one for each unit that the penalty pulls at, else zero."""
        on = ops.convert_to_tensor(units.on.astype("float32")) * self.target[units.group.name]
        if not units.spared or self._penalty.on_units == "ridge":
            return on
        ranked = ops.where(on > 0, size, -1.0)
        least = ops.sort(ranked)[len(units.group) - units.spared]
        return on * ops.cast(ranked < least, "float32")

    def _squares(self, units: Units) -> list[Any]:
        return [ops.square(self._value(part.weight)) for part in units.parts]

    def _seconds(self, units: Units) -> list[Any]:
        return [self._second(part.weight) for part in units.parts]

    def _roots(self, units: Units, arrays: Sequence[Any]) -> Any:
        """Return the root of the mean over the elements of each unit."""
        count = len(units.group)
        total: Any = ops.zeros((count,), "float32")
        for part, array in zip(units.parts, arrays, strict=True):
            others = tuple(a for a in range(len(array.shape)) if a != part.axis)
            line = ops.reshape(ops.sum(array, axis=others), (len(part.unit),))
            if not np.array_equal(part.unit, np.arange(count)):
                unit = np.where(part.unit < 0, count, part.unit).astype("int32")
                line = ops.segment_sum(line, unit, num_segments=count + 1)[:count]
            total = total + line
        sizes = np.maximum(self._sizes[units.group.name], 1).astype("float32")
        return ops.sqrt(total / ops.convert_to_tensor(sizes))

    def _spread(self, by_unit: Any, part: Slice, other: float) -> Any:
        """Lay one figure a unit on the axis of a weight; positions of other groups get `other`."""
        count, rank = by_unit.shape[0], len(self._penalised[part.weight].shape)
        if not np.array_equal(part.unit, np.arange(count)):
            more = ops.concatenate([by_unit, ops.full((1,), other, "float32")])
            unit = np.where(part.unit < 0, count, part.unit).astype("int32")
            by_unit = ops.take(more, unit, axis=0)
        if part.axis >= rank:
            return ops.reshape(by_unit, (1,) * rank)
        return ops.reshape(by_unit, [-1 if axis == part.axis else 1 for axis in range(rank)])

    def _value(self, key: str) -> Any:
        return ops.cast(ops.convert_to_tensor(self._penalised[key]), "float32")

    def _second(self, key: str) -> Any:
        """Return Adam's estimate of the squared gradient."""
        second = self._velocities[self._get_variable_index(self._penalised[key])]
        seen = ops.cast(self.iterations, "float32") * math.log(self.beta_2)
        return ops.cast(second, "float32") / ops.maximum(-ops.expm1(seen), _TINY)
