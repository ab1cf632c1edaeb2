"""What runs the model is chosen by measuring, and stays what it is when a job goes on."""

import json
import threading

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from secateur.errors import ArtifactError, ModelError, OutputError
from secateur.formats.archive import pack
from secateur.formats.artifact import QUANTIZATION, Artifact, entry_for, files_of
from secateur.formats.grids import Quantization
from secateur.formats.predictor import Predictor
from secateur.scoring import score as scoring
from secateur.scoring import tune
from secateur.scoring.pieces import cut
from secateur.scoring.score import score
from secateur.scoring.scorer import CHUNK_ROWS, Scorer
from secateur.scoring.tune import Setup, choose
from unit.scoring.artifacts import (
    assert_scores_of,
    expected,
    image_contract,
    numbers,
    scores,
    table_contract,
    write_artifact,
    write_parquet_files,
)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(tune, "_SECONDS", 0.01)


def job(out):
    return json.loads((out / "ledger.jsonl").read_text().splitlines()[0])


def test_the_usual_way_measures_nothing(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [50])
    tally = score(artifact, tmp_path / "data", tmp_path / "out", threads=2)
    assert (tally.runtime, tally.chunk, tally.threads, tally.tried) == (
        "onnxruntime", CHUNK_ROWS, 2, (),
    )  # fmt: skip
    assert (job(tmp_path / "out")["runtime"], job(tmp_path / "out")["chunk"]) == (
        "onnxruntime",
        None,
    )


def test_openvino_gives_the_same_scores(artifact, tmp_path):
    pytest.importorskip("openvino")
    x = write_parquet_files(tmp_path / "data", [300, 1, CHUNK_ROWS + 77])
    tally = score(artifact, tmp_path / "data", tmp_path / "out", threads=3, runtime="openvino")
    assert tally.runtime == "openvino"
    assert_scores_of(tmp_path / "out", x)
    score(artifact, tmp_path / "data", tmp_path / "again", threads=1, runtime="openvino")
    assert scores(tmp_path / "out").equals(scores(tmp_path / "again"))


def test_a_predictor_of_openvino_serves_many_threads(artifact):
    pytest.importorskip("openvino")
    predictor = Predictor(artifact, runtime="openvino", rows=32)
    x = numbers(400)
    wanted = Predictor(artifact).predict(x)
    found = {}

    def work(number):
        rows = x[number * 50 : number * 50 + 50 - number]
        found[number] = predictor.predict(rows)

    crowd = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join()
    for number, answer in found.items():
        np.testing.assert_allclose(
            answer, wanted[number * 50 : number * 50 + 50 - number], rtol=1e-5
        )


def test_auto_measures_and_tells(artifact, tmp_path, quick):
    x = write_parquet_files(tmp_path / "data", [5000])
    tally = score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert_scores_of(tmp_path / "out", x)
    tried = {(trial.runtime, trial.chunk) for trial in tally.tried}
    assert {("onnxruntime", c) for c in (256, 1024, 4096)} <= tried
    assert (tally.runtime, tally.chunk) in tried
    assert tally.threads >= 1
    assert all(trial.rows_per_second > 0 for trial in tally.tried)


def test_what_is_clearly_faster_is_taken_and_kept(artifact, tmp_path, monkeypatch, quick):
    x = write_parquet_files(tmp_path / "data", [5000, 3000])

    def race(ways, rows):
        return {way: 1000.0 if way == ("onnxruntime", 256) else 500.0 for way in ways}

    monkeypatch.setattr(tune, "_race", race)
    tally = score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto", threads=1)
    assert (tally.runtime, tally.chunk, tally.threads) == ("onnxruntime", 256, 1)
    assert job(tmp_path / "out")["chunk"] == 256
    assert_scores_of(tmp_path / "out", x)
    monkeypatch.setattr(scoring, "choose", None)
    tally = score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert (tally.resumed, tally.chunk, tally.tried) == (2, 256, ())
    with pytest.raises(OutputError, match="its chunk is 256, and now it is null"):
        score(artifact, tmp_path / "data", tmp_path / "out")


def test_what_is_hardly_faster_is_not_taken(artifact, tmp_path, monkeypatch, quick):
    write_parquet_files(tmp_path / "data", [5000])
    monkeypatch.setattr(
        tune, "_race", lambda ways, rows: {way: 500.0 + 20 * (way[1] == 256) for way in ways}
    )
    score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert (job(tmp_path / "out")["runtime"], job(tmp_path / "out")["chunk"]) == (
        "onnxruntime",
        None,
    )


