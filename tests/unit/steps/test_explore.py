import logging
import subprocess
import sys
from dataclasses import dataclass, replace

import keras
import numpy as np
import optuna
import pytest

from secateur.errors import (
    BudgetError,
    DataError,
    MissingExtraError,
    ModelError,
    OutputError,
    PlanError,
)
from secateur.evaluation.evaluate import evaluate
from secateur.formats.fake import fake_quantized
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.steps.explore import explore
from secateur.steps.explored import Explored, Tried
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.quantize import Quantize
from unit.steps import exploring
from unit.steps.exploring import build, made_data, made_model
from zoo import writes_files


@pytest.fixture(scope="module")
def data():
    return made_data()


@pytest.fixture(scope="module")
def model():
    return made_model()


def plain(explored):
    """Return what does not depend on the clock."""
    return [replace(each, seconds=0.0) for each in explored.trials]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_trials_are_judged_on_validation_rows_and_the_input_stays(model, data):
    before = [to_numpy(weight).copy() for weight in model.weights]
    found = explore(model, data, build, trials=5)
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, to_numpy(weight))
    assert [each.number for each in found.trials] == [1, 2, 3, 4, 5]
    assert found.whole["macs"] == trace(model).macs()
    assert found.whole["accuracy"] == evaluate(model, data.validation).accuracy
    for each in found.trials:
        assert each.state == "done"
        assert each.steps == (repr(Prune(round_to=1, heal=False, **each.settings)),)
        assert 0.1 < each.values["macs"] / found.whole["macs"] <= each.settings["macs"]
    for each in found.front:
        smaller = found.model(each)
        assert trace(smaller).macs() == each.values["macs"]
        assert evaluate(smaller, data.validation).accuracy == each.values["accuracy"]


def test_test_rows_are_not_looked_at(model, data):
    @dataclass(frozen=True)
    class Shut:
        name = "test"
        rows = data.test.rows

        def __getattr__(self, name):
            raise AssertionError(f"the test rows were asked for {name}")

    def with_training(trial):
        return build(trial), FineTune(epochs=1)

    found = explore(model, replace(data, test=Shut()), with_training, trials=2)
    assert len(found.trials) == 2


