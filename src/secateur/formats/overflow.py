"""Do sums of eight-bit products overflow on this processor? A known product is asked for."""

from __future__ import annotations

import numpy as np

from secateur.formats.sessions import open_session

_LENGTH = 64


def overflows(largest: int = 127) -> bool:
    """Return whether ONNX Runtime's integer products come out wrong here with eight-bit weights.

    On x86 processors without VNNI two products of an unsigned and a signed byte are added up in
    sixteen bits, where 2 * 255 * 127 has no room. Weights of seven bits have.

    Args:
        largest: the code of the weights that are tried.

    Returns:
        Whether a product of the largest codes is not what it is by arithmetic.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    rows = np.full((1, _LENGTH), 255, np.float32)
    found = open_session(_product(largest)).run(None, {"rows": rows})[0]
    return bool((np.asarray(found) != 255.0 * largest * _LENGTH).any())


def _product(code: int) -> bytes:
    """Return a model as the static int8 files are: rows of 0 to 255 times a matrix of one code."""
    from onnx import TensorProto, helper, numpy_helper

    arrays = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "codes": np.full((_LENGTH, _LENGTH), code, np.int8),
        "steps": np.array(1, np.float32),
        "middle": np.array(0, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["rows", "one", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "one", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["codes", "steps", "middle"], ["kernel"]),
        helper.make_node("MatMul", ["rounded", "kernel"], ["sums"]),
    ]
    ends = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, _LENGTH])
        for name in ("rows", "sums")
    )
    graph = helper.make_graph(
        nodes,
        "overflow",
        *([each] for each in ends),
        initializer=[numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()
