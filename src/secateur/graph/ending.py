"""What a model's output is: probabilities that a softmax or a sigmoid made, or anything else.

`secateur.formats.signature.output_kind` answers the same of an exported file.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from secateur.graph.functional import functional_of, is_nested

# Layers and operations that only change how a tensor is held, not what is in it.
_CARRIES = {
    *("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Flatten", "Transpose", "Permute"),
    *("Dropout", "ActivityRegularization"),
}
_MAKES = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


def ending(model: keras.Model) -> str:
    """Return the function that a model's only output comes from, "softmax" or "sigmoid", or "".

    It is looked for through nested models and through what only changes the shape or the type. Of a
    model that has no functional graph, the last layer is what is looked at.
    """
    if not (isinstance(model, keras.Sequential) or hasattr(model, "_run_through_graph")):
        last = model.layers[-1] if model.layers else None
        # A Sequential that is not built yet has no graph to look through.
        inner = isinstance(last, keras.Model) and last.built
        return ending(last) if inner else _function(last)
    operation = _maker(functional_of(model).outputs[0])
    return "" if operation is None else _function(operation)


def _maker(tensor: Any) -> Any:
    """Return the operation that made what a tensor carries, `None` where it is an input."""
    within: list[tuple[Any, Any]] = []
    while True:
        operation, node_index, place = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        if is_nested(operation):
            inner = functional_of(operation)
            within.append((inner, node))
            tensor = inner.outputs[place]
        elif isinstance(operation, layers.InputLayer):
            if not within:
                return None
            inner, node = within.pop()
            tensor = node.input_tensors[[id(each) for each in inner.inputs].index(id(tensor))]
        elif _carries(operation) and len(node.input_tensors) == 1:
            tensor = node.input_tensors[0]
        else:
            return operation


def _carries(operation: Any) -> bool:
    if isinstance(operation, layers.Activation):
        return getattr(operation.activation, "__name__", "") == "linear"
    return type(operation).__name__ in _CARRIES


def _function(operation: Any) -> str:
    # A wrapper as TimeDistributed gives what the layer in it gives.
    operation = getattr(operation, "layer", operation)
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    name = _MAKES.get(type(operation).__name__, name)
    return name if name in _MAKES.values() else ""
