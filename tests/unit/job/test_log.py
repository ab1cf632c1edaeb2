"""The figures of a run, as TensorBoard and MLflow read them back."""

import json
import shutil
import sys

import pytest

from secateur.cli import main
from secateur.errors import ArtifactError, MissingExtraError, OutputError, StoreError
from secateur.job.log import log, so_far
from secateur.reporting.record import Curve, Run, Stage
from secateur.reporting.tracked import points, settings
from unit.cli.commands import is_told, one_line
from unit.reporting.runs import RECIPE, classification


@pytest.fixture
def run(tmp_path):
    """Write the record of a run, and return its folder and the record."""
    made = classification(layers=4, images=[])
    made.save(tmp_path / "signs")
    return tmp_path / "signs", made


@pytest.fixture
def broken_off(tmp_path):
    """Write the folder of a run whose first step is done and whose second one is under way."""
    folder = tmp_path / "half"
    folder.mkdir()
    facts = {
        "baseline curves": [{"stage": "baseline", "metrics": {"loss": [2.0, 1.0]}}],
        "baseline metrics": {"task": "classification", "rows": 8},
        "baseline": [Stage(name="baseline", macs=100).model_dump(mode="json")],
        "step 1 curves": [],
        "step 1 notes": ["cut"],
        "step 1": [Stage(name="cut", macs=50).model_dump(mode="json")],
        "step 2 curves": [{"stage": "fine-tuned", "metrics": {"loss": [0.5]}}],
    }
    told = {"format": 1, "recipe": "", "data": "", "facts": facts}
    (folder / "state.json").write_text(json.dumps(told))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def events_of(path):
    """Return the scalars of a file of events by name, and its texts."""
    tf = pytest.importorskip("tensorflow")
    scalars, texts = {}, {}
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
            else:
                assert value.metadata.plugin_data.plugin_name == "text"
                texts[value.tag] = tf.make_ndarray(value.tensor)[0].decode()
    return scalars, texts


def by_name(run):
    found = {}
    for each in points(run):
        found.setdefault(each.name, []).append((each.step, pytest.approx(each.value)))
    return found


def test_points_are_all_that_was_measured_and_nothing_else(run):
    _, made = run
    found = by_name(made)
    curve = made.curves[0]
    values = found[f"training/{curve.stage}/val_loss"]
    assert values == [(n, v) for n, v in enumerate(curve.metrics["val_loss"], start=1) if v]
    assert [step for step, _ in found["stages/macs"]] == [
        number for number, stage in enumerate(made.stages) if stage.macs is not None
    ]
    last = len(made.stages) - 1
    assert found["stages/accuracy"][-1] == (last, made.stages[-1].metrics.accuracy)
    assert found["stages/latency_ms/onnxruntime batch 1 threads 1"][0][0] == 0
    assert not any("mae" in name for name in found)


def test_a_gap_is_left_out_and_trainings_of_one_name_are_told_apart():
    curves = [
        Curve(stage="fine-tuned", metrics={"loss": (1.0, float("nan"), 0.5)}),
        Curve(stage="fine-tuned", metrics={"recall@5:x": (1.0,)}),
    ]
    made = Run(name="a", created="", secateur="1", curves=tuple(curves))
    assert points(made) == (
        ("training/fine-tuned/loss", 1, 1.0),
        ("training/fine-tuned/loss", 3, 0.5),
        ("training/fine-tuned 2/recall_5_x", 1, 1.0),
    )


def test_settings_are_the_recipe_laid_flat(run):
    given = settings(run[1])
    assert given["recipe.train.epochs"] == "30"
    assert given["recipe.steps.1.prune.by"] == "taylor"
    assert given["recipe.data.split"] == "[0.6, 0.2, 0.2]"
    assert given["stage.0"] == "Baseline"


def test_tensorboard_reads_back_what_the_record_says(run, tmp_path):
    folder, made = run
    done = log(folder, tensorboard=tmp_path / "board")
    assert done.finished
    assert done.tensorboard.parent == tmp_path / "board" / "signs"
    scalars, texts = events_of(done.tensorboard)
    assert scalars == by_name(made)
    assert sum(map(len, scalars.values())) == done.figures
    assert texts["recipe"].startswith("    name: gestures")
    assert "| recipe.train.epochs | 30 |" in texts["settings"]


def test_logged_again_a_run_replaces_itself_and_no_other(run, tmp_path):
    folder, made = run
    first = log(folder, tensorboard=tmp_path / "board").tensorboard
    made.model_copy(update={"curves": ()}).save(folder)
    again = log(folder, tensorboard=tmp_path / "board").tensorboard
    assert list(again.parent.iterdir()) == [first] == [again]
    assert not any(name.startswith("training") for name in events_of(again)[0])
    made.model_copy(update={"recipe": "name: other"}).save(folder)
    with pytest.raises(OutputError, match="events of another run"):
        log(folder, tensorboard=tmp_path / "board")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        log(folder, tensorboard=tmp_path / "file")


