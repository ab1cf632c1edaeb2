"""A Keras model as an ONNX file: the same inputs and outputs, at any batch size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import MissingExtraError, ModelError, OutputError
from secateur.formats.quiet import quiet

if TYPE_CHECKING:
    import keras
    import onnx

# Old enough for every ONNX Runtime in use, new enough for all that Keras needs.
OPSET = 17
BATCH = "batch"


def to_onnx(model: keras.Model, path: str | Path) -> None:
    """Write `model` as ONNX to `path`, quietly.

    The file's inputs are named as the Keras inputs, and the first axis of each is free.

    Args:
        model: a functional or Sequential model, or a subclassed one that has been called once.
        path: the file to write; it is replaced if it exists.

    Raises:
        ModelError: an operation of the model has no counterpart in ONNX, or the model is not built.
        MissingExtraError: TensorFlow or tf2onnx is not installed.
        OutputError: the file cannot be written.
    """
    structure = input_structure(model)
    converted = _convert(model, structure)
    try:
        Path(path).write_bytes(converted.SerializeToString())
    except OSError as error:
        raise OutputError(
            f"the model cannot be written ({error.strerror}).",
            where=path,
            mend="Choose a folder that exists and has room.",
        ) from error


def input_structure(model: keras.Model) -> Any:
    """Return the structure in which `model` takes its inputs, with a `KerasTensor` a leaf."""
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return model.inputs[0]
    if getattr(model, "inputs", None):
        return model.input
    recorded = (model.get_build_config() or {}) if model.built else {}
    shapes = recorded.get("shapes_dict") or {k: v for k, v in recorded.items() if v}
    if not shapes:
        raise ModelError(
            f"the shape of the inputs of model {model.name!r} is not known.",
            mend="Call the model once on a batch of data, or give it a keras.Input.",
        )
    named = {key.removesuffix("_shape"): shape for key, shape in shapes.items()}
    leaves = [_leaf(name, shape, model.input_dtype) for name, shape in named.items()]
    return leaves[0] if len(leaves) == 1 else leaves


def _leaf(name: str, shape: Any, dtype: str) -> Any:
    """Return a KerasTensor for one recorded input shape, free in its first axis."""
    import keras

    if isinstance(shape, dict):
        return {key: _leaf(key, inner, dtype) for key, inner in shape.items()}
    if shape and isinstance(shape[0], (tuple, list)):
        return [_leaf(f"{name}_{i}", inner, dtype) for i, inner in enumerate(shape)]
    return keras.KerasTensor((None, *shape[1:]), dtype=dtype, name=name)


def _convert(model: keras.Model, structure: Any) -> onnx.ModelProto:
    """Trace `model` with TensorFlow and translate the trace."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"ONNX is written from the TensorFlow backend, and Keras runs on "
            f"{keras.backend.backend()}.",
            mend="Set KERAS_BACKEND=tensorflow and load the model again.",
        )
    with quiet():
        try:
            import tensorflow as tf
            import tf2onnx
        except ImportError as error:
            raise MissingExtraError(
                f"the package {error.name} is not installed.",
                mend="Run `pip install 'secateur[tensorflow]'`.",
            ) from error
        leaves = keras.tree.flatten(structure)
        names = _unique_names(leaves)
        signature = [
            tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype, name=name)
            for leaf, name in zip(leaves, names, strict=True)
        ]

        def call(*flat: Any) -> Any:
            return model(keras.tree.pack_sequence_as(structure, flat), training=False)

        try:
            function = tf.function(call, input_signature=signature, autograph=False)
            captures = function.get_concrete_function().graph.captures
            constants = {
                inner.name: outer.numpy() for outer, inner in captures if outer.dtype != tf.resource
            }
            converted, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
        except Exception as error:
            raise ModelError(
                f"model {model.name!r} cannot be written as ONNX: {_first_line(error)}",
                mend="Replace the layer it names by layers that Keras ships.",
            ) from error
    return _tidy(converted, names, constants)


def _tidy(
    converted: onnx.ModelProto, names: list[str], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    """Leave the true inputs only, in the model's order, each free in an axis called `batch`.

    A tensor that a layer holds outside its variables (the mean given to a Normalization) arrives as
    one more input of the graph; here it becomes the constant that it is.
    """
    from onnx import numpy_helper

    graph = converted.graph
    values = {value.name: value for value in graph.input}
    missing = [name for name in values if name not in names and name not in constants]
    if missing:
        raise ModelError(f"the translated model has inputs of its own: {', '.join(missing)}.")
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(constants[name], name)
        for name in values
        if name in constants and name in used
    )
    ordered = [values[name] for name in names if name in values]
    del graph.input[:]
    graph.input.extend(ordered)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    return converted


def _unique_names(leaves: list[Any]) -> list[str]:
    """Return the names of the inputs, as Keras has them."""
    names = [leaf.name for leaf in leaves]
    if len(set(names)) != len(names):
        raise ModelError(f"two inputs of the model have the same name: {', '.join(names)}.")
    return names


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
