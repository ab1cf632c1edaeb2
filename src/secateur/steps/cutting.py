"""Cut: a plan carried out, for real."""

from __future__ import annotations

import keras

from secateur.graph.rebuild import rebuild
from secateur.graph.trace import trace
from secateur.planning.plan import Plan


def cut(model: keras.Model, plan: Plan) -> keras.Model:
    """Return a new, smaller model without the units that a plan removes.

    The result is an ordinary Keras model of stock layers with the names of the old ones: it
    saves, loads and trains where secateur is not installed. The given model is untouched.

    Args:
        model: the model that the plan was made for.
        plan: which units go.

    Raises:
        PlanError: the plan was made for another model.
        ModelError: the model cannot be traced.
    """
    graph = trace(model)
    return rebuild(graph, plan.keep(graph))
