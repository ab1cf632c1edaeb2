"""The part of a model that ends at a layer: what it knows of a row, before it decides."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from secateur.errors import ModelError

if TYPE_CHECKING:
    import keras


def feature_model(model: keras.Model, layer: str) -> keras.Model:
    """Return a model that gives the output of a layer, one vector a row; `model` stays as it is.

    An output with more axes (the maps of a convolution, the steps of a sequence) is averaged over
    all of them but the last.

    Args:
        model: a functional or Sequential model.
        layer: the name of one of its layers, which is called once.

    Raises:
        ModelError: there is no such layer, or the model has no graph in which to find its output.
    """
    import keras

    names = [each.name for each in model.layers]
    if layer not in names:
        near = difflib.get_close_matches(layer, names, n=1)
        raise ModelError(
            f"there is no layer {layer!r}; the last ones are {', '.join(names[-6:])}.",
            where="features",
            mend=f"Did you mean {near[0]!r}?" if near else "See `secateur inspect` for all.",
        )
    try:
        # A layer that is asked for its output in another model remembers that: ask a copy.
        copy: Any = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        output = copy.get_layer(layer).output
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"the output of layer {layer!r} cannot be told ({str(error).splitlines()[0]}).",
            where="features",
            mend="Build the model as keras.Model(inputs, outputs), and call the layer once.",
        ) from error
    if isinstance(output, (list, tuple, dict)) or len(output.shape) < 2:
        raise ModelError(
            f"layer {layer!r} does not give one tensor with an axis of features.",
            where="features",
            mend="Name another layer.",
        )
    if len(output.shape) > 2:
        axes = tuple(range(1, len(output.shape) - 1))
        output = keras.ops.mean(output, axis=axes)
    return keras.Model(copy.inputs if len(copy.inputs) > 1 else copy.input, output, name=model.name)
