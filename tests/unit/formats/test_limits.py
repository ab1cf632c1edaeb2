"""An ONNX file that would grow far beyond its size, or reads other files, is refused unparsed."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.errors import ArtifactError
from secateur.formats.limits import check_onnx


def model(nodes=(), initializers=(), **more):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    nodes = list(nodes) or [helper.make_node("Identity", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    return helper.make_model(graph, **more)


def refused(made, match):
    content = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(ArtifactError, match=match) as caught:
        check_onnx(content, "m.onnx")
    assert caught.value.where == "m.onnx"


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "bool"]
)
@pytest.mark.parametrize("raw", [True, False])
def test_sound_tensors_pass(dtype, raw):
    array = np.ones((3, 5), dtype)
    tensor = numpy_helper.from_array(array, "w")
    if not raw:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = helper.make_tensor("w", kind, (3, 5), array.ravel().tolist())
    check_onnx(model(initializers=[tensor]).SerializeToString(), "m.onnx")


def test_a_tensor_that_says_more_than_it_holds():
    tensor = numpy_helper.from_array(np.ones(4, "float32"), "w")
    tensor.dims[0] = 2**40
    refused(model(initializers=[tensor]), "holds fewer")


def test_a_tensor_in_another_file():
    tensor = numpy_helper.from_array(np.ones(4, "float32"), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    refused(model(initializers=[tensor]), "in another file")


@pytest.mark.parametrize("kind", ["ConstantOfShape", "Expand", "Tile"])
def test_a_constant_made_out_of_a_shape(kind):
    shape = numpy_helper.from_array(np.array([2**20, 2**20]), "shape")
    inputs = ["shape"] if kind == "ConstantOfShape" else ["x", "shape"]
    refused(model([helper.make_node(kind, inputs, ["y"])], [shape]), "out of a shape")


def test_a_range_without_end():
    ends = [numpy_helper.from_array(np.array(v), n) for n, v in (("a", 0), ("b", 2**50), ("c", 1))]
    refused(model([helper.make_node("Range", ["a", "b", "c"], ["y"])], ends), "out of a shape")


def test_functions_of_its_own():
    node = helper.make_node("Identity", ["x"], ["y"])
    own = helper.make_function("d", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 17)])
    refused(model(functions=[own]), "functions of its own")


def test_graphs_in_graphs():
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
    for _ in range(20):
        graph = helper.make_graph(
            [helper.make_node("If", ["x"], ["y"], then_branch=graph)], "g", [], []
        )
    refused(model(list(graph.node)), "nests more than")


def test_messages_nested_past_what_protobuf_reads():
    inner = b""
    for _ in range(3000):
        # A graph (field 7 of the model) of a node (1) with an attribute (5) with a graph (6).
        for field in (6, 5, 1):
            inner = bytes([field << 3 | 2]) + _varint(len(inner)) + inner
    refused(b"\x3a" + _varint(len(inner)) + inner, "not ONNX")


def _varint(number):
    out = b""
    while True:
        number, low = number >> 7, number & 127
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


@pytest.mark.parametrize("content", [b"\0", b"no model", b"\xff" * 100])
def test_what_is_no_onnx_file(content):
    refused(content, "not ONNX")


def test_every_exported_kind_of_model_passes(dense, tmp_path):
    from secateur.formats.onnx import to_onnx

    to_onnx(dense(), tmp_path / "m.onnx")
    check_onnx((tmp_path / "m.onnx").read_bytes(), "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").graph.node


def test_a_constant_made_out_of_plain_integers():
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[2**20, 2**20])
    refused(model([shape, helper.make_node("ConstantOfShape", ["shape"], ["y"])]), "out of a shape")


def filled(*nodes):
    """Return a model that fills a shape of many numbers, which these nodes pass on as `shape`."""
    many = numpy_helper.from_array(np.array([2**20, 2**20]), "many")
    return model([*nodes, helper.make_node("ConstantOfShape", ["shape"], ["y"])], [many])


def test_a_sparse_tensor_in_an_attribute():
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])
    places = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(values, places, [2**29])
    node = helper.make_node("Constant", [], ["big"], sparse_value=sparse)
    refused(model([node]), "sparse tensors")
    branch = helper.make_graph([node], "g", [], [])
    refused(model([helper.make_node("If", ["x"], ["y"], then_branch=branch)]), "sparse tensors")
    many = helper.make_attribute("many", [sparse])
    node.ClearField("attribute")
    node.attribute.append(many)
    refused(model([node]), "sparse tensors")


@pytest.mark.parametrize("kind", ["Identity", "Cast"])
def test_a_shape_under_another_name(kind):
    steps = [helper.make_node(kind, ["many"], ["a"]), helper.make_node(kind, ["a"], ["shape"])]
    refused(filled(*steps), "out of a shape")
    refused(filled(*reversed(steps)), "out of a shape")


def test_names_that_lead_in_a_circle():
    steps = [helper.make_node("Identity", [a], [b]) for a, b in (("a", "b"), ("b", "a"))]
    check_onnx(filled(*steps).SerializeToString(), "m.onnx")


def test_a_shape_of_floats_that_are_cast():
    floats = helper.make_node("Constant", [], ["floats"], value_floats=[2.0**20, 2.0**20])
    cast = helper.make_node("Cast", ["floats"], ["shape"], to=TensorProto.INT64)
    refused(filled(floats, cast), "out of a shape")
    floats.attribute[0].floats[:] = [float("nan"), float("inf")]
    check_onnx(filled(floats, cast).SerializeToString(), "m.onnx")


def test_a_shape_of_the_graph_around():
    fill = helper.make_node("ConstantOfShape", ["shape"], ["y"])
    inner = helper.make_graph([fill], "inner", [], [])
    outer = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    shape = numpy_helper.from_array(np.array([2**20, 2**20]), "shape")
    refused(model([outer], [shape]), "out of a shape")


def test_many_constants_count_together():
    shape = numpy_helper.from_array(np.array([2**27]), "shape")
    nodes = [helper.make_node("ConstantOfShape", ["shape"], [f"y{i}"]) for i in range(3)]
    check_onnx(model(nodes[:2], [shape]).SerializeToString(), "m.onnx")
    refused(model(nodes, [shape]), "out of a shape")
