"""Models that are refused before they are traced, each with the layer at fault and the mend."""

from __future__ import annotations

import keras
import numpy as np

from secateur.errors import ModelError
from secateur.graph.weights import to_numpy


def check_built(model: keras.Model) -> None:
    """Refuse a Sequential model that has not seen the shape of its input.

    Raises:
        ModelError: names the first layer that has no weights yet.
    """
    if not isinstance(model, keras.Sequential) or model.built:
        return
    layer = next((layer for layer in model.layers if not layer.built), model)
    raise ModelError(
        "the layer is not built, so its weights have no shapes.",
        where=layer.name,
        mend="Begin the model with keras.Input(shape) or call it once on data.",
    )


def check_lambdas(model: keras.Model) -> None:
    """Refuse Python code that is written into a model and cannot be loaded from a file.

    Raises:
        ModelError: names the first Lambda layer of a function without a name.
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Lambda) and layer.function.__name__ == "<lambda>":
            raise ModelError(
                "a Lambda layer holds Python code, which is not made again from a config.",
                where=layer.name,
                mend="Write it with keras.ops, or as a layer class with a get_config.",
            )


def check_precision(model: keras.Model) -> None:
    """Refuse a model that computes in less than float32.

    Raises:
        ModelError: a layer is quantized, or has a half-precision or mixed policy.
    """
    for layer in model._flatten_layers(include_self=False):
        policy = layer.dtype_policy
        if isinstance(layer, keras.Model | keras.layers.InputLayer):
            continue
        if getattr(policy, "quantization_mode", None) is not None:
            raise ModelError(
                f"the layer is quantized ({policy.name}); units are removed in float32.",
                where=layer.name,
                mend="Prune the model that it was quantized from, then quantize what comes out.",
            )
        if {policy.compute_dtype, policy.variable_dtype} & {"float16", "bfloat16"}:
            raise ModelError(
                f"the layer computes in {policy.name}; units are removed in float32.",
                where=layer.name,
                mend="Build the model again after keras.config.set_dtype_policy('float32') and "
                "give it the weights: new.set_weights(old.get_weights()).",
            )


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
