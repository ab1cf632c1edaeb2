"""Whether an activation treats every position alone: it is run on symbolic tensors to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from secateur.graph.rule import Elementwise, rule_of
from secateur.graph.weights import is_array


def is_pointwise(function: Callable[..., Any]) -> bool:
    """Say whether a function of one tensor gives each position from the same position alone.

    A function that cannot be run on symbolic tensors counts as one that does not.
    """
    tensor = keras.Input(batch_shape=(2, 3, 5))
    try:
        inside = keras.Function(tensor, function(tensor))
    except Exception:
        return False
    return all(
        _is_alone(node)
        for nodes in inside._nodes_by_depth.values()
        for node in nodes
        if not isinstance(node.operation, keras.layers.InputLayer)
    )


def _is_alone(node: Any) -> bool:
    rule = rule_of(node.operation)
    constants = (*node.arguments.args, *node.arguments.kwargs.values())
    apart = any(is_array(leaf) and not isinstance(leaf, keras.KerasTensor) for leaf in constants)
    return isinstance(rule, Elementwise) and not rule.fixed and rule.mixes is None and not apart
