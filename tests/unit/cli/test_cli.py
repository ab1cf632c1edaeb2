"""Every command on small real files, in this process: what it prints, writes and leaves with."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image

from secateur.cli.messages import message_for
from secateur.errors import DataError, ModelError, TooManyBadRowsError
from unit.cli.commands import RECIPE, one_line


@pytest.fixture
def table(tmp_path) -> Path:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(60), "a": random.normal(size=60), "b": list("xyz") * 20})
    frame["late"] = np.where(frame.a > 0, "yes", "no")
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def test_version_and_help_name_the_product(secateur):
    assert secateur("--version")[1] == "secateur 0.1.0\n"
    code, told, _ = secateur("--help")
    assert code == 0
    verbs = ("init", "run", "inspect", "plan", "export", "score", "report", "try", "doctor", "demo")
    for verb in verbs:
        assert f"  {verb} " in told
        assert secateur(verb, "--help")[0] == 0


@pytest.mark.parametrize("words", [("nope",), ("run",), ("run", "a", "--nope"), ("score", "a")])
def test_a_usage_error_leaves_with_2(words, secateur):
    assert secateur(*words)[0] == 2


def test_init_writes_a_recipe_that_loads(secateur, photos, tmp_path):
    from secateur.recipe.recipe import Recipe

    code, told, err = secateur("init", photos, "--out", tmp_path / "recipe.yaml")
    assert code == 0
    assert "secateur run" in told
    assert "dark (10)" in err or "dark (9)" in err
    recipe = Recipe.load(tmp_path / "recipe.yaml")
    assert recipe.source == tmp_path / "photos"
    assert (recipe.data.image_size, recipe.data.mode) == ((8, 8), "L")
    assert secateur("init", photos)[0] == 2
    assert secateur("init", photos, "--force")[0] == 0


def test_init_writes_a_recipe_for_a_table(secateur, table, tmp_path):
    from secateur.recipe.recipe import Recipe

    assert secateur("init", table, "--target", "late")[0] == 0
    text = (tmp_path / "recipe.yaml").read_text()
    assert "a, b" in text
    assert Recipe.load(tmp_path / "recipe.yaml").data.target == "late"


def test_a_table_without_a_header_can_be_read_by_every_command(secateur, tmp_path):
    from secateur.formats.artifact import Artifact
    from secateur.recipe.recipe import Recipe

    x = np.random.default_rng(0).normal(size=(60, 2))
    rows = np.column_stack([np.where(x.sum(axis=1) > 0, 1, 0), x])
    np.savetxt(tmp_path / "bare.csv", rows, delimiter=",", fmt="%g")
    assert secateur("init", "bare.csv", "--target", "0", "--no-header")[0] == 0
    assert not Recipe.load(tmp_path / "recipe.yaml").data.header
    inputs = keras.Input((2,))
    hidden = layers.Dense(16, activation="relu")(inputs)
    keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden)).save("two.keras")
    data = ("--data", "bare.csv", "--target", "0", "--no-header")
    assert secateur("plan", "two.keras", "--ratio", "0.5", "--by", "taylor", *data)[0] == 0
    assert secateur("export", "two.keras", "made", *data)[0] == 0
    assert not Artifact.open(tmp_path / "made").contract.header
    assert "60 scored" in secateur("score", "made", "bare.csv", "scored")[1]


def test_init_asks_for_the_target_with_the_columns(secateur, table, tmp_path):
    code, _, err = secateur("init", table)
    assert code == 2
    assert "late" in one_line(err)
    assert not (tmp_path / "recipe.yaml").exists()


def test_inspect_tells_what_can_be_cut_and_why_not(secateur, model):
    code, told, _ = secateur("inspect", model, "--batch", "1")
    assert code == 0
    assert "conv2" in told
    assert "softmax over its units" in told
    assert "batch 1: " in told
    code, told, _ = secateur("inspect", model, "--no-latency", "--json")
    found = json.loads(told)
    assert found["cost"]["parameters"] == 160 + 2320 + 34
    assert sum(each["macs"] for each in found["layers"]) == found["cost"]["macs"]
    assert {each["kind"] for each in found["groups"]} == {"channel"}


def test_inspect_measures_how_much_each_group_matters(secateur, model, photos):
    random = np.random.default_rng(1)
    for index in range(32):
        pixels = random.integers(0, 256, (8, 8), dtype="uint8")
        Image.fromarray(pixels).save(photos / ("dark", "light")[index % 2] / f"more{index}.png")
    code, told, _ = secateur(
        "inspect", model, "--no-latency", "--sensitivity", "--data", photos, "--samples", "40"
    )
    assert code == 0
    assert "loss as cut" in told
    asked = ("inspect", model, "--no-latency", "--sensitivity", "--data", photos, "--json")
    found = [
        json.loads(secateur(*asked, *more)[1])["sensitivity"]
        for more in ((), ("--by", "activation", "--round-to", "1"))
    ]
    assert [[each["removed"] for each in curves] for curves in found] == [
        [[8], [8]][: len(found[0])],
        [[4, 8, 12], [4, 8, 12]][: len(found[1])],
    ]
    code, _, err = secateur(*asked, "--by", "l7")
    assert (code, "no criterion 'l7'" in one_line(err)) == (2, True)
    code, _, err = secateur("inspect", model, "--sensitivity")
    assert code == 2
    assert "--data" in one_line(err)


def test_plan_changes_nothing_and_can_be_kept(secateur, model, tmp_path):
    before = model.read_bytes()
    code, told, _ = secateur("plan", model, "--macs", "0.6", "--out", "plans/plan.json")
    assert code == 0
    assert "16 -> 8" in told
    assert model.read_bytes() == before
    code, told, _ = secateur("plan", model, "--macs", "0.6", "--json")
    assert json.loads(told) == json.loads((tmp_path / "plans" / "plan.json").read_text())
    assert secateur("plan", model, "--macs", "0.6", "--kinds", "channel")[0] == 0
    code, _, err = secateur("plan", model, "--macs", "0.6", "--floor", "0.9")
    assert (code, "smallest allowed width" in one_line(err)) == (2, True)
    code, _, err = secateur("plan", model, "--macs", "0.6", "--floor", "2")
    assert (code, "floor must be a share" in one_line(err)) == (2, True)
    code, _, err = secateur("plan", model, "--macs", "0.6", "--kinds", "channel, block")
    assert code == 2
    assert "no unit of kind 'block'" in one_line(err)


def test_plan_by_taylor_looks_at_data(secateur, model, photos):
    code, told, _ = secateur("plan", model, "--macs", "0.6", "--by", "taylor", "--data", photos)
    assert code == 0
    assert "by taylor" in told
    code, _, err = secateur("plan", model, "--macs", "0.6", "--by", "taylor")
    assert code == 2
    assert "--data" in one_line(err)


def test_export_then_score_then_the_tally_adds_up(secateur, model, photos, tmp_path):
    code, told, _ = secateur("export", model, "artifact", "--data", photos)
    assert code == 0
    assert "from the Keras model" in told
    (photos / "dark" / "broken.png").write_bytes(b"no picture")
    code, told, _ = secateur("score", "artifact", photos, "scored", "--json")
    assert code == 0
    tally = json.loads(told)
    assert (tally["rows"], tally["scored"], tally["quarantined"]) == (33, 32, 1)
    code, told, _ = secateur("score", "artifact", photos, "scored")
    assert "33 rows: 32 scored, 1 quarantined" in told
    assert "quarantine" in told
    code, _, err = secateur("score", "artifact", photos, "strict", "--max-bad", "1%")
    assert code == 3
    assert "quarantine" in one_line(err)


def test_export_without_a_contract_says_what_it_cannot_do(secateur, model):
    code, told, _ = secateur("export", model, "artifact")
    assert code == 0
    assert "cannot score raw data" in told
    code, _, err = secateur("score", "artifact", ".", "scored")
    assert code == 2
    assert "contract" in one_line(err)


def test_score_does_not_start_tensorflow(secateur, model, photos, tmp_path):
    assert secateur("export", model, "artifact", "--data", photos)[0] == 0
    program = (
        "import sys\n"
        "from secateur.cli import main\n"
        "try:\n    main(['score', 'artifact', 'photos', 'scored'])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


BAD = {
    "a recipe that is not there": (("run", "none.yaml"), "secateur init"),
    "an empty recipe": (("run", "empty.yaml"), "empty"),
    "a key that does not exist": (("run", "recipe.yaml", "--set", "train.epoch=2"), "'epochs'"),
    "data that is not there": (("run", "recipe.yaml", "--data", "none"), "no such file or folder"),
    "an empty file": (("run", "recipe.yaml", "--data", "empty.csv"), "empty"),
    "an empty folder": (("run", "recipe.yaml", "--data", "hollow"), "hollow"),
    "a column that is not there": (
        ("run", "table.yaml", "--set", "data.target=lat"),
        "late",
    ),
    "a target with one class": (("run", "table.yaml", "--set", "data.target=one"), "one"),
    "a budget out of range": (
        ("run", "recipe.yaml", "--set", "steps=[{prune: {macs: 1.5}}]"),
        "between 0 and 1",
    ),
    "a budget out of range in a plan": (("plan", "model.keras", "--macs", "0"), "between 0 and 1"),
    "a model that is not there": (
        ("run", "recipe.yaml", "--set", "model={load: x.keras}"),
        "x.kera",
    ),
    "a model that does not fit": (
        ("run", "recipe.yaml", "--set", "model={load: model.keras}", "--set", "data.mode=RGB"),
        "model.keras: the model takes samples of shape (8, 8, 1), the data gives (8, 8, 3)",
    ),
    "a folder that exists": (("run", "recipe.yaml", "--out", "photos"), "--resume"),
    "a folder that is no run": (("run", "recipe.yaml", "--out", "photos", "--resume"), "--out"),
    "an artifact that exists": (("export", "model.keras", "photos"), "another folder"),
    "a damaged model": (("inspect", "damaged.keras"), "damaged.keras"),
    "a file that is no model": (("inspect", "recipe.yaml"), ".keras"),
    "a folder that is no artifact": (("score", "photos", "photos", "scored"), "manifest"),
    "a run that is none": (("report", "photos"), "run.json"),
    "runs that are none": (("report", "photos", "hollow"), "run.json"),
    "nothing to try": (("try", "photos", "--no-browser"), "manifest"),
    "a layer that is not there": (("export", "model.keras", "made", "--features", "x"), "no layer"),
    "photos that cannot be read": (("run", "recipe.yaml", "--data", "unreadable"), "unreadable"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_one_clear_line_and_leaves_nothing(bad, secateur, photos, model, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "table.yaml").write_text("name: t\ndata: {source: t.csv, target: late}\n")
    rows = [f"{i},{i % 7},{'yes' if i % 2 else 'no'},same" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["id,a,late,one", *rows]))
    for name in ("empty.yaml", "empty.csv"):
        (tmp_path / name).touch()
    (tmp_path / "damaged.keras").write_bytes(model.read_bytes()[:500])
    (tmp_path / "hollow").mkdir()
    for name in ("a", "b"):
        (tmp_path / "unreadable" / name).mkdir(parents=True)
        (tmp_path / "unreadable" / name / "1.png").write_bytes(b"no picture")
    before = sorted(tmp_path.rglob("*"))
    words, told = BAD[bad]
    code, out, err = secateur(*words)
    assert code == 2
    assert told in one_line(err), err
    assert not out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_is_too_long_is_one_clear_line(secateur, table, tmp_path):
    name = tmp_path / ("x" * 300)
    for words in (
        ("inspect", name),
        ("check", table, "--contract", name),
        ("score", name, table, tmp_path / "out"),
        ("init", name, "--target", "late"),
    ):
        code, _, told = secateur(*words)
        assert (code, "File name too long" in one_line(told)) == (2, True)


def test_a_disk_that_fills_up_is_one_clear_line(secateur, photos, tmp_path, monkeypatch):
    import errno

    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    code, _, err = secateur("run", "recipe.yaml", "--out", "out")
    assert code == 2
    assert "disk is full" in one_line(err)
    assert "--resume" in one_line(err)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert not list((tmp_path / "out").rglob("*partial*"))
    assert secateur("run", "recipe.yaml", "--out", "out", "--resume", "--quiet")[0] == 0


def test_an_artifact_that_finds_no_room_is_named_and_leaves_nothing(
    secateur, model, tmp_path, monkeypatch
):
    import errno

    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = secateur("export", model, "made")
    assert code == 2
    assert one_line(err).startswith("error: made: the model cannot be written (No space left")
    assert sorted(tmp_path.iterdir()) == [model]


def test_an_interrupted_run_tells_how_to_go_on(secateur, photos, tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("secateur.job.start.evaluate", interrupt)
    code, _, err = secateur("run", "recipe.yaml", "--out", "out", "--set", "seed=3")
    assert code == 130
    assert "secateur run recipe.yaml --out out --set seed=3 --resume" in one_line(err)


def test_the_table_of_errors_knows_the_users_mistakes_alone():
    message = message_for(DataError("what.", where="here", mend="Mend."))
    assert message == ("here: what.", "Mend.", 2)
    assert message_for(TooManyBadRowsError("x")).code == 3
    assert message_for(KeyboardInterrupt()).code == 130
    assert message_for(ModuleNotFoundError(name="tensorflow")).mend.endswith("[tensorflow]'`.")
    assert message_for(ModuleNotFoundError(name="else")) is None
    assert message_for(ValueError("a defect")) is None


def test_a_module_of_ones_own_is_imported(secateur, tmp_path):
    (tmp_path / "my_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Doubled(keras.layers.Dense):\n"
        "    def call(self, x):\n"
        "        return 2 * super().call(x)\n"
    )
    program = (
        "import keras, my_layers\n"
        "x = i = keras.Input((6,))\n"
        "x = my_layers.Doubled(16, name='doubled')(x)\n"
        "keras.Model(i, keras.layers.Dense(2)(x)).save('model.keras')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    code, told, _ = secateur("--import", "my_layers", "inspect", "model.keras", "--no-latency")
    assert code == 0
    assert "doubled" in told
    code, _, errors = secateur("--import", "no_such_module", "inspect", "model.keras")
    assert code == ModelError.exit_code
    assert "no_such_module: the module cannot be imported" in errors
