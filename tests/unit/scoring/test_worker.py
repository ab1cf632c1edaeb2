"""A worker scores with the model that the driver opened, whatever lies in its place by now."""

import shutil

import pytest

from secateur.formats.predictor import Predictor
from secateur.scoring.scorer import Scorer
from secateur.scoring.worker import _predictor, files_of_artifact, setup_of
from unit.scoring.artifacts import table_contract, write_artifact


def test_a_model_exchanged_after_the_driver_opened_it(artifact, monkeypatch):
    ray = pytest.importorskip("ray")
    assert artifact.contract is not None
    scorer, files = Scorer(Predictor(artifact), artifact.contract), files_of_artifact(artifact)
    shutil.rmtree(artifact.path)
    write_artifact(artifact.path, table_contract(keys=("id",)), seed=1)
    monkeypatch.setattr(ray, "get", lambda reference: reference)
    found = _predictor(setup_of(scorer, files)).artifact
    assert found.model_sha256 == artifact.model_sha256
