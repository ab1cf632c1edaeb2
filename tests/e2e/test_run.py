"""The main job from raw files to scores, small but whole."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from secateur.errors import DataError, ModelError, OutputError
from secateur.formats.artifact import Artifact
from secateur.formats.predictor import Predictor
from secateur.job.run import run
from secateur.models.load import load_model
from secateur.recipe.recipe import Recipe
from secateur.reporting.record import Run
from secateur.scoring.score import score
from unit.models.oldfiles import array, entry, sequential, write

pytestmark = pytest.mark.slow

STRIPES = {
    "name": "stripes",
    "data": {"source": "photos", "image_size": [16, 16]},
    "model": {"width": 16},
    "train": {"epochs": 4, "learning_rate": 0.003, "augment": {"shift": 0.1}},
    "steps": [{"prune": {"macs": 0.5, "samples": 64}}, {"finetune": {"epochs": 2}}],
    "measure": {"batches": [1, 4], "seconds": 0.1},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Write striped pictures, a folder a direction, and return the folder above."""
    home = tmp_path_factory.mktemp("stripes")
    random = np.random.default_rng(0)
    down, across = np.mgrid[:16, :16]
    for name, along in (("down", down), ("across", across), ("slant", (down + across) / 1.4)):
        folder = home / "photos" / name
        folder.mkdir(parents=True)
        for index in range(40):
            wave = 80 * np.sin(along * 1.2 + random.uniform(0, 6))
            pixels = 127 + wave + random.normal(0, 20, (16, 16))
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / f"{index}.png")
    return home


def recipe(home: Path, **changes) -> Recipe:
    return Recipe.of({**STRIPES, **changes}, home)


def scores(folder: Path) -> pd.DataFrame:
    return pd.concat(pq.read_table(part).to_pandas() for part in folder.glob("part-*.parquet"))


@pytest.fixture(scope="module")
def done(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    told = []
    made = run(recipe(photos), out, progress=told.append, command="secateur run stripes.yaml")
    return made, out, told


def test_the_run_tells_every_stage_and_what_it_gained(done):
    made, _, told = done
    assert [each.name for each in made.stages] == [
        "baseline",
        "cut",
        "healed",
        "fine-tuned",
        "exported",
    ]
    baseline, cut, healed, tuned, exported = made.stages
    assert baseline.metrics.accuracy > 0.6
    assert cut.macs == healed.macs == tuned.macs <= 0.5 * baseline.macs
    assert healed.metrics.accuracy >= cut.metrics.accuracy
    assert exported.metrics.accuracy == tuned.metrics.accuracy
    assert [each.batch for each in baseline.latencies] == [1, 4]
    assert [each.batch for each in exported.latencies] == [1, 4]
    assert sum(line.startswith("race") for line in told) == 2


def test_the_record_holds_what_the_report_shows(done):
    made, out, _ = done
    assert Run.load(out) == made
    assert made.data.rows == {"train": 72, "validation": 24, "test": 24}
    assert [curve.stage for curve in made.curves] == ["baseline", "fine-tuned"]
    assert len(made.curves[0].metrics["val_loss"]) == 4
    widths = {each.layer: (each.before, each.after) for each in made.layers}
    assert widths["probabilities"] == (3, 3)
    assert any(after < before for before, after in widths.values())
    removed = {each.name: each.removed for each in made.groups}
    assert sum(removed.values()) == sum(before - after for before, after in _own(made).values())
    assert len(made.samples) == 24
    assert made.samples[0].image.startswith("data:image/png")
    assert made.asked["Multiply-accumulates"] == "at most 50% of the baseline's"
    assert made.environment["ONNX Runtime"]
    assert Recipe.of(yaml.safe_load(made.recipe)).name == "stripes"
    page = (out / "report.html").read_text()
    assert "stripes" in page
    nodes = {each.name: each for each in made.network}
    assert {name for name, node in nodes.items() if not node.merges} == set(widths)
    assert all((nodes[name].before, nodes[name].after) == pair for name, pair in widths.items())
    assert all(set(node.inputs) <= set(nodes) for node in made.network)


def test_the_run_tells_what_changed_for_whom(done):
    made, _, told = done
    found = made.robustness
    assert [each.name for each in found.classes] == ["across", "down", "slant"]
    assert sum(each.rows for each in found.classes) == 24
    right = sum(each.rows * each.after for each in found.classes)
    assert right / 24 == pytest.approx(made.stages[-1].metrics.accuracy)
    as_they_are, *corrupted = found.conditions
    assert as_they_are.after == pytest.approx(made.stages[-1].metrics.accuracy)
    assert len(corrupted) == 8
    assert all(0 <= each.error <= 1 for each in found.calibration)
    assert any(line.startswith("robustness 12 slices") for line in told)


def _own(made: Run) -> dict[str, tuple[int, int]]:
    """Return the widths of the layer that each group is named after."""
    widths = {each.layer: (each.before, each.after) for each in made.layers}
    return {each.name: widths[each.name] for each in made.groups if each.name in widths}


def test_the_artifacts_are_whole_and_score_the_photos(done, photos, tmp_path):
    _, out, _ = done
    artifact = Artifact.open(out / "artifact")
    assert artifact.manifest.parity.max_difference < 1e-3
    assert artifact.manifest.metrics["accuracy"] is not None
    tally = score(artifact, photos / "photos", tmp_path / "scored")
    assert (tally.rows, tally.quarantined) == (120, 0)
    table = scores(tmp_path / "scored")
    truth = [Path(source).parent.name for source in table.source]
    assert np.mean(table.prediction == truth) > 0.6


def test_the_model_that_came_out_is_a_plain_keras_model(done, tmp_path):
    _, out, _ = done
    x = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1)).astype("uint8")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys; sys.modules['secateur'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(out / 'model.keras')!r}, safe_mode=True)\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r})\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, keras.ops.convert_to_numpy(model(x)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    ours = Predictor(out / "artifact").predict(x)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), ours, atol=1e-4)


