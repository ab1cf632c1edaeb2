"""Mask: a plan carried out on paper; the model keeps its shape and the units' weights are zero."""

from __future__ import annotations

import keras
import numpy as np

from secateur.graph.graph import Weight
from secateur.graph.trace import trace
from secateur.graph.weights import copied, to_numpy
from secateur.planning.plan import Plan


def mask(model: keras.Model, plan: Plan) -> keras.Model:
    """Return a new model in which every slice of every unit that a plan removes is zero.

    Of a block that goes, only the weights that switch it off are zero. The model computes what
    `cut(model, plan)` computes, but for layers that normalise across the cut axis
    (LayerNormalization, GroupNormalization).

    Args:
        model: the model that the plan was made for; it is untouched.
        plan: which units go.

    Raises:
        PlanError: the plan was made for another model.
        ModelError: the model cannot be traced.
    """
    graph = trace(model)
    keep = plan.keep(graph)
    masked = copied(graph.model)
    for key, variable in graph.variables_of(masked).items():
        value = to_numpy(variable)
        variable.assign(zeroed(value, graph.weights[key], keep))
    return masked


def zeroed(value: np.ndarray, weight: Weight, keep: np.ndarray) -> np.ndarray:
    """Return the value of a weight with zeros at the positions of units that are not kept."""
    for axis, (ids, role) in enumerate(zip(weight.axes, weight.roles, strict=True)):
        if ids is None or role == "inside":
            continue
        view = [1] * value.ndim
        if axis < value.ndim:
            view[axis] = -1
        # An axis after the weight's own is that of a block: all of it stays or none.
        value = value * keep[ids].reshape(view).astype(value.dtype)
    return value