def test_of_a_run_broken_off_what_it_had_finished_is_logged(broken_off, tmp_path):
    made, finished = so_far(broken_off)
    assert not finished
    assert made.name == "gestures"
    done = log(broken_off, tensorboard=tmp_path / "board")
    assert events_of(done.tensorboard)[0] == {
        "training/baseline/loss": [(1, 2.0), (2, 1.0)],
        "training/fine-tuned/loss": [(1, 0.5)],
        "stages/macs": [(0, 100.0), (1, 50.0)],
    }


def test_what_is_no_run_or_has_nothing_yet_is_refused(broken_off, tmp_path):
    with pytest.raises(ArtifactError, match="no record of a run"):
        log(tmp_path / "none", tensorboard=tmp_path / "board")
    other = shutil.copytree(broken_off, tmp_path / "other")
    (other / "compare.yaml").touch()
    with pytest.raises(ArtifactError, match="a comparison or a search"):
        log(other, tensorboard=tmp_path / "board")
    (broken_off / "state.json").write_text('{"facts": {"baseline curves": 7}}')
    with pytest.raises(ArtifactError, match="cannot be read"):
        log(broken_off, tensorboard=tmp_path / "board")
    (broken_off / "state.json").write_text('{"facts": {}}')
    with pytest.raises(ArtifactError, match="nothing of the run is finished"):
        log(broken_off, tensorboard=tmp_path / "board")
    assert not (tmp_path / "board").exists()


def client_of(uri):
    mlflow = pytest.importorskip("mlflow")
    return mlflow.MlflowClient(tracking_uri=uri)


def test_mlflow_reads_back_what_the_record_says(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    client = client_of(uri)
    folder, made = run
    done = log(folder, mlflow=uri)
    kept = client.get_run(done.mlflow)
    assert client.get_experiment(kept.info.experiment_id).name == "gestures"
    assert (kept.info.run_name, kept.info.status) == ("signs", "FINISHED")
    assert kept.data.params == settings(made)
    assert "smaller" in kept.data.tags["mlflow.note.content"]
    for name, values in by_name(made).items():
        history = sorted(
            (each.step, each.value) for each in client.get_metric_history(done.mlflow, name)
        )
        assert history == values
    assert set(kept.data.metrics) == set(by_name(made))
    again = log(folder, mlflow=uri, experiment="others")
    assert again.mlflow != done.mlflow
    kept = client.get_run(again.mlflow)
    assert client.get_experiment(kept.info.experiment_id).name == "others"
    # A record goes to MLflow alone: nothing is left beside its file.
    assert {each.name for each in tmp_path.iterdir()} == {"signs", "runs.db"}


def test_mlflow_knows_of_a_run_that_was_broken_off(broken_off, tmp_path):
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    client = client_of(uri)
    kept = client.get_run(log(broken_off, mlflow=uri).mlflow)
    assert kept.info.status == "KILLED"
    assert kept.data.metrics["stages/macs"] == 50


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "nowhere://a", "sqlite:///text/a.db", "sqlite:///text"]
)
def test_a_server_that_is_not_there_is_told(run, uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no database")
    pytest.importorskip("mlflow")
    with pytest.raises(StoreError, match="MLflow"):
        log(run[0], mlflow=uri)


def test_a_password_in_the_address_is_not_shown(run):
    pytest.importorskip("mlflow")
    with pytest.raises(StoreError) as caught:
        log(run[0], mlflow="http://me:pa/ss@127.0.0.1:9")
    assert "pa/ss" not in str(caught.value)
    assert caught.value.where == "http://127.0.0.1:9"


@pytest.mark.parametrize(("module", "extra"), [("tensorflow", "tensorflow"), ("mlflow", "mlflow")])
def test_what_is_missing_is_named(run, tmp_path, monkeypatch, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    given = {"tensorflow": {"tensorboard": tmp_path}, "mlflow": {"mlflow": "sqlite:///a.db"}}
    with pytest.raises(MissingExtraError, match=rf"secateur\[{extra}\]"):
        log(run[0], **given[module])


def secateur(capfd, *words):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    told = capfd.readouterr()
    return caught.value.code or 0, told.out, told.err


def test_the_command_tells_what_it_wrote(run, broken_off, tmp_path, capfd):
    board = tmp_path / "board"
    told = is_told("log", *secateur(capfd, "log", run[0], "--tensorboard", board, "--json"))
    assert (told["finished"], told["mlflow"]) == (True, None)
    assert told["tensorboard"].startswith(str(board / "signs"))
    code, out, err = secateur(capfd, "log", broken_off, "--tensorboard", board)
    assert code == 0
    assert out.startswith("tensorboard: 5 figures in ")
    assert "not finished" in err
    code, _, err = secateur(capfd, "log", run[0])
    assert code == 2
    assert "--tensorboard" in one_line(err)
    words = ("log", run[0], "--tensorboard", board, "--experiment", "a")
    assert "--mlflow" in one_line(secateur(capfd, *words)[2])
