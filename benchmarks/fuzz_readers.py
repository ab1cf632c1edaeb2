"""The readers that `fuzz.py` feeds: for each some sound files, and the call that reads one.

Each function here takes a folder that it may write to, and returns the sound files' bytes with a
function that reads a file as secateur does where it is used.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[[Path], object]
Made = tuple[list[bytes], Read]


def recipe(folder: Path) -> Made:
    from secateur.recipe.recipe import Recipe

    told: dict[str, Any] = {
        "name": "a",
        "data": {"source": "data.csv", "target": "y"},
        "train": {"epochs": 2},
        "steps": [{"prune": {"macs": 0.5, "by": "taylor"}}, {"finetune": {"epochs": 1}}],
        "measure": {"batches": [1, 32], "threads": 1},
        "export": {"tolerance": 0.001},
    }
    return [json.dumps(told, indent=1).encode()], Recipe.load


def contract_value(images: bool = False) -> Any:
    from secateur.data.contract import Contract, ImageSpec, NumericColumn, Target

    target = Target(name="y", classes=("no", "yes"))
    if images:
        spec = ImageSpec(height=16, width=16, max_pixels=2**22, max_bytes=2**22)
        return Contract(kind="image", image=spec, target=target)
    columns = (
        NumericColumn(name="a", low=-4, high=4),
        NumericColumn(name="b", low=0, high=9, nullable=True),
    )
    return Contract(kind="table", columns=columns, target=target, keys=("id",))


def contract(folder: Path) -> Made:
    from secateur.data.contract import Contract

    made = [contract_value(images).model_dump_json().encode() for images in (False, True)]
    return made, Contract.load


def artifact(folder: Path) -> Path:
    """Write a small artifact with a contract."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from secateur.formats.artifact import Manifest, Parity, TensorSpec, entry_for, files_of

    home = folder / "artifact"
    home.mkdir()
    kept = contract_value()
    ((name, (shape, _)),) = kept.inputs().items()
    kernel = np.random.default_rng(0).normal(size=(*shape, 2)).astype("float32")
    nodes = [
        helper.make_node("MatMul", [name, "kernel"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["out"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "linear",
        [value(name, TensorProto.FLOAT, ["batch", *shape])],
        [value("out", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, home / "model.onnx")
    kept.save(home / "contract.json")
    Manifest(
        name="linear",
        created="2026-01-01T00:00:00+00:00",
        files=tuple(entry_for(home, file) for file in files_of(home)),
        inputs=(TensorSpec(name=name, shape=(None, *shape), dtype="float32"),),
        outputs=(TensorSpec(name="out", shape=(None, 2), dtype="float32"),),
        output="probabilities",
        contract_sha256=kept.fingerprint(),
        parity=Parity(tolerance=1e-3, max_difference=0, rows=1),
        metrics={"accuracy": 0.9},
        baseline={"metrics": {"accuracy": 0.9}},
    ).save(home / "manifest.json")
    return home


def manifest(folder: Path) -> Made:
    from secateur.formats.artifact import Artifact

    home = artifact(folder)

    def read(path: Path) -> object:
        (home / "manifest.json").write_bytes(path.read_bytes())
        return Artifact.open(home)

    return [(home / "manifest.json").read_bytes()], read


def packed(folder: Path) -> Made:
    from secateur.formats import archive
    from secateur.formats.store import FolderStore
    from secateur.formats.verify import verify

    return [archive.packed(FolderStore(artifact(folder)))], verify


def sealed(folder: Path) -> Made:
    from secateur.formats import archive, sealing
    from secateur.formats.artifact import Artifact
    from secateur.formats.opening import Secret
    from secateur.formats.store import FolderStore

    recipient = sealing.new_identity(folder / "key")
    content = archive.packed(FolderStore(artifact(folder)))
    out = sealing.seal(content, folder / "sealed", recipients=[recipient])
    secret = Secret(identity=folder / "key")
    return [out.read_bytes()], lambda path: Artifact.open(path, secret=secret)


def signature(folder: Path) -> Made:
    from secateur.formats import archive, signing
    from secateur.formats.artifact import Artifact
    from secateur.formats.store import FolderStore

    home = artifact(folder)
    public = signing.new_key(folder / "key.pem")
    made = signing.signature_of(FolderStore(home), folder / "key.pem")
    archive.add_signature(FolderStore(home), made)

    def read(path: Path) -> object:
        (home / "model.sig").write_bytes(path.read_bytes())
        return Artifact.open(home, signed_by=signing.Signer(key=public))

    return [made], read


def plan(folder: Path) -> Made:
    from secateur.planning.plan import GroupCut, Plan

    cut = GroupCut(group="g", members=("conv",), units=8, remove=(1, 2, 5), reason="l2")
    made = Plan(
        model="m",
        fingerprint="0" * 64,
        asked={"macs": 0.5},
        by="l2",
        cuts=(cut,),
        before={"macs": 100, "parameters": 10},
        after={"macs": 50, "parameters": 5},
        pins=(),
    )
    return [made.to_json().encode()], Plan.load


def quantization(folder: Path) -> Made:
    from secateur.formats.grids import Grid, Quantization

    grid = Grid(scale=(0.1,)) if "zero" not in Grid.model_fields else Grid(scale=(0.1,), zero=(0,))
    made = Quantization(weights={"dense/kernel": grid}, kept={"out": "the last layer"})
    return [made.to_json().encode()], lambda path: Quantization.from_json(path.read_bytes())


def record(folder: Path) -> Made:
    from secateur.reporting.record import Run, Stage

    made = Run(
        name="r",
        created="2026-01-01T00:00:00+00:00",
        secateur="0.1.0",
        stages=(Stage(name="baseline", macs=10), Stage(name="exported", macs=5)),
    )
    home = folder / "run"
    home.mkdir()
    made.save(home)

    def read(path: Path) -> object:
        (home / "run.json").write_bytes(path.read_bytes())
        return Run.load(home)

    return [(home / "run.json").read_bytes()], read


def ledger(folder: Path) -> Made:
    from secateur.scoring.ledger import Entry, Job, Ledger

    job = Job(model="m", contract="c", source="s", keys=("id",), probability=True)
    home = folder / "scored"
    with Ledger(home, job) as book:
        for number in range(3):
            book.append(
                Entry(
                    number=number,
                    source=f"{number}.csv",
                    first=0,
                    stamp="x",
                    rows=5,
                    scored=4,
                    quarantined=1,
                )
            )

    def read(path: Path) -> object:
        (home / "ledger.jsonl").write_bytes(path.read_bytes())
        with Ledger(home, job) as book:
            return book.counts

    return [(home / "ledger.jsonl").read_bytes()], read


def _scorer(folder: Path) -> Read:
    """Return how a table is scored, as a part of a job is."""
    from secateur.data.sources import find_parts, names_of
    from secateur.formats.artifact import Artifact
    from secateur.formats.predictor import Predictor
    from secateur.scoring.pieces import cut
    from secateur.scoring.scorer import Scorer

    opened = Artifact.open(artifact(folder))
    assert opened.contract is not None
    scorer = Scorer(Predictor(opened), opened.contract, ("id",))

    def read(path: Path) -> object:
        parts = find_parts(path)
        names_of(parts[0], contract=opened.contract)
        return [
            scorer.score(piece, block) for piece in cut(parts) for block in scorer.blocks(piece)
        ]

    return read


def _frame() -> Any:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    return pa.table(
        {
            "id": [f"k{number}" for number in range(40)],
            "a": rng.uniform(-4, 4, 40).round(3),
            "b": pa.array([None if number % 9 == 0 else number % 10 for number in range(40)]),
            "c": ["red", "green", "blue", 'odd, "one"'] * 10,
        }
    )


def csv(folder: Path) -> Made:
    import pyarrow.csv as pc

    out = io.BytesIO()
    pc.write_csv(_frame(), out)
    plain = out.getvalue()
    return [plain, plain.replace(b",", b";"), plain.decode().encode("utf-16")], _scorer(folder)


def parquet(folder: Path) -> Made:
    import pyarrow.parquet as pq

    made = []
    for compression in ("none", "snappy", "zstd", "gzip"):
        out = io.BytesIO()
        pq.write_table(_frame(), out, compression=compression, row_group_size=15)
        made.append(out.getvalue())
    return made, _scorer(folder)


def arrow(folder: Path) -> Made:
    import pyarrow as pa

    made = []
    for compression in (None, "lz4", "zstd"):
        out = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_file(out, _frame().schema, options=options) as opened:
            opened.write_table(_frame())
        made.append(out.getvalue())
    return made, _scorer(folder)


def image(folder: Path) -> Made:
    import numpy as np
    from PIL import Image

    from secateur.data.images import load_image

    spec = contract_value(images=True).image
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    made = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        made.append(out.getvalue())
    return made, lambda path: load_image(path, spec)


def onnx_file(folder: Path) -> Made:
    from secateur.formats.limits import check_onnx
    from secateur.formats.sessions import open_session

    content = (artifact(folder) / "model.onnx").read_bytes()

    def read(path: Path) -> object:
        given = path.read_bytes()
        check_onnx(given, str(path))
        return open_session(given, where=str(path))

    return [content, _branched()], read


def _branched() -> bytes:
    """Return a model that fills a shape, under another name, in a branch."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    fill = helper.make_node("ConstantOfShape", ["shape"], ["filled"])
    branch = helper.make_graph([fill], "branch", [], [value("filled", TensorProto.FLOAT, [2])])
    nodes = [
        helper.make_node("Constant", [], ["floats"], value_floats=[2.0]),
        helper.make_node("Cast", ["floats"], ["cast"], to=TensorProto.INT64),
        helper.make_node("Identity", ["cast"], ["shape"]),
        helper.make_node("If", ["which"], ["more"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["x", "more"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "branched",
        [value("x", TensorProto.FLOAT, ["batch", 2]), value("which", TensorProto.BOOL, [])],
        [value("out", TensorProto.FLOAT, ["batch", 2])],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def _keras_model() -> Any:
    import keras
    from keras import layers

    x = i = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu")(x))
    return keras.Model(i, layers.Dense(2, activation="softmax", name="out")(x))


def _keras(folder: Path, ending: str) -> Made:
    from secateur.models.load import load_model

    path = folder / f"model{ending}"
    _keras_model().save(path)
    return [path.read_bytes()], load_model


def keras_file(folder: Path) -> Made:
    return _keras(folder, ".keras")


def hdf5(folder: Path) -> Made:
    return _keras(folder, ".h5")


def litert(folder: Path) -> Made:
    from secateur.formats.litert import to_litert
    from secateur.formats.manifest import parse_manifest
    from secateur.formats.probing import check_litert

    made = parse_manifest((artifact(folder) / "manifest.json").read_bytes(), "manifest.json")
    takes = made.inputs[0].model_copy(update={"shape": (None, 8, 8, 3)})
    told = made.model_copy(update={"inputs": (takes,)})
    path = folder / "model.tflite"
    to_litert(_keras_model(), path)
    return [path.read_bytes()], lambda given: check_litert(given.read_bytes(), told, str(given))


def config(folder: Path) -> Made:
    """Architectures inside a sound archive: the damage is past the checksum of the zip."""
    import zipfile

    from secateur.models.load import load_model

    path = folder / "model.keras"
    _keras_model().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def read(given: Path) -> object:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, given.read_bytes() if name == "config.json" else content)
        return load_model(path)

    return [members["config.json"]], read


READERS: dict[str, tuple[str, Callable[[Path], Made]]] = {
    "contract": (".json", contract),
    "manifest": (".json", manifest),
    "plan": (".json", plan),
    "quantization": (".json", quantization),
    "run record": (".json", record),
    "recipe": (".yaml", recipe),
    "ledger": (".bin", ledger),
    "signature": (".json", signature),
    "packed artifact": (".secateur", packed),
    "sealed artifact": (".age", sealed),
    "CSV": (".csv", csv),
    "Parquet": (".parquet", parquet),
    "Arrow": (".arrow", arrow),
    "image": (".img", image),
    "ONNX": (".onnx", onnx_file),
    "LiteRT": (".tflite", litert),
    ".keras": (".keras", keras_file),
    ".h5": (".h5", hdf5),
    ".keras config": (".json", config),
}
COUNTS = {
    "contract": 20_000,
    "manifest": 12_000,
    "plan": 20_000,
    "quantization": 15_000,
    "run record": 10_000,
    "recipe": 4_000,
    "ledger": 4_000,
    "signature": 2_000,
    "packed artifact": 6_000,
    "sealed artifact": 2_000,
    "CSV": 4_000,
    "Parquet": 4_000,
    "Arrow": 3_000,
    "image": 12_000,
    "ONNX": 6_000,
    "LiteRT": 200,
    ".keras": 400,
    ".h5": 100,
    ".keras config": 200,
}
