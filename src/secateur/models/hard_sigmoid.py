"""Keep what a hard sigmoid meant when an older Keras trained with it.

Before Keras 3 it was clip(0.2 z + 0.5, 0, 1); it is clip(z / 6 + 0.5, 0, 1) now. Where z is linear
in a layer's weights, weights that are 1.2 times as large give back the old values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from secateur.errors import ModelError

_FACTOR = 1.2
# The gates of a cell in the order of its weights' last axis: which go through the sigmoid.
_GATES = {
    "LSTMCell": (True, True, False, True),
    "ConvLSTMCell": (True, True, False, True),
    "GRUCell": (True, True, False),
}
_LINEAR = ("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D")


def keep_hard_sigmoids(model: keras.Model) -> tuple[str, ...]:
    """Scale, in a model that was just loaded, the weights before every hard sigmoid.

    Returns:
        A note, or none where the model has no hard sigmoid.

    Raises:
        ModelError: a hard sigmoid whose input no weights can scale.
    """
    scaled: dict[int, str] = {}
    for layer in model._flatten_layers():
        if id(layer) in scaled:
            continue
        kind = type(layer).__name__
        inner = getattr(layer, "cell", None) is not None
        if not inner and _is_hard(layer, "activation"):
            if kind not in _LINEAR:
                raise ModelError(
                    f"the {kind} applies a hard sigmoid, which had another slope in the Keras that "
                    "wrote the file.",
                    where=layer.name,
                    mend="Load the model with the Keras that wrote it, write the activation as "
                    "keras.ops.clip(0.2 * x + 0.5, 0, 1), and save it again.",
                )
            _scale(layer.weights, None)
            scaled[id(layer)] = layer.name
        elif kind in _GATES and _is_hard(layer, "recurrent_activation"):
            _scale(layer.weights, _GATES[kind])
            scaled[id(layer)] = layer.name
    if not scaled:
        return ()
    return (
        "the hard sigmoid was steeper then: weights before it scaled by 1.2, which gives the same "
        f"outputs ({', '.join(list(scaled.values())[:3])}{', ...' if len(scaled) > 3 else ''})",
    )


def _is_hard(layer: Any, name: str) -> bool:
    return getattr(layer, name, None) is keras.activations.hard_sigmoid


def _scale(weights: Sequence[Any], gates: tuple[bool, ...] | None) -> None:
    for weight in weights:
        if "seed" in weight.name:
            continue
        factors = np.full(1, _FACTOR, "float32")
        if gates is not None:
            width = weight.shape[-1] // len(gates)
            factors = np.repeat([_FACTOR if gate else 1.0 for gate in gates], width)
        weight.assign(keras.ops.convert_to_numpy(weight) * factors.astype("float32"))