def test_a_killed_search_goes_on_as_if_nothing_had_been(model, data, tmp_path):
    study = tmp_path / "search.journal"
    command = [sys.executable, exploring.__file__, str(study)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    with study.open("ab") as file:  # a line that was cut short, and a lock that nobody holds
        file.write(b'{"op_code":5,"wor')
    (tmp_path / "search.journal.lock").write_bytes(b"")
    lines = []
    resumed = explore(model, data, build, trials=5, study=study, seed=3, progress=lines.append)
    assert [line.partition(":")[0] for line in lines] == ["trial 3/5", "trial 4/5", "trial 5/5"]
    assert plain(resumed) == plain(explore(model, data, build, trials=5, seed=3))
    assert files(tmp_path / "search") == [
        f"trial-{t.number:04}.keras" for t in sorted(resumed.front, key=lambda t: t.number)
    ]


def test_more_trials_are_those_of_one_long_search(model, data, tmp_path):
    study = tmp_path / "search.journal"
    explore(model, data, build, trials=11, study=study)
    longer = explore(model, data, build, trials=13, study=study)
    assert plain(longer) == plain(explore(model, data, build, trials=13))
    assert len({tuple(each.settings.values()) for each in longer.trials}) > 10
    assert plain(explore(model, data, build, trials=4, study=study)) == plain(longer)


def test_models_of_the_front_alone_are_kept_and_made_anew_where_missing(model, data, tmp_path):
    study = tmp_path / "search.journal"
    found = explore(model, data, build, trials=5, study=study, objectives=("macs",))
    assert files(tmp_path / "search") == [f"trial-{found.best().number:04}.keras"]
    smallest = min(found.trials, key=lambda each: each.values["macs"])
    assert found.best().values == smallest.values
    loaded = keras.models.load_model(next((tmp_path / "search").iterdir()), safe_mode=True)
    assert trace(loaded).macs() == smallest.values["macs"]
    other = next(each for each in found.trials if each not in found.front)
    with pytest.raises(PlanError, match="not on the front"):
        found.model(other)
    next((tmp_path / "search").iterdir()).unlink()
    with pytest.raises(ModelError, match="is gone"):
        found.model(found.best())
    again = explore(model, data, build, trials=5, study=study, objectives=("macs",))
    assert plain(again) == plain(found)
    twin = again.model(again.best())
    for old, new in zip(loaded.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(old), to_numpy(new))


def test_a_refusal_is_recorded_and_the_search_goes_on(model, data, tmp_path):
    def often_too_small(trial):
        share = trial.suggest_categorical("macs", [0.5, 0.001])
        if trial.suggest_float("way", 0, 1) > 0.9:
            raise optuna.TrialPruned("not that way")
        return Prune(macs=share, by="l2", round_to=1, heal=False)

    study = tmp_path / "search.journal"
    found = explore(model, data, often_too_small, trials=6, study=study, seed=1)
    refused = [each for each in found.trials if each.state == "refused"]
    assert 0 < len(refused) < 6
    assert all(each.why and not each.values for each in refused)
    assert any("macs" in each.why and each.settings["macs"] == 0.001 for each in refused)
    assert all(each not in found.front for each in refused)
    assert plain(explore(model, data, often_too_small, trials=6, study=study, seed=1)) == plain(
        found
    )


def test_a_search_of_refusals_has_no_best(model, data):
    found = explore(model, data, lambda trial: Prune(macs=1e-3, by="l2"), trials=2)
    assert found.front == ()
    with pytest.raises(BudgetError, match="all 2 trials were refused"):
        found.best()


def test_the_same_settings_are_not_carried_out_twice(model, data):
    calls = []

    @dataclass(frozen=True)
    class Counted:
        share: float

        def __call__(self, model, data=None):
            calls.append(self.share)
            return Prune(macs=self.share, by="l2", round_to=1, heal=False)(model, data)

    found = explore(
        model, data, lambda t: Counted(t.suggest_categorical("share", [0.4, 0.6])), trials=6
    )
    assert sorted(calls) == [0.4, 0.6]
    assert len(found.trials) == 6
    assert len(found.front) <= 2


def test_a_mistake_in_build_ends_the_search_and_does_not_count(model, data, tmp_path):
    study = tmp_path / "search.journal"

    def mistaken(trial):
        share = trial.suggest_float("macs", 0.2, 0.8)
        step = build(trial)
        if trial.number == 1:
            return Prune(mac=share)
        return step

    with pytest.raises(TypeError, match="mac") as caught:
        explore(model, data, mistaken, trials=4, study=study, seed=5)
    assert "trial 2 of the search" in caught.value.__notes__[0]
    assert plain(explore(model, data, build, trials=4, study=study, seed=5)) == plain(
        explore(model, data, build, trials=4, seed=5)
    )


def test_what_would_refuse_every_trial_ends_the_search(model, data):
    class Missing:
        def __call__(self, model, data=None):
            raise MissingExtraError("it is not installed.")

    with pytest.raises(MissingExtraError):
        explore(model, data, lambda trial: Missing(), trials=3)


@pytest.mark.parametrize("made", [None, (), "prune", Prune, (Prune(macs=0.5), None)])
def test_what_is_no_step_is_refused(made, model, data):
    with pytest.raises(PlanError, match="a step or a tuple of steps"):
        explore(model, data, lambda trial: made, trials=1)


def test_a_study_belongs_to_its_model_data_and_objectives(model, data, tmp_path):
    study = tmp_path / "search.journal"
    explore(model, data, build, trials=1, study=study)
    with pytest.raises(OutputError, match="made for another model"):
        explore(made_model(1), data, build, trials=2, study=study)
    with pytest.raises(OutputError, match="made for other data"):
        explore(model, made_data(1), build, trials=2, study=study)
    with pytest.raises(OutputError, match=r"other objectives \(accuracy, macs; asked for macs\)"):
        explore(model, data, build, trials=2, study=study, objectives=("macs",))
    assert len(explore(model, data, build, trials=1, study=study).trials) == 1


@pytest.mark.parametrize(
    "content",
    [b"not json\n", b'{"a": 1}\n', b'{"op_code": 99}\n', b"\x89PNG\r\n\x1a\n\0\0", b"[]\n"],
)
def test_a_file_that_is_no_study_is_refused_and_left(content, model, data, tmp_path):
    study = tmp_path / "search.journal"
    study.write_bytes(content)
    with pytest.raises(OutputError, match="no journal of Optuna"):
        explore(model, data, build, trials=1, study=study)
    assert study.read_bytes() == content


def test_a_study_of_somebody_else_is_left_alone(model, data, tmp_path):
    path = tmp_path / "search.journal"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    optuna.create_study(storage=storage, study_name="theirs").optimize(lambda trial: 1.0, 1)
    explore(model, data, build, trials=1, study=path)
    assert len(optuna.load_study(storage=storage, study_name="theirs").trials) == 1


def test_two_searches_do_not_share_a_study(model, data, tmp_path):
    study = tmp_path / "search.journal"

    def inner(trial):
        explore(model, data, build, trials=1, study=study)

    with pytest.raises(OutputError, match="another process is searching"):
        explore(model, data, inner, trials=1, study=study)


def test_names_that_cannot_be_a_study(model, data, tmp_path):
    for path in (tmp_path, tmp_path / "search"):
        with pytest.raises(OutputError, match="a file with an ending"):
            explore(model, data, build, trials=1, study=path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"objectives": ("accuracy", "flops")}, "no objective 'flops'"),
        ({"objectives": "accuracy"}, "a tuple of names"),
        ({"objectives": ()}, "a tuple of names"),
        ({"objectives": ("macs", "macs")}, "twice"),
        ({"objectives": ("r2", "macs")}, "no r2"),
        ({"trials": 0}, "at least 1"),
    ],
)
def test_bad_arguments_are_refused(options, told, model, data):
    with pytest.raises(PlanError, match=told):
        explore(model, data, build, **{"trials": 1, **options})


