"""A Keras model as an ONNX file: the same inputs and outputs, at any batch size."""

from __future__ import annotations

import contextlib
import math
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from secateur.data.contract import Contract
from secateur.errors import MissingExtraError, ModelError, OutputError
from secateur.files import new_file
from secateur.formats.artifact import (
    CONTRACT,
    KERAS,
    LITERT,
    MANIFEST,
    MODEL,
    QUANTIZATION,
    Artifact,
    Manifest,
    entry_for,
    files_of,
)
from secateur.formats.folder import new_folder
from secateur.formats.grids import Quantization
from secateur.formats.inputs import input_names, input_structure
from secateur.formats.litert import to_litert
from secateur.formats.parity import (
    Inputs,
    compare,
    compare_litert,
    compare_rounded,
    random_inputs,
)
from secateur.formats.quiet import quiet
from secateur.formats.signature import check_contract, output_kind, specs
from secateur.formats.translation import handlers, traced

if TYPE_CHECKING:
    import keras
    import onnx

# Old enough for every ONNX Runtime in use, new enough for all that Keras needs.
OPSET = 17
BATCH = "batch"
# The share of rows on which an int8 file must give the answer of the fake-quantized model.
AGREEMENT = 0.99

_PACKAGES = (
    "secateur",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "numpy",
)


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
        with new_file(path) as partial:
            partial.write_bytes(converted.SerializeToString())
    except OSError as error:
        raise OutputError(
            f"the model cannot be written ({error.strerror}).",
            where=path,
            mend="Choose a folder that exists and has room.",
        ) from error


def export(
    model: keras.Model,
    out: str | Path,
    *,
    contract: Contract | None = None,
    sample: Inputs | None = None,
    name: str | None = None,
    metrics: Any = None,
    cost: Any = None,
    baseline: Any = None,
    measured: Mapping[str, str] | None = None,
    recipe: str | None = None,
    data_fingerprint: str | None = None,
    tolerance: float = 1e-3,
    overwrite: bool = False,
    quantization: Quantization | None = None,
    litert: bool = False,
    features: str | None = None,
) -> Artifact:
    """Write `model` as an artifact: everything that scoring needs, checked against the model.

    The folder appears whole or not at all, and the model stays as it is.

    Args:
        model: a Keras model with one output.
        out: the folder to make.
        contract: what a valid row of data is; without one the artifact predicts arrays, but cannot
            score raw data.
        sample: model input to compare the exported file with the model on; drawn at random if None.
        name: what the manifest calls the model; its Keras name if None.
        metrics: what is known of its quality: a mapping, or a pydantic value.
        cost: what is known of its cost: a mapping, or a pydantic value.
        baseline: the same two, as "metrics" and "cost", of the model before it was made cheaper.
        measured: how the figures were measured, a sentence a figure.
        recipe: the text of the recipe that made it.
        data_fingerprint: the fingerprint of the data it was trained on.
        tolerance: the largest difference from the model that is accepted.
        overwrite: replace an artifact that is already at `out`.
        quantization: the grids of a quantized model: the file then has its weights in integers, and
            must give the answers of the fake-quantized model on 99 % of the sample.
        litert: write a file for LiteRT as well (float32), within the same tolerance.
        features: the name of a layer: the artifact then gives its output, one vector a row, and
            scoring writes it as the column `embedding`; see `feature_model`.

    Raises:
        OutputError: `out` exists, or cannot be written.
        ModelError: the model has no counterpart in ONNX, or does not fit the contract.
        ArtifactError: the exported file differs from the model by more than `tolerance`.
    """
    import onnx

    if features is not None:
        from secateur.formats.features import feature_model

        if quantization is not None:
            raise ModelError(
                "features are exported in float32 alone.", mend="Leave `quantization` out."
            )
        model = feature_model(model, features)
    with new_folder(out, replaces=MANIFEST if overwrite else None) as folder:
        try:
            _write(model, folder / MODEL, quantization)
        except OutputError as error:
            error.where = str(out)
            raise
        written = onnx.load(folder / MODEL)
        inputs, outputs = specs(written.graph.input), specs(written.graph.output)
        if len(outputs) != 1:
            raise ModelError(
                f"the model has {len(outputs)} outputs, and an artifact has one.",
                mend="Export keras.Model(inputs, output) of the output that is to be scored.",
            )
        if contract is not None:
            check_contract(inputs, () if features else outputs, contract)
            contract.save(folder / CONTRACT)
        if quantization is None:
            rows = random_inputs(inputs, contract) if sample is None else sample
            parity = compare(_caller(model), folder / MODEL, inputs, rows, tolerance=tolerance)
        else:
            from secateur.formats.fake import fake_quantized

            rows = random_inputs(inputs, contract, rows=512) if sample is None else sample
            twin = _caller(fake_quantized(model, quantization))
            parity = compare_rounded(
                twin, folder / MODEL, inputs, rows, least=AGREEMENT, wide=quantization.wide
            )
            (folder / QUANTIZATION).write_text(quantization.to_json(), encoding="utf-8")
        if litert:
            to_litert(model, folder / LITERT)
            compare_litert(_caller(model), folder / LITERT, inputs, rows, tolerance=tolerance)
        _save_keras(model, folder / KERAS)
        manifest = Manifest(
            name=name or model.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            files=tuple(entry_for(folder, file) for file in files_of(folder)),
            inputs=inputs,
            outputs=outputs,
            output="features" if features else output_kind(written, contract),
            contract_sha256=None if contract is None else contract.fingerprint(),
            parity=parity,
            metrics=_plain(metrics or {}),
            cost=_plain(cost or {}),
            baseline=_plain(baseline or {}),
            measured=dict(measured or {}),
            recipe=recipe,
            data_fingerprint=data_fingerprint,
            versions=_versions(),
        )
        manifest.save(folder / MANIFEST)
    return Artifact(Path(out), manifest, contract)


