"""Weights stored in integers that become float32, or stay four bits, when the file is opened."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from secateur.formats.onnx_graph import DOMAIN, Graph, Weight, fingerprint


def pack_weights(graph: Graph, weights: dict[str, Weight]) -> None:
    """Store weights in integers that become float32 when the file is opened.

    A matrix of four bits whose inputs share steps in blocks becomes MatMulNBits.
    """
    known = {weight.key: weight for weight in weights.values() if not weight.found}
    for name, array in list(graph.arrays.items()):
        if array.dtype != np.float32 or array.ndim < 2:
            continue
        parts = [array] if fingerprint(array) in known else list(array)
        found = [known.get(fingerprint(part)) for part in parts]
        if not all(found):
            continue
        weight: Any = found[0]
        if weight.grid.block and _pack_four(graph, name, array, weight):
            weight.found = True
            continue
        stored = [_stored(graph, part, each) for part, each in zip(parts, found, strict=True)]
        made = [each for each in stored if each is not None]
        if len(made) < len(parts):
            continue
        joined = made[0]
        if len(parts) > 1 or parts[0] is not array:
            axis = graph.array(np.array([0], np.int64), "axis")
            each = [graph.add("Unsqueeze", [one, axis]) for one in made]
            joined = graph.add("Concat", each, axis=0)
        graph.redirect(name, joined)
        for each in found:
            if each:
                each.found = True


def _stored(graph: Graph, array: np.ndarray, weight: Weight | None) -> str | None:
    """Return the tensor that holds an array, made of integers and steps."""
    laid = None if weight is None else weight.laid_out(array)
    if laid is None:
        return None
    codes, steps, axis = laid
    shape = [n if k == axis else 1 for k, n in enumerate(array.shape)]
    step = graph.array(steps.reshape(shape) if axis is not None else steps[:1], "step")
    # A DequantizeLinear would be run at each call; these two are computed once, on opening.
    whole = graph.add("Cast", [graph.array(codes, "codes")], to=onnx.TensorProto.FLOAT)
    return graph.add("Mul", [whole, step])


def _pack_four(graph: Graph, name: str, array: np.ndarray, weight: Weight) -> bool:
    """Make products with a matrix of four bits MatMulNBits, if it has nothing but products."""
    if not np.array_equal(array, weight.values):
        return False
    readers = graph.readers()[name]
    if not readers or any(n.op_type != "MatMul" or n.input[1] != name for n in readers):
        return False
    grid, (inputs, outputs) = weight.grid, array.shape
    block = grid.block or inputs
    blocks = -(-inputs // block)
    codes = np.full((blocks * block, outputs), 8, np.uint8)
    codes[:inputs] = grid.codes(array) + 8
    pairs = codes.T.reshape(outputs, blocks, block // 2, 2)
    packed = graph.array(pairs[..., 0] | (pairs[..., 1] << 4), "codes")
    steps = np.array(grid.scale, np.float32).reshape(blocks, outputs).T.ravel()
    step = graph.array(steps, "step")
    for node in readers:
        graph.add(
            "MatMulNBits",
            [node.input[0], packed, step],
            DOMAIN,
            K=inputs,
            N=outputs,
            bits=4,
            block_size=block,
        )
        graph.nodes[-1].output[0] = node.output[0]
        graph.nodes.remove(node)
    return True
