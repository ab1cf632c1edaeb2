"""An artifact that has a file for LiteRT is scored by it."""

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keras import layers

from secateur.data.contract import CategoricalColumn, Contract, NumericColumn, Target
from secateur.errors import ArtifactError
from secateur.formats.manifest import LITERT, Manifest
from secateur.formats.onnx import export
from secateur.formats.probing import check_litert
from secateur.formats.verify import verify
from secateur.scoring.score import score
from unit.scoring.artifacts import numbers, scores

pytest.importorskip("ai_edge_litert", reason="the extra `litert` is not installed")


def test_litert_scores_as_onnx_runtime_does(tmp_path):
    contract = Contract(
        kind="table",
        columns=(
            *(NumericColumn(name=f"f{i}", low=-4, high=4) for i in range(4)),
            CategoricalColumn(name="colour", vocabulary=("red", "green")),
        ),
        target=Target(name="y", classes=("no", "yes")),
    )
    numeric = keras.Input((4,), name="numeric")
    codes = keras.Input((1,), dtype="int32", name="categorical")
    words = layers.Flatten()(layers.Embedding(3, 3)(codes))
    hidden = layers.Dense(8, activation="relu")(layers.Concatenate()([numeric, words]))
    model = keras.Model(
        {"numeric": numeric, "categorical": codes}, layers.Dense(1, activation="sigmoid")(hidden)
    )
    artifact = export(model, tmp_path / "artifact", contract=contract, litert=True)
    assert (artifact.path / "model.tflite").is_file()
    x = numbers(1500)
    colours = np.random.default_rng(0).choice(["red", "green", "blue"], 1500)
    table = pa.table({f"f{i}": x[:, i] for i in range(4)} | {"colour": colours})
    pq.write_table(table, tmp_path / "rows.parquet")
    for runtime in ("onnxruntime", "litert"):
        tally = score(
            artifact, tmp_path / "rows.parquet", tmp_path / runtime, threads=2, runtime=runtime
        )
        assert (tally.scored, tally.runtime) == (1500, runtime)
    one, other = scores(tmp_path / "onnxruntime"), scores(tmp_path / "litert")
    assert one["prediction"].to_pylist() == other["prediction"].to_pylist()
    np.testing.assert_allclose(one["probability"], other["probability"], atol=1e-5)
    tally = score(artifact, tmp_path / "rows.parquet", tmp_path / "auto", runtime="auto")
    assert {trial.runtime for trial in tally.tried} >= {"onnxruntime", "litert"}
    assert verify(artifact.path).sound
    _check_what_is_refused((artifact.path / LITERT).read_bytes(), artifact.manifest)


def _check_what_is_refused(content: bytes, manifest: Manifest) -> None:
    def refused(content: bytes, match: str, **other: object) -> None:
        with pytest.raises(ArtifactError, match=match) as caught:
            check_litert(content, manifest.model_copy(update=other), "m.tflite")
        assert caught.value.where == "m.tflite"

    wide = manifest.outputs[0].model_copy(update={"shape": (None, 7)})
    refused(b"no model", "cannot open")
    refused(content[: len(content) // 2], "cannot open")
    refused(content, r"\(7,\)\), and it has", outputs=(wide,))
    refused(content, "and it has None", inputs=(*manifest.inputs, wide))
    refused(content, "model has None", inputs=manifest.inputs[:1])
