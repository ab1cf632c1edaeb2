"""Artifacts of a few bytes, made without Keras, so that these tests start no TensorFlow."""

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from secateur.data.contract import Contract, ImageSpec, NumericColumn, Target
from secateur.formats.artifact import Artifact, Manifest, Parity, TensorSpec, entry_for, files_of

CLASSES = ("low", "middle", "high")


def weights(inputs, units, seed=0):
    return np.random.default_rng(seed).standard_normal((inputs, units)).astype("float32")


def table_contract(columns=4, target=None, keys=(), nullable=False):
    return Contract(
        kind="table",
        columns=tuple(
            NumericColumn(name=f"f{i}", low=-4, high=4, nullable=nullable and i == 0)
            for i in range(columns)
        ),
        target=target or Target(name="y", classes=CLASSES),
        keys=keys,
    )


def image_contract(size=4):
    return Contract(
        kind="image",
        image=ImageSpec(height=size, width=size),
        target=Target(name="class", classes=CLASSES),
    )


def write_artifact(folder, contract, *, seed=0):
    """Write a linear model, with a softmax where the contract has classes."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    ((name, (shape, dtype)),) = contract.inputs().items()
    units = len(contract.classes) or 1
    kernel = weights(int(np.prod(shape)), units, seed)
    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}
    kind = kinds[dtype]
    nodes = [
        helper.make_node("Cast", [name], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["number"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
        helper.make_node("Softmax" if contract.classes else "Identity", ["logits"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(name, kind, ["batch", *shape])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", units])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    contract.save(folder / "contract.json")
    Manifest(
        name="linear",
        created="2026-01-01T00:00:00+00:00",
        files=tuple(entry_for(folder, file) for file in files_of(folder)),
        inputs=(TensorSpec(name=name, shape=(None, *shape), dtype=dtype),),
        outputs=(TensorSpec(name="out", shape=(None, units), dtype="float32"),),
        output="probabilities" if contract.classes else "value",
        contract_sha256=contract.fingerprint(),
        parity=Parity(tolerance=1e-3, max_difference=0, rows=1),
    ).save(folder / "manifest.json")
    return Artifact.open(folder)


def expected(x, units=3, seed=0):
    """Return what the linear model answers: (class names, probabilities)."""
    logits = x.reshape(len(x), -1).astype("float32") @ weights(x[0].size, units, seed)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return np.array(CLASSES)[probabilities.argmax(axis=1)], probabilities.max(axis=1)


def numbers(rows, columns=4, seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, (rows, columns)).astype("float32")


def as_table(x, first_id=0):
    columns = {f"f{i}": x[:, i] for i in range(x.shape[1])}
    return pa.table({"id": np.arange(first_id, first_id + len(x)), **columns})


def write_parquet_files(folder, sizes, columns=4, **options):
    """Write one file a size, ids running through, and return all their numbers in order."""
    folder.mkdir(parents=True, exist_ok=True)
    x = numbers(sum(sizes), columns)
    start = 0
    for number, size in enumerate(sizes):
        part = as_table(x[start : start + size], first_id=start)
        pq.write_table(part, folder / f"data-{number:03d}.parquet", **options)
        start += size
    return x


def scores(out):
    """Return all scores of an output folder as one frame, in the order of their parts."""
    files = sorted(Path(out).glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive")


def quarantined(out):
    """Return all bad rows of an output folder as a list of dicts."""
    files = sorted(Path(out, "quarantine").glob("part-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def assert_scores_of(out, x):
    """Check that an output folder holds the scores of all rows of `x`, in order, by id."""
    table = scores(out)
    classes, probabilities = expected(x)
    np.testing.assert_array_equal(table["id"].cast(pa.int64()).to_numpy(), np.arange(len(x)))
    np.testing.assert_array_equal(table["prediction"].to_pylist(), classes)
    np.testing.assert_allclose(table["probability"].to_numpy(), probabilities, rtol=1e-5)
