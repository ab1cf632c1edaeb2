"""A quantized Keras model as a LiteRT file with integer weights, by LiteRT's own converter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.errors import MissingExtraError, ModelError, OutputError
from secateur.files import new_file
from secateur.formats.grids import Quantization
from secateur.formats.quiet import quiet

if TYPE_CHECKING:
    import keras


def to_litert_int8(model: keras.Model, quantization: Quantization, path: str | Path) -> None:
    """Write a quantized model for LiteRT.

    The converter reads the ranges of activations from the marks that the quantizers leave, and
    finds the steps of the weights, which lie on their grids, anew.

    Args:
        model: the model of the quantization's result; it is untouched.
        quantization: the grids to carry.
        path: the file to write; it is replaced if it exists.

    Raises:
        ModelError: LiteRT has no operation for a part of the model.
        MissingExtraError: TensorFlow is not installed.
        OutputError: the file cannot be written.
    """
    from secateur.formats.fake import fake_quantized
    from secateur.formats.int8 import marker

    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError(
            f"the package {error.name} is not installed.",
            mend="Run `pip install 'secateur[tensorflow]'`.",
        ) from error
    static = quantization.mode == "static"
    grids = quantization.model_copy(update={"mode": "weights"})
    marked = (
        fake_quantized(model, grids, quantizer=marker()) if static else fake_quantized(model, grids)
    )
    try:
        with quiet():
            signature = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in marked.inputs]
            function = tf.function(lambda *x: marked(list(x) if len(x) > 1 else x[0]), signature)
            concrete = function.get_concrete_function()
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], marked)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            content = converter.convert()
    except Exception as error:
        # The converter has errors of many kinds, few of them public.
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(
            f"model {model.name!r} cannot be written for LiteRT in integers: {said}",
            mend="Use ONNX Runtime or OpenVINO, or keep float32.",
        ) from error
    try:
        with new_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"the model cannot be written ({error.strerror}).",
            where=path,
            mend="Choose a folder that exists and has room.",
        ) from error
