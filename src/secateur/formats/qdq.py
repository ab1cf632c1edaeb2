"""Pairs of QuantizeLinear and DequantizeLinear, laid so that runtimes fuse integer operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from secateur.formats.grids import Grid
from secateur.formats.onnx_graph import Graph, Weight, fingerprint

# What gives the numbers of its input and no others; a quantized tensor stays one behind it.
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Identity")


def insert_qdq(graph: Graph, weights: dict[str, Weight], grids: list[Grid]) -> None:
    """Give products of quantized tensors integer kernels and biases.

    Args:
        graph: a graph with QuantizeLinear and DequantizeLinear where tensors are rounded.
        weights: what its kernels may be.
        grids: the grids of its tensors, of which the translation has the ends only.
    """
    _restate(graph, grids)
    _draw_together(graph)
    _drop_clips(graph)
    known = {weight.key: weight for weight in weights.values()}
    ranks = _ranks(graph)
    for node in list(graph.nodes):
        if node.op_type not in ("Conv", "MatMul") or node.input[1] not in graph.arrays:
            continue
        array = graph.arrays[node.input[1]]
        weight = known.get(fingerprint(array))
        source = _quantized_input(graph, node.input[0])
        laid = None if weight is None or source is None else weight.laid_out(array)
        if weight is None or source is None or laid is None:
            continue
        codes, steps, axis = laid
        weight.found = True
        node.input[0] = source.output[0]
        steps = steps if axis is not None else steps[:1]
        where = {} if axis is None else {"axis": axis}
        node.input[1] = _dequantized(graph, codes, steps, where)
        scale = graph.arrays[source.input[1]] * steps
        if node.op_type == "Conv":
            if len(node.input) > 2 and node.input[2] in graph.arrays:
                node.input[2] = _bias(graph, graph.arrays[node.input[2]], scale)
        elif ranks.get(node.output[0]) == 2:
            _with_bias(graph, node, scale)


def _restate(graph: Graph, grids: list[Grid]) -> None:
    """Put in the exact steps: the translation has divided the range by their number again."""
    for node in graph.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        del node.attribute[:]
        step, zero = float(graph.arrays[node.input[1]]), int(graph.arrays[node.input[2]])
        alike = [grid for grid in grids if grid.zero[0] == zero] or grids
        best = min(alike, key=lambda grid: abs(grid.scale[0] - step))
        node.input[1] = graph.array(np.array(best.scale[0], np.float32), "step")
        node.input[2] = graph.array(np.array(best.zero[0], np.uint8), "zero")


def _draw_together(graph: Graph) -> None:
    """Bring the rounding of a convolution's output up to it, past what only moves numbers."""
    readers = graph.readers()
    ends = {each.name for each in graph.model.graph.output}
    for conv in [node for node in graph.nodes if node.op_type == "Conv"]:
        chain = [conv]
        while chain[-1].op_type != "QuantizeLinear":
            out = chain[-1].output[0]
            after = readers[out]
            if (
                len(after) != 1
                or out in ends
                or after[0].op_type
                not in (
                    "Squeeze",
                    "Transpose",
                    "Relu",
                    "Clip",
                    "Add",
                    "QuantizeLinear",
                )
            ):
                break
            if after[0].op_type == "Add" and (
                after[0].output[0] in ends or not _takes_bias(graph, chain, after[0])
            ):
                break
            chain.append(after[0])
        moves = [node for node in chain if node.op_type in ("Squeeze", "Transpose")]
        # What follows an addition that the convolution has taken reads what it added to.
        for node in [node for node in chain if node.op_type == "Add"]:
            before = chain[chain.index(node) - 1].output[0]
            for reader in readers[node.output[0]]:
                reader.input[:] = [before if x == node.output[0] else x for x in reader.input]
            graph.nodes.remove(node)
            chain.remove(node)
        if chain[-1].op_type != "QuantizeLinear" or not moves:
            continue
        clips = [node for node in chain if node.op_type in ("Relu", "Clip")]
        at = conv.output[0]
        for node in clips:
            node.input[0], at = at, node.output[0]
        at = _pair(graph, at, chain[-1].input[1], chain[-1].input[2])
        for node in moves:
            node.input[0], at = at, node.output[0]
        chain[-1].input[0] = at


