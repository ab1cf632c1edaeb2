"""A comparison in pieces: one contender, the processes, the timing; whole it is in e2e."""

import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from secateur.cost.memory import peak_memory
from secateur.errors import ModelError, OutputError
from secateur.formats.int8 import operators
from secateur.formats.onnx import to_onnx
from secateur.job import contender, processes, timing
from secateur.job.contender import ORDER, OUTCOME, Order, Outcome, compete, main, outcome_of
from secateur.job.folder import RunFolder
from secateur.job.processes import carry_out
from secateur.job.start import Start
from secateur.recipe.contenders import contenders
from secateur.recipe.recipe import Recipe
from secateur.recipe.sections import MeasureSection
from secateur.reporting.comparison import Trial, Written
from secateur.steps.finetune import FineTune

RECIPE = {
    "name": "shades",
    "data": {"source": "photos", "image_size": [8, 8], "mode": "L", "split": [0.5, 0.25, 0.25]},
    "model": {"width": 16},
    "train": {"epochs": 1},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Write photos and a baseline, and return the folder of both."""
    folder = tmp_path_factory.mktemp("compare")
    random = np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 190)):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(40):
            pixels = random.normal(shade, 20, (8, 8)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / "photos" / name / f"{index}.png")
    recipe = Recipe.of(RECIPE, folder)
    Start(recipe, RunFolder(folder / "out", recipe), print, verbose=False).begin()
    return folder


def order(home, name, *entries, **more) -> Order:
    given = {
        "name": name,
        "seed": 0,
        "entries": entries,
        "runtimes": ("onnxruntime",),
        "out": str(home / "out"),
        "recipe": RECIPE,
        "home": str(home),
        **more,
    }
    return Order(**given)


def test_a_contender_is_measured_by_its_file(home):
    asked = order(
        home, "half", {"prune": {"macs": 0.5, "round_to": 4}}, {"finetune": {"epochs": 2}}
    )
    base = compete(order(home, "baseline"))
    trial = compete(asked)
    assert trial.macs <= 0.5 * base.macs
    assert (base.epochs, trial.epochs) == (0, 2)
    (file,) = trial.written
    assert file.metrics.rows == 20
    assert file.bytes == (home / "out" / file.file).stat().st_size < base.written[0].bytes
    model = keras.models.load_model(asked.folder / "model.keras")
    assert (
        model.count_params() < keras.models.load_model(home / "out/baseline.keras").count_params()
    )
    assert any("prune" in note for note in trial.notes)


def test_int8_of_an_lstm_pays_with_ranges_found_at_each_call(home):
    i = keras.Input((8, 8, 1))
    x = layers.LSTM(64)(layers.Reshape((8, 8))(i))
    keras.Model(i, layers.Dense(2, "softmax")(x)).save(home / "lstm.keras")
    tree = {**RECIPE, "model": {"load": "lstm.keras"}}
    tree["compare"] = {"epochs": 1, "contenders": {"int8": None, "int8-dynamic": None}}
    recipe = Recipe.of(tree, home)
    out = home / "recurrent"
    Start(recipe.start, RunFolder(out, recipe.start), print, verbose=False).begin()
    trials = {}
    for each in contenders(recipe):
        asked = order(home, each.name, *each.entries, recipe=tree, out=str(out))
        trials[each.name] = compete(asked).written[0]
    static, dynamic = trials["int8"], trials["int8-dynamic"]
    assert not operators(out / static.file).get("DynamicQuantizeLSTM")
    assert operators(out / dynamic.file)["DynamicQuantizeLSTM"] == 1
    assert dynamic.bytes < 0.4 * static.bytes
    assert dynamic.metrics.rows == static.metrics.rows == 20


def test_the_seed_is_that_of_the_steps(home):
    entries = ({"finetune": {"epochs": 1}},)
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        asked = order(home, name, *entries, seed=seed)
        compete(asked)
        model = keras.models.load_model(asked.folder / "model.keras")
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_a_runtime_that_fails_is_told_and_the_others_are_kept(home, monkeypatch):
    def refuse(model, runtime, folder, quantization, write=contender.write_for):
        if runtime == "litert":
            raise ModelError("no such operation.", where="lstm", mend="Use ONNX Runtime.")
        return write(model, runtime, folder, quantization)

    monkeypatch.setattr(contender, "write_for", refuse)
    trial = compete(order(home, "partly", runtimes=("litert", "onnxruntime")))
    bad, good = trial.written
    assert bad.failure == "lstm: no such operation. Use ONNX Runtime."
    assert good.metrics is not None
    assert trial.on("litert") is None


def test_a_checkpoint_of_another_training_is_left_behind(home, monkeypatch):
    asked = order(home, "again", {"finetune": {"epochs": 1}})
    (asked.folder / "checkpoints").mkdir(parents=True)
    calls = []

    tune = FineTune.__call__

    def once(self, *given, **more):
        calls.append(self.checkpoint)
        if len(calls) == 1:
            raise OutputError("the saved state belongs to another training.")
        return tune(self, *given, **more)

    monkeypatch.setattr(FineTune, "__call__", once)
    assert compete(asked).epochs == 1
    assert len(calls) == 2
    assert calls[0].startswith(str(asked.folder))


def in_this_process(asked: Order, monkeypatch) -> Trial:
    monkeypatch.setattr(contender, "_leave_with_parent", lambda: None)
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / ORDER).write_text(asked.model_dump_json())
    main(str(asked.folder))
    return outcome_of(asked)


def test_what_goes_wrong_is_the_outcome(home, monkeypatch, capsys):
    keep = {"prune": {"macs": 0.5, "keep": ["nothing*"]}}
    assert "matches no layer" in in_this_process(order(home, "bad", keep), monkeypatch).failure
    monkeypatch.setattr(contender, "_stepped", lambda *given: 1 / 0)
    trial = in_this_process(order(home, "defect", {"finetune": {}}), monkeypatch)
    assert trial.failure == "ZeroDivisionError: division by zero"
    assert "Traceback" in capsys.readouterr().err


def test_an_outcome_belongs_to_its_order(home, tmp_path):
    asked = order(home, "one", {"finetune": {"epochs": 1}}, out=str(tmp_path))
    assert outcome_of(asked) is None
    asked.folder.mkdir(parents=True)
    made = Outcome(identity=asked.identity, trial=Trial(seed=0, folder="x"))
    (asked.folder / OUTCOME).write_text(made.model_dump_json())
    assert outcome_of(asked) == made.trial
    assert outcome_of(asked.model_copy(update={"home": "elsewhere"})) == made.trial
    changed = order(home, "one", {"finetune": {"epochs": 2}}, out=str(tmp_path))
    assert outcome_of(changed) is None


# What a process does in the tests below, instead of competing: by the name of its order.
PROGRAM = """
import json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
order = json.loads((folder / "order.json").read_text())
kind = order["name"].rstrip("0123456789")
if kind == "dies":
    os.kill(os.getpid(), 9)
time.sleep(0.3)
failure = "as asked" if kind == "fails" else ""
trial = {"seed": order["seed"], "folder": "x", "failure": failure, "epochs": os.getpid()}
text = json.dumps({"identity": order["modules"][0], "trial": trial})
(folder / "outcome.json").write_text(text)
"""


@pytest.fixture
def stand_in(monkeypatch):
    """Let processes run the program above; return the times at which they started."""
    started = []

    def popen(words, **more):
        started.append(time.monotonic())
        return subprocess.Popen([sys.executable, "-c", PROGRAM, words[-1]], **more)

    class Module:
        PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT
        Popen = staticmethod(popen)

    monkeypatch.setattr(processes, "subprocess", Module)
    return started


def asked_of(tmp_path, *names) -> list[Order]:
    made = []
    for name in names:
        one = order(tmp_path, name)
        made.append(one.model_copy(update={"modules": (one.identity,)}))
    return made


def test_processes_stop_one_another_never(tmp_path, stand_in):
    told = []
    orders = asked_of(tmp_path, "works1", "fails", "dies", "works2")
    found = carry_out(orders, 2, lambda order, trial: told.append(order.name))
    assert list(found) == ["works1", "fails", "dies", "works2"]
    assert not found["works1"][0].failure
    assert found["fails"][0].failure == "as asked"
    assert "ended by SIGKILL" in found["dies"][0].failure
    assert "log.txt" in found["dies"][0].failure
    assert sorted(told) == sorted(found)
    pids = {found[name][0].epochs for name in ("works1", "works2")}
    assert len(pids) == 2


def test_what_is_finished_is_not_done_again_and_what_failed_is(tmp_path, stand_in):
    orders = asked_of(tmp_path, "works1", "fails", "works2")
    first = carry_out(orders, 3, lambda order, trial: None)
    assert len(stand_in) == 3
    again = carry_out(orders, 3, lambda order, trial: None)
    assert len(stand_in) == 4
    assert again["works1"] == first["works1"]
    assert again["fails"][0].epochs != first["fails"][0].epochs


def test_an_interrupt_ends_the_processes(tmp_path, stand_in, monkeypatch):
    def interrupt(order, trial):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(asked_of(tmp_path, "works1", "works2", "works3"), 2, interrupt)
    assert len(stand_in) == 2


def dense(units: int, path) -> None:
    inputs = keras.Input((32,))
    x = layers.Dense(units, activation="relu")(inputs)
    to_onnx(keras.Model(inputs, layers.Dense(2)(x)), path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    dense(2048, folder / "large.onnx")
    dense(8, folder / "small.onnx")
    (folder / "bad.onnx").write_bytes(b"no model")
    return folder


def trial_of(*files) -> Trial:
    made = tuple(Written(runtime="onnxruntime", file=file) for file in files)
    return Trial(seed=0, folder="x", written=made)


def test_files_are_timed_against_the_baseline_and_not_twice(exported, monkeypatch):
    recipe = Recipe.of(RECIPE, exported)
    folder = _folder(exported, recipe)
    asked = MeasureSection(batches=(1, 64), seconds=0.1)
    trials = {
        "baseline": [trial_of("large.onnx")],
        "small": [trial_of("small.onnx"), Trial(seed=1, folder="y", failure="it failed")],
        "bad": [trial_of("bad.onnx")],
    }
    said = []
    found = timing.measured(trials, "baseline", ["onnxruntime"], asked, folder, said.append)
    base, small = found["baseline"][0].written[0], found["small"][0].written[0]
    assert [each.batch for each in small.timings] == [1, 64]
    assert [each.left for each in base.timings] == [1.0, 1.0]
    assert all(each.left < 1 for each in small.timings)
    assert base.memory > 0
    assert found["small"][1].failure == "it failed"
    assert "cannot open" in found["bad"][0].written[0].failure
    assert trials["small"][0].written[0].timings == ()

    def never(*given, **more):
        raise AssertionError("measured twice")

    monkeypatch.setattr(timing, "race_apart", never)
    monkeypatch.setattr(timing, "peak_memory", never)
    again = timing.measured(trials, "baseline", ["onnxruntime"], asked, folder, said.append)
    assert again == found


def _folder(path, recipe) -> RunFolder:
    made = RunFolder(path / "out", recipe)
    made.begin("data")
    for name in ("large.onnx", "small.onnx", "bad.onnx"):
        (path / "out" / name).write_bytes((path / name).read_bytes())
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process its peak")
def test_memory_grows_with_the_model_and_a_bad_file_is_told(exported):
    small = peak_memory(exported / "small.onnx", batch=1)
    dense(200_000, exported / "huge.onnx")
    huge = peak_memory(exported / "huge.onnx", batch=1)
    assert huge - small > 200_000 * 34 * 4 * 0.9
    with pytest.raises(ModelError, match="was not measured"):
        peak_memory(exported / "bad.onnx")


def test_an_order_survives_its_file(home):
    asked = order(home, "one", {"prune": {"macs": 0.5}})
    again = Order.model_validate(json.loads(asked.model_dump_json()))
    assert again.identity == asked.identity