def _write(model: keras.Model, path: Path, quantization: Quantization | None) -> None:
    if quantization is None:
        to_onnx(model, path)
    else:
        from secateur.formats.int8 import to_onnx_int8

        to_onnx_int8(model, quantization, path)


def _caller(model: keras.Model) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Return `model` as a function from arrays by input name to its output."""
    import keras

    structure = input_structure(model)
    names = input_names(structure)

    def call(feed: dict[str, np.ndarray]) -> np.ndarray:
        x = keras.tree.pack_sequence_as(structure, [feed[name] for name in names])
        return np.asarray(keras.ops.convert_to_numpy(model(x, training=False)))

    return call


def _save_keras(model: keras.Model, path: Path) -> None:
    """Save the model without its optimizer, whose state is twice the size of the weights."""
    import keras

    if getattr(model, "compiled", False) and getattr(model, "inputs", None):
        plain = keras.models.clone_model(model)
        plain.set_weights(model.get_weights())
        plain.compiled, plain.optimizer = False, None
        model = plain
    with quiet():
        model.save(path)


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: a number that is not finite becomes None."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _versions() -> dict[str, str]:
    """Return the versions of what an artifact depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


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
        names = input_names(structure)
        signature = [
            tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype, name=name)
            for leaf, name in zip(leaves, names, strict=True)
        ]

        def call(*flat: Any) -> Any:
            return model(keras.tree.pack_sequence_as(structure, flat), training=False)

        try:
            function = traced(call, signature)
            captures = function.get_concrete_function().graph.captures
            constants = {
                inner.name: outer.numpy() for outer, inner in captures if outer.dtype != tf.resource
            }
            converted, _ = tf2onnx.convert.from_function(
                function, signature, opset=OPSET, custom_op_handlers=handlers()
            )
        except Exception as error:
            raise ModelError(
                f"model {model.name!r} cannot be written as ONNX: {_first_line(error)}",
                mend="Build the part it names from other layers or keras.ops.",
            ) from error
    return _tidy(converted, names, constants)


def _tidy(
    converted: onnx.ModelProto, names: list[str], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    """Leave the true inputs only, in the model's order, each free in an axis called `batch`.

    A tensor that a layer holds outside its variables (the mean given to a Normalization) arrives as
    one more input of the graph; here it becomes the constant that it is.
    """
    import onnx

    graph = converted.graph
    # tf2onnx lets through, as they are, operations that it cannot translate.
    unknown = sorted({n.op_type for n in graph.node if not onnx.defs.has(n.op_type, n.domain)})
    if unknown:
        raise ModelError(
            f"ONNX has no counterpart for what the model does: {', '.join(unknown)}.",
            mend="Build that part of the model from other layers or keras.ops.",
        )
    values = {value.name: value for value in graph.input}
    missing = [name for name in values if name not in names and name not in constants]
    if missing:
        raise ModelError(f"the translated model has inputs of its own: {', '.join(missing)}.")
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(
        onnx.numpy_helper.from_array(constants[name], name)
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


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