def _takes_bias(graph: Graph, chain: list[Any], node: Any) -> bool:
    """Let a convolution without a bias take what is added to its channels, if that is a constant.

    Args:
        graph: the graph.
        chain: the convolution, and what its output has gone through.
        node: the addition.
    """
    conv, out = chain[0], chain[-1].output[0]
    other = next((name for name in node.input if name != out), "")
    bias = graph.arrays.get(other)
    kernel = graph.arrays.get(conv.input[1])
    if len(conv.input) > 2 or bias is None or kernel is None or bias.size != len(kernel):
        return False
    # Channels come first until they are moved to the end.
    last = any(each.op_type == "Transpose" for each in chain)
    axis = bias.ndim - 1 if last else 1
    if axis >= bias.ndim or bias.shape[axis] != bias.size:
        return False
    conv.input.append(graph.array(bias.ravel(), "bias"))
    return True


def _drop_clips(graph: Graph) -> None:
    """Drop a ReLU before rounding to a grid that ends where it clips: rounding clips alike."""
    readers = graph.readers()
    for node in [node for node in graph.nodes if node.op_type in ("Relu", "Clip")]:
        after = readers[node.output[0]]
        if len(after) != 1 or after[0].op_type != "QuantizeLinear":
            continue
        step, zero = (graph.arrays[name] for name in after[0].input[1:3])
        if zero != 0:
            continue
        if node.op_type == "Clip":
            ends = [graph.arrays.get(name) for name in node.input[1:]]
            if len(ends) != 2 or any(end is None for end in ends):
                continue
            low, high = (float(np.ravel(end)[0]) for end in ends if end is not None)
            if low != 0 or 255 * float(step) > high * (1 + 1e-6):
                continue
        after[0].input[0] = node.input[0]
        graph.nodes.remove(node)


def _quantized_input(graph: Graph, name: str) -> Any:
    """Return the DequantizeLinear that gives a tensor, one put in behind what only moves it."""
    makers = graph.makers()
    node, moved = makers.get(name), False
    while node is not None and node.op_type in _MOVES:
        node, moved = makers.get(node.input[0]), True
    if node is None or node.op_type != "DequantizeLinear" or node.input[1] not in graph.arrays:
        return None
    if not moved:
        return node
    put_in = _pair(graph, name, node.input[1], node.input[2])
    return graph.makers()[put_in]


def _pair(graph: Graph, name: str, step: str, zero: str) -> str:
    codes = graph.add("QuantizeLinear", [name, step, zero])
    return graph.add("DequantizeLinear", [codes, step, zero])


def _dequantized(graph: Graph, codes: np.ndarray, steps: np.ndarray, where: dict) -> str:
    shape = steps if where else steps[0]
    step = graph.array(np.array(shape, np.float32), "step")
    zero = graph.array(np.zeros(np.shape(shape), codes.dtype), "zero")
    return graph.add("DequantizeLinear", [graph.array(codes, "codes"), step, zero], **where)


def _bias(graph: Graph, bias: np.ndarray, scale: np.ndarray) -> str:
    scale = np.broadcast_to(scale, bias.shape).astype(np.float32)
    limit = 2.0**31 - 1
    codes = np.clip(np.round(bias.astype(np.float64) / scale), -limit, limit).astype(np.int32)
    return _dequantized(graph, codes, scale, {"axis": 0})


def _with_bias(graph: Graph, product: Any, scale: np.ndarray) -> None:
    """Make a product and the bias added to it one Gemm, which has an integer counterpart."""
    after = graph.readers()[product.output[0]]
    if len(after) != 1 or after[0].op_type != "Add":
        return
    other = next(name for name in after[0].input if name != product.output[0])
    bias = graph.arrays.get(other)
    if bias is None or bias.ndim != 1:
        return
    out = after[0].output[0]
    graph.nodes.remove(after[0])
    product.op_type = "Gemm"
    product.input.append(_bias(graph, bias, scale))
    product.output[0] = out


def _ranks(graph: Graph) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(graph.model)
    return {
        each.name: len(each.type.tensor_type.shape.dim)
        for each in (*inferred.graph.value_info, *inferred.graph.output)
        if each.type.tensor_type.HasField("shape")
    }
