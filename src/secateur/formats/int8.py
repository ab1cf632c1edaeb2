"""A quantized Keras model as an ONNX file with integer weights, on the very grids it was judged by.

Static: pairs of QuantizeLinear and DequantizeLinear, which ONNX Runtime and OpenVINO fuse into
integer operators; what has none is stored as in mode weights. Dynamic: ONNX Runtime's own tool
makes integer products of Dense and LSTM kernels, those inside of other layers (MultiHeadAttention,
TimeDistributed) aside. Weights: integers in the file, float32 again when it is opened; four bits to
a number stay four bits in memory.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import ModelError, OutputError
from secateur.files import new_file
from secateur.formats.grids import Grid, Quantization
from secateur.formats.onnx import to_onnx
from secateur.formats.onnx_graph import Graph, Weight, fingerprint
from secateur.formats.packing import pack_weights
from secateur.formats.qdq import insert_qdq
from secateur.formats.quiet import quiet

if TYPE_CHECKING:
    import keras
    import onnx


def to_onnx_int8(model: keras.Model, quantization: Quantization, path: str | Path) -> None:
    """Write a quantized model as ONNX with integer weights.

    Of the weights that are only stored, one that the translation has changed stays in float32.

    Args:
        model: the model of the quantization's result; it is untouched.
        quantization: the grids to carry.
        path: the file to write; it is replaced if it exists.

    Raises:
        ModelError: the quantization belongs to another model, ONNX has no counterpart of an
            operation, or a weight cannot be found again in the file.
        MissingExtraError: TensorFlow or tf2onnx is not installed.
        OutputError: the file cannot be written.
    """
    from secateur.formats.fake import check_fits, fake_quantized, multiplied

    check_fits(model, quantization)
    static = quantization.mode == "static"
    grids = quantization.model_copy(update={"mode": "weights"})
    # The quantizers leave a mark in the trace, at the place where the model rounds.
    marked = (
        fake_quantized(model, grids, quantizer=marker()) if static else fake_quantized(model, grids)
    )
    weights = _weights(model, quantization)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.onnx"
        to_onnx(marked, written)
        if quantization.mode == "dynamic":
            taken = multiplied(model, quantization)
            written = _dynamic(written, [weights[path] for path in sorted(taken)])
        content = _packed(written, quantization, weights)
    try:
        with new_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"the model cannot be written ({error.strerror}).",
            where=path,
            mend="Choose a folder that exists and has room.",
        ) from error


def _packed(path: Path, quantization: Quantization, weights: dict[str, Weight]) -> bytes:
    import onnx

    graph = Graph(onnx.load(path))
    if quantization.mode == "static":
        multiplied = {k: weight for k, weight in weights.items() if k not in quantization.stored}
        insert_qdq(graph, multiplied, list(quantization.activations.values()))
    pack_weights(graph, weights)
    # What the dynamic tool has taken is in integers already.
    lost = [k for k, weight in weights.items() if not weight.found and k not in quantization.stored]
    if lost and quantization.mode != "dynamic":
        raise ModelError(
            f"the weight {lost[0]!r} is not to be found in the ONNX file as it is in the model, so "
            "it cannot be stored in integers.",
            where=lost[0],
            mend=f"Keep its layer in float32: keep=({lost[0].partition('/')[0]!r},).",
        )
    return graph.finish().SerializeToString()


def _weights(model: Any, quantization: Quantization) -> dict[str, Weight]:
    import keras

    found = {}
    for variable in model.weights:
        grid = quantization.weights.get(variable.path)
        if grid is not None:
            values = np.asarray(keras.ops.convert_to_numpy(variable))
            found[variable.path] = Weight.of(values, grid)
    return found


def _dynamic(path: Path, taken: list[Weight]) -> Path:
    """Let ONNX Runtime's tool make integer products; it finds the same steps for the weights.

    Args:
        path: the file in float32.
        taken: the weights to make integers of; a layer that is kept has none among them.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    reduced = any(weight.grid.bits == 7 for weight in taken)
    out = path.with_name("dynamic.onnx")
    try:
        with quiet():
            quantize_dynamic(
                path,
                out,
                op_types_to_quantize=["MatMul", "LSTM"],
                nodes_to_exclude=_others(path, taken),
                per_channel=True,
                reduce_range=reduced,
                weight_type=QuantType.QInt8,
                extra_options={"WeightSymmetric": True, "MatMulConstBOnly": True},
            )
    except Exception as error:
        # The tool has no kinds of errors of its own.
        raise ModelError(
            f"ONNX Runtime cannot quantize the model: {str(error).splitlines()[0][:200]}",
            mend="Use mode='static' or mode='weights'.",
        ) from error
    if reduced:
        _restate(out)
    return out


def _others(path: Path, taken: list[Weight]) -> list[str]:
    """Return the names of the products with what is not among some weights."""
    import onnx

    graph, known = Graph(onnx.load(path)), {weight.key for weight in taken}

    def is_taken(name: str) -> bool:
        array = graph.arrays.get(name)
        if array is None:
            return False
        # The kernels of an LSTM lie one behind the other, one a direction.
        parts = array if array.ndim > 2 else [array]
        return fingerprint(array) in known or all(fingerprint(part) in known for part in parts)

    return [
        node.name
        for node in graph.nodes
        if node.op_type in ("MatMul", "LSTM")
        and not all(map(is_taken, node.input[1 : 3 if node.op_type == "LSTM" else 2]))
    ]


def _restate(path: Path) -> None:
    """Put weights of seven bits back on their grids: the tool lets codes reach 64, not 63."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    arrays = {each.name: each for each in model.graph.initializer}
    for name, codes in arrays.items():
        scale = arrays.get(name.removesuffix("_quantized") + "_scale")
        if not name.endswith("_quantized") or scale is None:
            continue
        exact = np.round(numpy_helper.to_array(codes) * (63 / 64)).astype(np.int8)
        steps = (numpy_helper.to_array(scale) * np.float32(64 / 63)).astype(np.float32)
        codes.CopyFrom(numpy_helper.from_array(exact, codes.name))
        scale.CopyFrom(numpy_helper.from_array(steps, scale.name))
    onnx.save(model, path)


def marker() -> Any:
    """Return a layer class that leaves TensorFlow's own mark of a quantized tensor in a trace."""
    import keras

    class Marker(keras.layers.Layer):
        def __init__(self, grid: Grid, **options: Any):
            super().__init__(**options)
            self.grid = grid
            self.supports_masking = True

        def call(self, inputs: Any) -> Any:
            import tensorflow as tf

            low, high = self.grid.range
            return tf.quantization.fake_quant_with_min_max_args(inputs, low, high)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    return Marker


def operators(path: str | Path) -> dict[str, int]:
    """Return how often each operator occurs in a model as ONNX Runtime runs it, fused."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        # Beyond this level, layouts are chosen for the processor, and names with them.
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.graph_optimization_level = level
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        found: onnx.ModelProto = onnx.load(options.optimized_model_filepath)
    counts: dict[str, int] = {}
    for node in found.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts
