"""The model as operations: one sweep over its calls, in topological order, finds the units.

The sweep runs on shapes and ids only. It uses the functional graph that Keras keeps, so it is the
same on every backend, and it leaves the model as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import ModelError
from secateur.graph import stock  # noqa: F401  (fills the registry)
from secateur.graph.functional import functional_of, is_nested
from secateur.graph.graph import Graph
from secateur.graph.rule import rule_of
from secateur.graph.sweep import Sweep, Value
from secateur.graph.weights import to_numpy

# Stands in for a length that the model leaves open (image size, number of time steps).
OPEN_LENGTH = 64


def trace(model: keras.Model, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Find the units of a model: what can be removed, from where, and what cannot and why.

    Args:
        model: a built functional or Sequential model, nested models included.
        shapes: for inputs with open lengths, the shape without the batch axis to count with.

    Returns:
        A read-only view of the model.

    Raises:
        ModelError: the model is not built, not functional, or has weights that are not finite.
    """
    functional = functional_of(model)
    check_weights(model)
    sweep = Sweep()
    arguments = []
    for tensor in functional.inputs:
        shape = (shapes or {}).get(tensor.name) or tensor.shape[1:]
        concrete = (1, *(OPEN_LENGTH if length is None else length for length in shape))
        arguments.append(sweep.enter(tensor.name, concrete, tensor.dtype))
    outputs = _walk(functional, arguments, (), sweep)
    for value in tree.flatten(outputs):
        sweep.leave(value)
    return Graph.of(model, sweep)


def check_weights(model: keras.Model) -> None:
    """Refuse weights that no score can be computed from.

    Raises:
        ModelError: a weight is NaN or infinite.
    """
    for weight in model.weights:
        array = to_numpy(weight)
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ModelError(
                "a weight is NaN or infinite.",
                where=weight.path,
                mend="Load the last checkpoint from before the training diverged.",
            )


def _walk(functional: Any, arguments: list[Value], scope: tuple[str, ...], sweep: Sweep) -> Any:
    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        path = (*scope, operation.name)
        if is_nested(operation):
            inner = functional_of(operation)
            values = [v for v in tree.flatten((args, kwargs)) if isinstance(v, Value)]
            return _walk(inner, values, path, sweep)
        return sweep.call("/".join(path), operation, rule_of(operation), args, kwargs)

    return functional._run_through_graph(arguments, call_fn=call)
