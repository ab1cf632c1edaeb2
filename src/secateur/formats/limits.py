"""What a model file may ask of memory, looked at before a runtime or Keras sees the file.

An ONNX file is parsed by protobuf, which refuses messages nested more than a hundred deep and
makes nothing that the file does not hold. What is refused here is what a runtime would make out of
a few bytes.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from secateur.errors import ArtifactError

# Elements of the tensors that an ONNX file has made out of shapes alone: 1 GiB of float32.
MOST_MADE = 2**28
MOST_NODES = 1_000_000
# Graphs in graphs: a loop in a branch in a loop is three.
MOST_NESTED = 16

# The input that holds the shape, or the factors, of what each makes.
_MAKES = {"ConstantOfShape": 0, "Expand": 1, "RandomNormal": None, "RandomUniform": None}
_MAKES |= {"Tile": 1, "Range": None}
# What gives on the numbers that it gets.
_PASSES = ("Identity", "Cast")
_MEND = "Use a file that `export` wrote, from someone you trust."


def check_onnx(content: bytes, where: str) -> None:
    """Refuse an ONNX file that reaches outside itself, or would grow far beyond its size.

    Raises:
        ArtifactError: it is no ONNX file; its tensors are in other files, or hold fewer numbers
            than their shapes say; it holds sparse tensors or functions, which grow as they are
            read; or it makes a constant of more than `MOST_MADE` numbers.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError, RecursionError) as error:
        raise _refused(f"the file is not ONNX ({error})", where) from error
    if len(model.functions):
        raise _refused("the ONNX file defines functions of its own", where)
    if len(model.training_info):
        raise _refused("the ONNX file holds training", where)
    nodes = 0
    made: float = 0
    for graph, depth, constants in _graphs(model.graph, 1, ChainMap()):
        if depth > MOST_NESTED:
            raise _refused(f"the ONNX file nests more than {MOST_NESTED} graphs", where)
        nodes += len(graph.node)
        if nodes > MOST_NODES:
            raise _refused(f"the ONNX file has more than {MOST_NODES:,} nodes", where)
        if len(graph.sparse_initializer) or any(map(_sparse, _attributes(graph))):
            raise _refused("the ONNX file holds sparse tensors", where)
        for tensor in _tensors(graph):
            _check_tensor(tensor, where)
        for node in graph.node:
            made = _check_node(node, constants, made, where)


def _graphs(
    graph: Any, depth: int, outer: ChainMap[str, Any]
) -> Iterator[tuple[Any, int, ChainMap[str, Any]]]:
    """Yield a graph with the constants that it sees, and those inside its nodes.

    It goes no deeper than protobuf itself goes.
    """
    constants = _constants(graph, outer)
    yield graph, depth, constants
    for attribute in _attributes(graph):
        for inner in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
            yield from _graphs(inner, depth + 1, constants)


def _attributes(graph: Any) -> Iterator[Any]:
    return (attribute for node in graph.node for attribute in node.attribute)


def _sparse(attribute: Any) -> bool:
    return attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors) > 0


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors


def _constants(graph: Any, outer: ChainMap[str, Any]) -> ChainMap[str, Any]:
    """Return the tensors that a graph sees by name, under the names too that they are given."""
    found = outer.new_child({tensor.name: tensor for tensor in graph.initializer})
    given = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            for held in filter(None, map(_constant, node.attribute)):
                found[node.output[0]] = held
        elif node.op_type in _PASSES and node.input and node.output:
            given[node.output[0]] = node.input[0]
    # Nodes may stand in any order. Each name is followed once, so that a circle ends.
    while given:
        names = [next(iter(given))]
        while names[-1] in given:
            names.append(given.pop(names[-1]))
        if names[-1] in found:
            found.update(dict.fromkeys(names, found[names[-1]]))
    return found


