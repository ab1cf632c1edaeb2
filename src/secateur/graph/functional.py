"""The functional graph that Keras keeps of a model."""

from __future__ import annotations

from typing import Any

import keras

from secateur.errors import ModelError


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
