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
from secateur.graph.graph import Graph
from secateur.graph.rule import rule_of
from secateur.graph.sweep import Sweep, Value

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


def functional_of(model: Any) -> Any:
    """Return the functional graph of a model.

    Raises:
        ModelError: the model has none.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"expected a Keras model, received {type(model).__name__}.",
            mend="Load one with secateur.load(path) or build a keras.Model.",
        )
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise ModelError(
                "the Sequential model is not built, so its weights have no shapes.",
                where=model.name,
                mend="Begin it with keras.Input(shape) or call it once on data.",
            )
        model = model._functional
    if model is None or not hasattr(model, "_run_through_graph"):
        raise ModelError(
            "the model has no functional graph, so its operations cannot be seen.",
            where=getattr(model, "name", None),
            mend="Build it as keras.Model(inputs, outputs).",
        )
    return model


def is_nested(operation: Any) -> bool:
    """Say whether an operation is a model that can be walked into."""
    if isinstance(operation, keras.Sequential):
        return operation.built
    return isinstance(operation, keras.Model) and hasattr(operation, "_run_through_graph")


def check_weights(model: keras.Model) -> None:
    """Refuse weights that no score can be computed from.

    Raises:
        ModelError: a weight is NaN or infinite.
    """
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
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
