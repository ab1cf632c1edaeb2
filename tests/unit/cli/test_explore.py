import json
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from secateur.cli import main

RECIPE = """\
name: late
data: {source: table.csv, target: late, split: [0.5, 0.25, 0.25]}
model: {load: model.keras}
steps:
  - prune: {macs: {low: 0.3, high: 0.9}, by: {any: [l2, l1]}, round_to: 1, samples: 32}
explore: {objectives: [accuracy, macs], trials: 3}
"""


@pytest.fixture
def secateur(capfd, monkeypatch, tmp_path):
    """Return a function that runs a command in a folder with data and a model."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=80), "b": random.normal(size=80)})
    frame["late"] = np.where(frame.a > 0, "yes", "no")
    frame.to_csv("table.csv", index=False)
    keras.utils.set_random_seed(0)
    x = i = keras.Input((2,), name="numeric")
    for _ in range(2):
        x = layers.Dense(16, "relu")(x)
    keras.Model(i, layers.Dense(2, "softmax")(x), name="small").save("model.keras")
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def run(*words):
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        told = capfd.readouterr()
        return caught.value.code or 0, told.out, told.err

    return run


def trials_of(tmp_path):
    return json.loads((tmp_path / "out" / "trials.json").read_text())["trials"]


def test_explore_shows_the_front_keeps_it_and_goes_on(secateur, tmp_path):
    code, out, err = secateur("explore", "recipe.yaml", "--trials", 2, "--out", "out")
    assert code == 0, err
    assert "trial 2/2" in err
    assert "prune.macs" in out
    first = trials_of(tmp_path)
    code, out, err = secateur("explore", "recipe.yaml", "--out", "out")
    assert code == 0, err
    assert "trial 3/3" in err
    assert "trial 2/3" not in err
    assert "done before" in err
    trials = trials_of(tmp_path)
    assert [each["settings"] for each in trials[:2]] == [each["settings"] for each in first]
    assert len(trials) == 3
    kept = {each["model"] for each in trials if "model" in each}
    assert kept == {f"front/{path.name}" for path in (tmp_path / "out" / "front").iterdir()}
    assert f"{len(kept)} of 3 trials" in out
    for name in kept:
        keras.models.load_model(tmp_path / "out" / name, safe_mode=True)


def error_of(err):
    (line,) = [each for each in err.splitlines() if each.startswith("error: ")]
    assert "Traceback" not in err
    return line


def test_run_takes_no_ranges(secateur, tmp_path):
    code, _, err = secateur("run", "recipe.yaml", "--out", "out")
    assert code == 2
    assert "line 5, steps[0].prune.macs" in error_of(err)
    assert "secateur explore" in error_of(err)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_explored_is_refused(secateur, tmp_path, monkeypatch):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.replace("[accuracy, macs]", "[flops]"))
    assert "no objective 'flops'" in error_of(secateur("explore", recipe, "--out", "out")[2])
    recipe.write_text(
        RECIPE.replace("{low: 0.3, high: 0.9}", "0.5").replace("{any: [l2, l1]}", "l2")
    )
    assert "nothing to choose" in error_of(secateur("explore", recipe, "--out", "out")[2])
    recipe.write_text(RECIPE.replace("low: 0.3, high: 0.9", "low: 0.0001, high: 0.0002"))
    code, _, err = secateur("explore", recipe, "--out", "out")
    assert code == 2
    assert "all 3 trials were refused" in error_of(err)
    assert [each["state"] for each in trials_of(tmp_path)] == ["refused"] * 3
    recipe.write_text(RECIPE)
    assert "another recipe" in error_of(secateur("explore", recipe, "--out", "out")[2])
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "secateur[search]" in error_of(secateur("explore", recipe, "--out", "new")[2])
