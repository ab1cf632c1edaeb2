"""Scoring as a user meets it: whole processes, real models, kills and full disks."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from secateur.data.contract import (
    CategoricalColumn,
    Contract,
    ImageSpec,
    NumericColumn,
    Target,
)
from secateur.errors import OutputError
from secateur.scoring.score import score
from unit.scoring.artifacts import (
    expected,
    numbers,
    scores,
    table_contract,
    write_artifact,
    write_parquet_files,
)

SCORE = """
import json, sys, time
from secateur.scoring.score import score
artifact, source, out, pause = sys.argv[1:]
tally = score(artifact, source, out, threads=1, progress=lambda *_: time.sleep(float(pause)))
print(json.dumps({"tally": tally.model_dump(), "modules": sorted(sys.modules)}))
"""


def start(artifact, source, out, pause=0.0, code=SCORE):
    arguments = [sys.executable, "-c", code, str(artifact.path), str(source), str(out), str(pause)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "artifact", table_contract(keys=("id",)))


def test_no_keras_and_no_tensorflow_is_loaded(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    process = start(artifact, tmp_path / "data", tmp_path / "out")
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    loaded = {name.partition(".")[0] for name in json.loads(stdout)["modules"]}
    assert "onnxruntime" in loaded
    assert not loaded & {"keras", "tensorflow", "tf2onnx", "jax", "torch"}


def test_killed_and_resumed_equals_uninterrupted(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [200] * 30)
    score(artifact, tmp_path / "data", tmp_path / "whole")
    for minimum in (3, 8):
        process = start(artifact, tmp_path / "data", tmp_path / "out", pause=0.05)
        ledger, deadline = tmp_path / "out" / "ledger.jsonl", time.monotonic() + 60
        while not ledger.exists() or ledger.read_bytes().count(b"\n") <= minimum:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "out" / "tally.json").exists()
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert 8 <= tally.resumed < 30
    assert (tally.parts, tally.rows, tally.scored) == (30, 6000, 6000)
    table = scores(tmp_path / "out")
    np.testing.assert_array_equal(table["id"].to_numpy(), np.arange(6000))
    assert table["prediction"].to_pylist() == list(expected(x)[0])
    assert table.equals(scores(tmp_path / "whole"))
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "whole").iterdir())


def test_second_process_is_refused_while_the_first_works(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [50] * 20)
    process = start(artifact, tmp_path / "data", tmp_path / "out", pause=0.1)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "part-00000.parquet").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(OutputError, match="another process is scoring into this folder"):
        score(artifact, tmp_path / "data", tmp_path / "out")
    stdout, _ = process.communicate()
    assert json.loads(stdout)["tally"]["scored"] == 1000


def test_write_that_the_system_refuses(artifact, tmp_path):
    resource = pytest.importorskip("resource", reason="limits on file sizes are a matter of Unix")
    assert resource.RLIMIT_FSIZE >= 0
    write_parquet_files(tmp_path / "data", [50, 60_000])
    limited = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
from secateur.errors import OutputError
from secateur.scoring.score import score
try:
    score(*sys.argv[1:4], threads=1)
except OutputError as error:
    print(error.where, "|", error.what)
"""
    process = start(artifact, tmp_path / "data", tmp_path / "out", code=limited)
    stdout, stderr = process.communicate()
    assert stderr == ""
    where, _, what = stdout.strip().partition(" | ")
    assert where == str(tmp_path / "out" / "part-00001.parquet")
    assert what.startswith("the scores cannot be written (")
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert score(artifact, tmp_path / "data", tmp_path / "out").scored == 60_050


def test_scores_are_those_of_the_keras_model(tmp_path):
    import keras
    from keras import layers

    from secateur.formats.onnx import export

    contract = Contract(
        kind="table",
        columns=(
            *(NumericColumn(name=f"f{i}", low=-4, high=4) for i in range(4)),
            CategoricalColumn(name="colour", vocabulary=("red", "green", "blue")),
        ),
        target=Target(name="y", classes=("no", "yes")),
        keys=("id",),
    )
    numeric = keras.Input((4,), name="numeric")
    codes = keras.Input((1,), dtype="int32", name="categorical")
    words = layers.Flatten()(layers.Embedding(4, 3)(codes))
    hidden = layers.Dense(8, activation="relu")(layers.Concatenate()([numeric, words]))
    answer = layers.Dense(1, activation="sigmoid")(hidden)
    model = keras.Model({"numeric": numeric, "categorical": codes}, answer)
    artifact = export(model, tmp_path / "artifact", contract=contract)

    x = numbers(700)
    colours = np.random.default_rng(0).choice(["red", "green", "blue", "pink"], 700)
    columns = {f"f{i}": x[:, i] for i in range(4)} | {"colour": colours}
    pacsv.write_csv(pa.table({"id": np.arange(700), **columns}), tmp_path / "data.csv")
    tally = score(artifact, tmp_path / "data.csv", tmp_path / "out", threads=2)
    assert tally.scored == 700

    known = {"red": 1, "green": 2, "blue": 3, "pink": 0}
    yes = model.predict(
        {"numeric": x, "categorical": np.array([[known[c]] for c in colours], "int32")}, verbose=0
    )[:, 0]
    table = scores(tmp_path / "out")
    assert table["prediction"].to_pylist() == ["yes" if p > 0.5 else "no" for p in yes]
    np.testing.assert_allclose(table["probability"].to_numpy(), np.maximum(yes, 1 - yes), atol=1e-5)


def test_photos(shared_data, tmp_path):
    import keras
    from keras import layers

    from secateur.data.images import load_image
    from secateur.formats.onnx import export

    spec = ImageSpec(height=24, width=24)
    contract = Contract(
        kind="image", image=spec, target=Target(name="class", classes=("D", "R", "U"))
    )
    image = keras.Input((24, 24, 3), dtype="uint8", name="image")
    hidden = layers.Conv2D(4, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(image))
    answer = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model(image, answer)
    artifact = export(model, tmp_path / "artifact", contract=contract)
    source = shared_data / "asl_letters"
    tally = score(artifact, source, tmp_path / "out")
    assert (tally.rows, tally.scored, tally.quarantined) == (465, 465, 0)
    table = scores(tmp_path / "out").to_pylist()[::50]
    photos = np.stack([load_image(source / row["source"], spec) for row in table])
    outputs = model.predict(photos, verbose=0)
    assert [row["prediction"] for row in table] == ["DRU"[i] for i in outputs.argmax(axis=1)]
    np.testing.assert_allclose(
        [row["probability"] for row in table], outputs.max(axis=1), atol=1e-5
    )


def test_output_reads_as_one_table(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    table = pq.read_table(sorted((tmp_path / "out").glob("part-*.parquet")))
    assert table.column_names == ["id", "source", "row", "prediction", "probability"]
    assert table.num_rows == 70
