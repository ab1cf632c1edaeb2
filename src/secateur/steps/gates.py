"""Selection layers: one learned gate a unit, which says how much of it is let through.

Each layer holds the gates of one group of units and nothing else. Called, it gives the gates'
values, a vector of as many as the group has units: in training as its kind draws or softens them,
in inference as they will be. `opened` is the share of each unit that is expected to stay, which is
what the cost of a network is reckoned with, and `logits` say which units are wanted most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from secateur.errors import PlanError

# Keras annotates operations too narrowly for a type checker.
ops: Any = keras.ops


class Gates(keras.layers.Layer):
    """Gates of a group.

    Args:
        start: a logit for each unit to begin with; above zero a gate is open.
        speed: how much faster than weights the logits are to move, at the same learning rate.
        name: the layer's name.
    """

    def __init__(
        self, start: np.ndarray, *, speed: float = 1.0, seed: int = 0, name: str = "gates"
    ):
        super().__init__(name=name)
        self.speed = speed
        self._start = np.asarray(start, "float32")
        self.raw: Any = self.add_weight(
            shape=self._start.shape,
            initializer=lambda shape, dtype: ops.cast(self._start / speed, dtype),
            name="gates",
        )
        self.seeds = keras.random.SeedGenerator(seed)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        """Do nothing: the logits are there."""

    @property
    def logits(self) -> Any:
        """Return one number a unit, (units,): the higher, the more it is wanted."""
        return self.raw * self.speed

    def opened(self, progress: Any) -> Any:
        """Return the expected share of each unit that stays, (units,), between 0 and 1.

        Args:
            progress: how much of the training is over, from 0 to 1.
        """
        return ops.sigmoid(self.logits)

    def call(self, progress: Any, training: bool = False) -> Any:
        """Return the values of the gates, (units,), from 0 to 1."""
        raise NotImplementedError


class HardConcrete(Gates):
    """Gates that are drawn anew at each step, many of them exactly 0 or 1.

    Louizos, Welling & Kingma 2018, "Learning Sparse Neural Networks through L0 Regularization": a
    concrete variable, stretched beyond 0 and 1 and cut off there.
    """

    temperature, low, high = 2 / 3, -0.1, 1.1

    def opened(self, progress: Any) -> Any:
        """Return the chance that each gate is not zero."""
        return ops.sigmoid(self.logits - self.temperature * math.log(-self.low / self.high))

    def call(self, progress: Any, training: bool = False) -> Any:
        """Return values drawn by the gates' chances; in inference what they are likely to be."""
        noise = 0.0
        if training:
            drawn = keras.random.uniform(self._start.shape, 1e-6, 1 - 1e-6, seed=self.seeds)
            noise = ops.log(drawn) - ops.log(1 - drawn)
        scale = self.temperature if training else 1.0
        concrete = ops.sigmoid((self.logits + noise) / scale)
        return ops.clip(concrete * (self.high - self.low) + self.low, 0.0, 1.0)


class TopK(Gates):
    """The best k gates are open and the others shut, k being what the gates expect to be open.

    The gradient goes through as if the gates were soft (the straight-through estimator: Bengio et
    al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons").
    """

    def call(self, progress: Any, training: bool = False) -> Any:
        """Return zeros and ones."""
        soft = ops.sigmoid(self.logits)
        place = ops.argsort(ops.argsort(-self.logits))
        wanted = ops.maximum(ops.round(ops.sum(soft)), 1.0)
        hard = ops.cast(ops.cast(place, "float32") < wanted, "float32")
        return soft + ops.stop_gradient(hard - soft)


class Soft(Gates):
    """Gates that nothing is drawn for: a sigmoid that grows steeper while the model trains.

    Its temperature falls from 1 to 1/30 as progress goes from 0 to 1, so that what is a matter of
    degree at first is a choice in the end (Savarese, Silva & Maire 2020, "Winning the Lottery with
    Continuous Sparsification").
    """

    steepest = 30.0

    def opened(self, progress: Any) -> Any:
        """Return the gates' values."""
        return ops.sigmoid(self.logits * ops.power(self.steepest, progress))

    def call(self, progress: Any, training: bool = False) -> Any:
        """Return values between 0 and 1."""
        return self.opened(progress)


GATES: Mapping[str, type[Gates]] = {"hard_concrete": HardConcrete, "top_k": TopK, "soft": Soft}


def gates_by(name: str) -> type[Gates]:
    """Return the kind of gates of a name.

    Raises:
        PlanError: there is none.
    """
    if not isinstance(name, str) or name not in GATES:
        raise PlanError(
            f"there are no gates {name!r}.", where="gates", mend=f"Use one of {', '.join(GATES)}."
        )
    return GATES[name]