def test_rows_to_judge_on_are_needed(model, data):
    @dataclass(frozen=True)
    class Bare:
        rows = 0

    with pytest.raises(DataError, match="validation rows"):
        explore(model, replace(data, validation=Bare()), build, trials=1)


def test_without_optuna_the_extra_is_named(model, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError) as caught:
        explore(model, data, build, trials=1)
    assert "secateur[search]" in str(caught.value.mend)


def test_importing_it_does_not_import_optuna():
    program = "import sys, secateur.steps.explore; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_optuna_says_nothing_and_keeps_its_level(model, data, capfd, tmp_path):
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        explore(model, data, build, trials=1, study=tmp_path / "search.journal")
        assert optuna.logging.get_verbosity() == logging.INFO
    finally:
        optuna.logging.set_verbosity(level)
    told = capfd.readouterr()
    assert told.out + told.err == ""


@writes_files
def test_latency_is_a_share_of_the_whole_model(model, data):
    found = explore(
        model, data, build, trials=1, objectives=("latency", "bytes", "parameters", "auc")
    )
    assert found.whole["latency"] == 1.0
    values = found.trials[0].values
    assert 0.05 < values["latency"] < 20
    assert values["bytes"] == 4 * values["parameters"]
    assert 0 <= values["auc"] <= 1


@pytest.mark.parametrize("kept", ["in memory", "in a folder"])
def test_what_is_quantized_is_judged_and_kept_so(model, data, tmp_path, kept):
    def either(trial):
        return Quantize() if trial.suggest_categorical("int8", [True]) else Prune(macs=0.5)

    study = tmp_path / "search.journal" if kept == "in a folder" else None
    found = explore(model, data, either, trials=1, objectives=("bytes", "accuracy"), study=study)
    alone = Quantize()(model, data)
    best = found.best()
    assert best.values["bytes"] == alone.after.bytes < 0.5 * found.whole["bytes"]
    grids = found.quantization(best)
    assert grids == alone.quantization
    rounded = fake_quantized(found.model(best), grids)
    assert evaluate(rounded, data.validation).accuracy == best.values["accuracy"]
    if study is not None:
        assert files(tmp_path / "search") == ["trial-0001.grids.json", "trial-0001.keras"]


def tried(number, accuracy, macs):
    return Tried(number, {}, (), {"accuracy": accuracy, "macs": macs})


def test_the_front_and_the_best_of_it():
    trials = (
        tried(1, 0.90, 80.0),
        tried(2, 0.85, 40.0),
        tried(3, 0.84, 60.0),
        tried(4, 0.90, 80.0),
        replace(tried(5, 0, 0), values={}, state="refused", why="no"),
        tried(6, 0.70, 10.0),
    )
    found = Explored(("accuracy", "macs"), {"accuracy": 0.9, "macs": 100.0}, trials)
    assert [each.number for each in found.front] == [1, 2, 6]
    assert found.best().number == 1
    assert found.best(by="macs").number == 6
    assert found.best(max_drop=5.0).number == 2
    assert found.best(5.0, by="accuracy").number == 1
    with pytest.raises(BudgetError, match=r"nearest has 0\.900"):
        replace(found, whole={"accuracy": 0.99, "macs": 100.0}).best(max_drop=1.0)
    with pytest.raises(PlanError, match="no objective"):
        found.best(by="latency")
    bare = Explored(("macs",), {"macs": 100.0}, (Tried(1, {}, (), {"macs": 10.0}),))
    with pytest.raises(PlanError, match="needs a metric"):
        bare.best(max_drop=1.0)
    with pytest.raises(AttributeError):
        found.trials = ()
