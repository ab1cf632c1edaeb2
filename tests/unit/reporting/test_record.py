"""The record of a run: what goes in comes out, and a bad file is one clear error."""

import json

import pytest
from pydantic import ValidationError

from secateur.errors import ArtifactError, OutputError
from secateur.reporting.record import Curve, MetricsView, Run, Stage


@pytest.fixture
def run() -> Run:
    return Run(
        name="digits",
        created="2026-11-02T09:30:00+00:00",
        secateur="0.1.0",
        stages=(
            Stage(
                name="baseline",
                metrics=MetricsView(
                    task="classification", accuracy=0.9, confusion=((9, 1), (1, 9))
                ),
                parameters=100,
            ),
        ),
    )


def test_a_saved_run_loads_as_it_was(run, tmp_path):
    path = run.save(tmp_path / "new" / "folder")
    assert path.name == "run.json"
    assert Run.load(path) == run
    assert Run.load(path.parent) == run
    assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


def test_values_that_json_cannot_hold_become_gaps(run, tmp_path):
    curve = Curve(stage="baseline", metrics={"loss": (1.0, float("nan"), float("inf"))})
    lost = run.model_copy(update={"curves": (curve,)})
    assert curve.metrics["loss"] == (1.0, None, None)
    path = lost.save(tmp_path)
    assert "NaN" not in path.read_text()
    assert Run.load(path) == lost


def test_a_run_is_frozen_and_knows_its_fields(run):
    with pytest.raises(ValidationError):
        run.name = "other"
    with pytest.raises(ValidationError):
        Stage(name="cut", acuracy=0.5)


def test_a_stage_without_a_title_is_called_by_its_name():
    assert Stage(name="fine-tuned").label == "Fine-tuned"
    assert Stage(name="cut", title="Right after the cut").label == "Right after the cut"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "damaged"),
        (b'{"name": "x"}', "damaged"),
        (b'{"format": 1, "name": "x"}', "created"),
        (b"\xff\xfe\x00", "cannot be read"),
        (json.dumps({"format": 2, "name": "x", "new": 1}).encode(), "format 2"),
    ],
)
def test_a_file_that_is_no_record_is_one_error(tmp_path, content, says):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=says) as caught:
        Run.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_no_record_at_all(tmp_path):
    with pytest.raises(ArtifactError, match="no record"):
        Run.load(tmp_path)
    with pytest.raises(ArtifactError, match="no record"):
        Run.load(tmp_path / "nowhere")


def test_a_place_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        run.save(tmp_path / "file")