@pytest.mark.parametrize(("mode", "asked"), [("dynamic", False), ("static", True)])
def test_openvino_is_not_tried_on_ranges_that_are_found_at_each_call(
    tmp_path, monkeypatch, quick, mode, asked
):
    pytest.importorskip("openvino")
    made = write_artifact(tmp_path / "artifact", table_contract(keys=("id",)))
    (made.path / QUANTIZATION).write_text(Quantization(mode=mode).to_json())
    files = tuple(entry_for(made.path, file) for file in files_of(made.path))
    made.manifest.model_copy(update={"files": files}).save(made.path / "manifest.json")
    write_parquet_files(tmp_path / "data", [5000])
    tally = score(made.path, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert ("openvino" in {trial.runtime for trial in tally.tried}) is asked


@pytest.mark.parametrize("rows", [1, 70])
def test_few_rows(artifact, tmp_path, rows, quick):
    x = write_parquet_files(tmp_path / "data", [rows])
    tally = score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert_scores_of(tmp_path / "out", x)
    assert bool(tally.tried) == (rows == 70)


def test_photos(tmp_path, quick):
    artifact = write_artifact(tmp_path / "artifact", image_contract())
    (tmp_path / "data").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (70, 4, 4, 3), np.uint8)
    for number, photo in enumerate(pixels):
        Image.fromarray(photo).save(tmp_path / "data" / f"{number:03d}.png")
    (tmp_path / "data" / "000a.png").write_text("broken")
    tally = score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert (tally.scored, tally.quarantined) == (70, 1)
    assert tally.tried
    assert scores(tmp_path / "out")["prediction"].to_pylist() == list(expected(pixels)[0])


def test_another_runtime_into_the_same_folder(artifact, tmp_path):
    pytest.importorskip("openvino")
    write_parquet_files(tmp_path / "data", [10])
    score(artifact, tmp_path / "data", tmp_path / "out")
    with pytest.raises(OutputError, match='its runtime is "onnxruntime", and now it is "openvino"'):
        score(artifact, tmp_path / "data", tmp_path / "out", runtime="openvino")


def test_a_ledger_of_an_older_version_goes_on(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10, 10])
    score(artifact, tmp_path / "data", tmp_path / "out")
    ledger = tmp_path / "out" / "ledger.jsonl"
    first, *entries = ledger.read_text().splitlines()
    old = {k: v for k, v in json.loads(first).items() if k not in ("runtime", "chunk")}
    ledger.write_text("\n".join([json.dumps(old), *entries]) + "\n")
    assert score(artifact, tmp_path / "data", tmp_path / "out").resumed == 2


def test_refusals(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10])
    with pytest.raises(ModelError, match="there is no runtime 'torch'"):
        score(artifact, tmp_path / "data", tmp_path / "out", runtime="torch")
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(ArtifactError, match=r"holds no model\.tflite"):
        score(artifact, tmp_path / "data", tmp_path / "out", runtime="litert")
    assert not (tmp_path / "out").exists()


def test_threads_that_do_not_pay_are_not_used(artifact, tmp_path, monkeypatch, quick):
    write_parquet_files(tmp_path / "data", [500])
    monkeypatch.setattr(tune, "_by_threads", lambda *_: {1: 98.0, 2: 100.0, 4: 101.0})
    scorer = Scorer(Predictor(artifact), artifact.contract)
    from secateur.data.sources import find_parts

    setup = choose(scorer, cut(find_parts(tmp_path / "data")), threads=None, cores=4)
    assert isinstance(setup, Setup)
    assert setup.threads == 1


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_what_runs_is_what_was_checked(artifact, tmp_path, runtime):
    pytest.importorskip(runtime)
    packed = Artifact.open(pack(artifact.files, tmp_path / "model.secateur"))
    x = numbers(7)
    one, other = (Predictor(each, runtime=runtime).predict(x) for each in (artifact, packed))
    np.testing.assert_array_equal(one, other)
    content = artifact.model_path.read_bytes()
    artifact.model_path.write_bytes(content[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        Predictor(artifact, runtime=runtime)


def test_a_column_that_cannot_be_read_leaves_the_usual_way(artifact, tmp_path, monkeypatch):
    write_parquet_files(tmp_path / "data", [300])

    def broken(contract, table):
        raise pa.ArrowInvalid("no such thing")

    monkeypatch.setattr(tune, "check", broken)
    tally = score(artifact, tmp_path / "data", tmp_path / "out", runtime="auto")
    assert (tally.runtime, tally.scored) == ("onnxruntime", 300)