def test_a_folder_with_a_run_is_not_written_over(done, photos):
    _, out, _ = done
    before = (out / "run.json").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        run(recipe(photos), out)
    with pytest.raises(OutputError, match="another recipe"):
        run(recipe(photos, seed=1), out, resume=True)
    assert (out / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    "broken",
    ["fit", "export", *(pytest.param(late, marks=pytest.mark.long) for late in ("save", "race"))],
)
def test_a_run_that_broke_off_goes_on_to_the_same_result(
    broken, done, photos, tmp_path, monkeypatch
):
    whole, out, _ = done
    home = {
        "fit": "secateur.steps.finetune.fit",
        "save": "secateur.job.folder.RunFolder.save",
        "export": "secateur.job.run.export",
        "race": "secateur.job.run.race",
    }[broken]

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(home, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(photos), tmp_path / "out")
    told = []
    made = run(recipe(photos), tmp_path / "out", resume=True, progress=told.append)
    assert ("baseline   done before" in told) == (broken != "save")
    for one, two in zip(made.stages, whole.stages, strict=True):
        assert (one.name, one.metrics, one.macs) == (two.name, two.metrics, two.macs)
    first, second = load_model(out / "model.keras"), load_model(tmp_path / "out" / "model.keras")
    for left, right in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_data_that_changed_is_not_gone_on_with(photos, tmp_path):
    import shutil

    shutil.copytree(photos / "photos", tmp_path / "photos")
    asked = {"train": {"epochs": 1}, "steps": [], "model": {"width": 8}}
    run(recipe(tmp_path, **asked), tmp_path / "out")
    next((tmp_path / "photos" / "down").iterdir()).unlink()
    with pytest.raises(OutputError, match="data has changed"):
        run(recipe(tmp_path, **asked), tmp_path / "out", resume=True)


def test_what_loading_mended_is_in_the_record_and_told(tmp_path):
    layer = entry("Dense", name="d", units=1, activation="linear", batch_input_shape=[None, 2])
    weights = [array(2, 1), np.zeros(1, "float32")]
    write(tmp_path / "old.h5", sequential(layer), {"d": weights})
    x = np.random.default_rng(0).normal(size=(60, 2))
    rows = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sum": x.sum(axis=1)})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    told = []
    made = run(
        Recipe.of(
            {
                "name": "old",
                "data": {"source": "rows.csv", "target": "sum"},
                "model": {"load": "old.h5"},
                "measure": {"batches": [1], "seconds": 0.1},
            },
            tmp_path,
        ),
        tmp_path / "out",
        progress=told.append,
    )
    (note,) = [each for each in made.notes if each.startswith("old.h5: written by Keras 2.4.0")]
    assert f"loaded     {note}" in told


