"""One pass over data gathers what criteria need: weights as they are, and gradients times weights.

The gradients come from an optimizer that moves nothing: `model.fit` with it is the pass, so it
works on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from secateur.errors import DataError, ModelError
from secateur.graph.graph import Graph
from secateur.graph.weights import copied, to_numpy


@dataclass(frozen=True)
class Stats:
    """What `observe` gathered, by weight key.

    Args:
        weights: the value of each weight.
        taylor: for each trainable weight, the mean over batches of (gradient * weight) squared.
        samples: how many rows were seen.
    """

    weights: Mapping[str, np.ndarray]
    taylor: Mapping[str, np.ndarray] = field(default_factory=dict)
    samples: int = 0

    @property
    def gathered(self) -> frozenset[str]:
        """Return the names of what there is."""
        return frozenset({"weights"} | ({"taylor"} if self.taylor else set()))


def observe(
    graph: Graph,
    data: tuple[Any, np.ndarray] | None = None,
    *,
    needs: frozenset[str] | set[str] = frozenset({"weights"}),
    batch_size: int = 32,
    seed: int = 0,
) -> Stats:
    """Gather what criteria need to know about a model.

    Args:
        graph: a traced model; the model is not changed.
        data: inputs and labels, as `Split.sample` returns them; needed for `taylor`. Labels are
            class codes (integers) or, for regression, floats.
        needs: `weights` and, for criteria on gradients, `taylor` (Molchanov et al. 2019,
            "Importance Estimation for Neural Network Pruning").
        batch_size: rows a gradient is averaged over before it is squared.
        seed: for what is random inside the model (dropout).

    Raises:
        DataError: `taylor` is needed and there is no data.
        ModelError: a gradient is NaN or infinite.
    """
    weights = {key: to_numpy(variable) for key, variable in graph.variables.items()}
    if "taylor" not in needs:
        return Stats(weights)
    if data is None:
        raise DataError(
            "this criterion needs data with labels, and none was given.",
            mend="Pass data, or use a criterion on weights alone: by='l2'.",
        )
    x, y = data
    return Stats(weights, _taylor(graph, x, y, batch_size, seed), len(y))


class _Listener(keras.optimizers.Optimizer):
    """An optimizer that adds up (gradient * variable) squared and moves nothing."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="listener")
        self.sums: list[Any] = []

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.sums = [
            self.add_variable_from_reference(reference_variable=v, name="sum") for v in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        total = self.sums[self._get_variable_index(variable)]
        product = keras.ops.multiply(gradient, variable)
        self.assign_add(total, keras.ops.square(keras.ops.cast(product, total.dtype)))


def _taylor(graph: Graph, x: Any, y: np.ndarray, batch_size: int, seed: int) -> dict:
    # Keras annotates fit and compile too narrowly for a type checker.
    model: Any = copied(graph.model)
    listener = _Listener()
    model.compile(optimizer=listener, loss=loss_for(model, y), jit_compile=False)
    for layer in model._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([seed, 0]))
    model.fit(x, y, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)
    steps = -(-len(y) // batch_size)
    keys = {id(variable): key for key, variable in graph.variables_of(model).items()}
    found = {}
    for variable, total in zip(model.trainable_variables, listener.sums, strict=True):
        key = keys.get(id(variable))
        if key is None:
            continue  # No output depends on it.
        found[key] = to_numpy(total) / steps
        if not np.isfinite(found[key]).all():
            raise ModelError(
                "a gradient is NaN or infinite.",
                where=key,
                mend="Check the inputs' scaling and the labels.",
            )
    return found


def loss_for(model: keras.Model, y: np.ndarray) -> keras.losses.Loss:
    """Return the loss that fits a model's output and the labels.

    Class codes get cross-entropy, on probabilities or logits as the last layer gives them; floats
    get the squared error.
    """
    if not np.issubdtype(np.asarray(y).dtype, np.integer):
        return keras.losses.MeanSquaredError()
    last = getattr(model.layers[-1], "activation", None)
    name = getattr(last, "__name__", "")
    if model.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=name != "sigmoid")
    return keras.losses.SparseCategoricalCrossentropy(from_logits=name != "softmax")
