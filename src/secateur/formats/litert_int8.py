"""A quantized Keras model as a LiteRT file with integer weights, by LiteRT's own converter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.formats.grids import Quantization
from secateur.formats.litert import to_litert

if TYPE_CHECKING:
    import keras


def to_litert_int8(model: keras.Model, quantization: Quantization, path: str | Path) -> None:
    """Write a quantized model for LiteRT.

    The converter finds the steps of the weights, which lie on their grids, anew; the ranges of
    activations are found at each call, whatever the quantization says of them.

    Args:
        model: the model of the quantization's result; it is untouched.
        quantization: the grids of its weights.
        path: the file to write; it is replaced if it exists.

    Raises:
        ModelError: LiteRT has no operation for a part of the model.
        MissingExtraError: TensorFlow is not installed.
        OutputError: the file cannot be written.
    """
    from secateur.formats.fake import fake_quantized

    rounded = Quantization(mode="weights", weights=quantization.weights)
    to_litert(fake_quantized(model, rounded), path, integers=True)