def test_a_loaded_model_is_measured_as_it_is_and_says_how_large_photos_are(done, photos, tmp_path):
    _, out, _ = done
    loaded = {"load": str(out / "baseline.keras")}
    data = {"source": "photos"}
    told = []
    made = run(
        recipe(photos, model=loaded, data=data, steps=[], train=None),
        tmp_path / "out",
        progress=told.append,
    )
    assert made.stages[0].metrics == done[0].stages[0].metrics
    assert not made.curves
    assert [each.name for each in made.stages] == ["baseline", "exported"]


def test_a_model_near_chance_is_warned_of(photos, tmp_path):
    inputs = keras.Input((16, 16, 1), name="image")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(inputs))
    keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x)).save(tmp_path / "m.keras")
    told = []
    made = run(
        recipe(photos, model={"load": str(tmp_path / "m.keras")}, steps=[], train=None),
        tmp_path / "out",
        progress=told.append,
    )
    assert "near chance" in made.warnings[0]
    assert any(line.startswith("warning") for line in told)


def test_a_table_with_all_kinds_of_columns_runs_and_scores(tmp_path):
    random = np.random.default_rng(0)
    rows = 400
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "size": random.normal(10, 3, rows),
            "colour": random.choice(["red", "green", "blue"], rows),
            "open": random.random(rows) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, rows), "D"),
        }
    )
    frame["price"] = 100 + 30 * (frame["size"] - 10) + 40 * (frame.colour == "red")
    frame.loc[::17, "size"] = np.nan
    frame.to_parquet(tmp_path / "shop.parquet")
    asked = {
        "name": "shop",
        "data": {"source": "shop.parquet", "target": "price", "keys": ["id"]},
        "model": {"width": 32},
        "train": {"epochs": 30, "learning_rate": 0.01},
        "steps": [{"prune": {"params": 0.6, "by": "l2"}}, {"finetune": {"epochs": 5}}],
        "measure": {"batches": [1], "seconds": 0.1, "groups": ["colour", "size"]},
    }
    made = run(Recipe.of(asked, tmp_path), tmp_path / "out")
    assert made.stages[0].metrics.r2 > 0.5
    colours = made.robustness.groups["colour"]
    assert {each.name for each in colours} == {"red", "green", "blue"}
    mae = sum(each.rows * each.after for each in colours) / sum(each.rows for each in colours)
    assert mae == pytest.approx(made.stages[-1].metrics.mae, rel=1e-3)
    assert len(made.robustness.groups["size"]) == 5
    assert made.stages[-1].metrics.task == "regression"
    assert made.samples[0].fields["colour"] in ("red", "green", "blue")
    tally = score(tmp_path / "out" / "artifact", tmp_path / "shop.parquet", tmp_path / "scored")
    assert (tally.rows, tally.scored) == (rows, rows)
    assert set(scores(tmp_path / "scored").columns) >= {"id", "row", "prediction"}


def test_a_function_of_the_users_own_builds_the_model(photos, tmp_path):
    (photos / "own_build.py").write_text(
        "import keras\n"
        "def make(contract):\n"
        "    (name, (shape, dtype)), = contract.inputs().items()\n"
        "    inputs = keras.Input(shape, dtype=dtype, name=name)\n"
        "    x = keras.layers.Flatten()(inputs)\n"
        "    return keras.Model(inputs, keras.layers.Dense(3, activation='softmax')(x))\n"
        "def wrong(contract):\n"
        "    return 'no model'\n"
    )
    asked = {"steps": [], "train": {"epochs": 1}}
    made = run(recipe(photos, model={"build": "own_build:make"}, **asked), tmp_path / "out")
    assert made.stages[0].parameters == 16 * 16 * 3 + 3
    with pytest.raises(ModelError, match="gave a str"):
        run(recipe(photos, model={"build": "own_build:wrong"}, **asked), tmp_path / "out2")
    assert not (tmp_path / "out2").exists()


def test_a_group_that_is_not_there_is_told_before_any_training(photos, tmp_path):
    asked = {"measure": {"groups": ["nobody"]}, "train": {"epochs": 1}}
    with pytest.raises(DataError, match="matches none"):
        run(recipe(photos, **asked), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_without_a_target_is_asked_for_one(tmp_path):
    pd.DataFrame({"a": range(20), "b": range(20)}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="no target"):
        run(Recipe.of({"name": "t", "data": {"source": "t.csv"}}, tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_state_of_a_run_is_plain_json(done):
    _, out, _ = done
    told = json.loads((out / "state.json").read_text())
    assert told["format"] == 1
    assert {"baseline", "step 1", "step 2"} <= set(told["facts"])