def _constant(attribute: Any) -> Any:
    """Return what a Constant's attribute holds as a tensor, None where it holds no numbers."""
    import onnx

    if attribute.HasField("t"):
        return attribute.t
    kinds = onnx.TensorProto
    held = {
        "value_int": (kinds.INT64, [attribute.i]),
        "value_ints": (kinds.INT64, list(attribute.ints)),
        "value_float": (kinds.FLOAT, [attribute.f]),
        "value_floats": (kinds.FLOAT, list(attribute.floats)),
    }
    if attribute.name not in held:
        return None
    kind, numbers = held[attribute.name]
    return onnx.helper.make_tensor("", kind, [len(numbers)], numbers)


def _check_tensor(tensor: Any, where: str) -> None:
    """Refuse a tensor that holds fewer numbers than its shape says, or holds them elsewhere."""
    import onnx

    name = tensor.name or "constant"
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise _refused(f"the ONNX file keeps {name!r} in another file", where)
    if any(length < 0 for length in tensor.dims):
        raise _refused(f"the ONNX file gives {name!r} a negative length", where)
    said = math.prod(tensor.dims)
    if said > _holds(tensor):
        raise _refused(
            f"the ONNX file says that {name!r} has {said:,} numbers, and it holds fewer", where
        )


def _holds(tensor: Any) -> int:
    """Return how many numbers a tensor holds at most."""
    kinds = type(tensor)
    if tensor.raw_data:
        bits = {kinds.INT4: 4, kinds.UINT4: 4, kinds.FLOAT: 32, kinds.INT32: 32, kinds.UINT32: 32}
        bits |= dict.fromkeys((kinds.DOUBLE, kinds.INT64, kinds.UINT64, kinds.COMPLEX64), 64)
        bits |= dict.fromkeys((kinds.FLOAT16, kinds.BFLOAT16, kinds.INT16, kinds.UINT16), 16)
        return 8 * len(tensor.raw_data) // bits.get(tensor.data_type, 8)
    counts = (
        len(field)
        for field in (
            tensor.float_data,
            tensor.int32_data,
            tensor.int64_data,
            tensor.double_data,
            tensor.uint64_data,
            tensor.string_data,
        )
    )
    packed = 2 if tensor.data_type in (kinds.INT4, kinds.UINT4) else 1
    return packed * max(counts)


def _check_node(node: Any, constants: Mapping[str, Any], before: float, where: str) -> float:
    """Refuse a node that makes a large tensor out of numbers that stand in the file.

    Returns:
        How many numbers it makes of these alone, which a runtime makes once and keeps, and how
        many those `before` it made.
    """
    if node.op_type not in _MAKES:
        return before
    made = 1
    position = _MAKES[node.op_type]
    alone = all(name in constants for name in node.input)
    if position is None:
        shape = next((each.ints for each in node.attribute if each.name == "shape"), ())
        made = _size(shape)
        if node.op_type == "Range" and alone:
            start, limit, delta = (_numbers(constants[name])[:1] for name in node.input)
            if start and limit and delta and delta[0]:
                made = max(0, (limit[0] - start[0]) / delta[0])
    elif len(node.input) > position and node.input[position] in constants:
        made = _size(_numbers(constants[node.input[position]]))
    if alone:
        made = before = before + made
    if not made <= MOST_MADE:
        raise _refused(
            f"the ONNX file makes {made:,.0f} numbers out of a shape ({node.op_type})", where
        )
    return before


def _size(shape: Iterable[float]) -> int:
    return math.prod(max(int(each), 1) for each in shape if math.isfinite(each))


def _numbers(tensor: Any) -> list[float]:
    """Return the numbers of a small tensor, none where they are many or make no sense."""
    import onnx

    if math.prod(tensor.dims) > 64:
        return []
    try:
        return [float(each) for each in onnx.numpy_helper.to_array(tensor).ravel()]
    except Exception:
        # What cannot be read is refused by the runtime, and makes nothing.
        return []


def _refused(what: str, where: str) -> ArtifactError:
    return ArtifactError(f"{what}; secateur writes no such file.", where=where, mend=_MEND)
