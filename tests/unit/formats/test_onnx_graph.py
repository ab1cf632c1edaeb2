"""A graph that was changed computes what it did, whatever its tensors are called."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.formats.grids import Grid
from secateur.formats.onnx_graph import Graph, Weight
from secateur.formats.packing import pack_weights

X = np.array([1, 2, 3], np.float32)


def looped(given="image", made="scores"):
    """Add an array three times in the body of a loop, and double what comes out."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in (given, made)]
    flags = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("go", "still")]
    state = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in ("held", "summed")]
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"]),
            helper.make_node("Add", ["held", "a/long/path/of/the/step"], ["summed"]),
        ],
        "body",
        [turn, flags[0], state[0]],
        [flags[1], state[1]],
    )
    nodes = [
        # Before what it reads, as a graph that was changed may have it.
        helper.make_node("Mul", ["a/long/path/of/the/sum", "two"], [made], name="double"),
        helper.make_node(
            "Loop", ["times", "", given], ["a/long/path/of/the/sum"], body=body, name="loop"
        ),
    ]
    arrays = {
        "times": np.array(3, np.int64),
        "two": np.array(2, np.float32),
        "a/long/path/of/the/step": np.array([10, 20, 30], np.float32),
        "unused": np.zeros(1000, np.float32),
    }
    held = [numpy_helper.from_array(values, name) for name, values in arrays.items()]
    graph = helper.make_graph(nodes, "graph", value[:1], value[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def branched(weight):
    """Multiply by a matrix where a flag is set, else negate: the matrix is read inside alone."""
    scores = [helper.make_tensor_value_info("o", TensorProto.FLOAT, [1, 64])]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64]),
        helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64]),
    ]
    branches = {
        "then_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["o"])], "then", [], scores
        ),
        "else_branch": helper.make_graph(
            [helper.make_node("Neg", ["x"], ["o"])], "else", [], scores
        ),
    }
    nodes = [helper.make_node("If", ["flag"], ["y"], **branches)]
    graph = helper.make_graph(
        nodes, "graph", ends[:2], ends[2:], [numpy_helper.from_array(weight, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_weight_that_inner_graphs_read_is_stored_in_integers(bits):
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    blocks = {"bits": 4, "block": 64, "scale": (0.5,) * 64} if bits == 4 else {"scale": (0.02,)}
    weight = Weight.of(values, Grid(**blocks))
    graph = Graph(branched(weight.values))
    pack_weights(graph, {"w": weight})
    finished = graph.finish()
    assert weight.found
    assert finished.ByteSize() < weight.values.nbytes / 2
    session = onnxruntime.InferenceSession(finished.SerializeToString())
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    (found,) = session.run(["y"], {"x": x, "flag": np.array(True)})
    np.testing.assert_allclose(found, x @ weight.values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ends", [("image", "scores"), ("t1", "t_2")])
def test_tensors_are_numbered_and_ends_keep_their_names(ends):
    model = looped(*ends)
    size = model.ByteSize()
    finished = Graph(model).finish()
    assert size - finished.ByteSize() > 4000
    assert b"a/long/path" not in finished.SerializeToString()
    assert [node.name for node in finished.graph.node] == ["loop", "double"]
    session = onnxruntime.InferenceSession(finished.SerializeToString())
    assert [each.name for each in session.get_inputs()] == [ends[0]]
    (found,) = session.run([ends[1]], {ends[0]: X})
    np.testing.assert_array_equal(found, 2 * (X + 3 * np.array([10, 20, 30])))
