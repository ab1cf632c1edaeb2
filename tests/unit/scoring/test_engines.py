"""The choice of an engine, and what a Ray worker does, without a cluster."""

import os
import sys
from pathlib import Path

import pytest

from secateur.data.sources import find_parts
from secateur.errors import ArtifactError, DataError, MissingExtraError, OutputError, SecateurError
from secateur.formats.archive import pack, packed
from secateur.formats.artifact import Artifact
from secateur.formats.predictor import Predictor
from secateur.scoring import on_ray, worker
from secateur.scoring.ledger import Job, Ledger, part_path
from secateur.scoring.on_ray import run_ray
from secateur.scoring.pieces import cut
from secateur.scoring.score import score
from secateur.scoring.scorer import Scorer
from secateur.scoring.sink import cannot_write
from secateur.scoring.worker import Work, do_part
from unit.scoring.artifacts import write_parquet_files


@pytest.fixture
def work(artifact, tmp_path, monkeypatch):
    """A part to do, on a worker that has opened the model."""
    write_parquet_files(tmp_path / "data", [30])
    (piece,) = cut(find_parts(tmp_path / "data"))
    scorer = Scorer(Predictor(artifact), artifact.contract, ("id",))
    monkeypatch.setattr(worker, "_scorer", lambda reference: scorer)
    (tmp_path / "out" / "run.partial").mkdir(parents=True)
    return Work(7, piece, piece.stamp, local=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "spark"}, "there is no engine 'spark'"),
        ({"address": "auto"}, "`address` is 'auto', and the local engine has none"),
        ({"memory": 5}, "`memory` is 5, and the local engine has none"),
        ({"engine": "ray", "memory": 0}, "`memory` is 0"),
    ],
)
def test_options_that_do_not_fit(artifact, tmp_path, options, message):
    write_parquet_files(tmp_path / "data", [5])
    with pytest.raises(SecateurError, match=message):
        score(artifact, tmp_path / "data", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(artifact, tmp_path, monkeypatch):
    write_parquet_files(tmp_path / "data", [5])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="ray is not installed") as caught:
        score(artifact, tmp_path / "data", tmp_path / "out", engine="ray")
    assert caught.value.mend == "Run `pip install 'secateur[ray]'`."


def test_address_of_a_client(artifact, tmp_path):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    scorer = Scorer(Predictor(artifact), artifact.contract)
    write_parquet_files(tmp_path / "data", [5])
    todo = list(enumerate(cut(find_parts(tmp_path / "data"))))
    with pytest.raises(SecateurError, match="a Ray client"):
        run_ray(
            scorer,
            tmp_path,
            todo,
            address="ray://head:10001",
            threads=None,
            memory=None,
            done=print,
            tick=print,
        )


def test_each_attempt_has_a_folder_of_its_own(work, tmp_path):
    staging = tmp_path / "out" / "run.partial"
    one, other = (do_part([None], str(staging), work) for _ in range(2))
    assert one.folder != other.folder
    assert one.entry == other.entry
    first, second = (part_path(staging / done.folder, 7).read_bytes() for done in (one, other))
    assert first == second
    assert not part_path(tmp_path / "out", 7).exists()


def test_driver_takes_over_what_a_worker_wrote(work, tmp_path):
    staging, out = tmp_path / "out" / "run.partial", tmp_path / "out"
    done = do_part([None], str(staging), work)
    written = part_path(staging / done.folder, 7).read_bytes()
    on_ray._adopt(staging / done.folder, out, done.entry)
    assert part_path(out, 7).read_bytes() == written
    assert not list(staging.iterdir())


def test_node_that_does_not_see_the_output(work, tmp_path):
    error = do_part([None], str(tmp_path / "out" / "elsewhere.partial"), work)
    assert isinstance(error, OutputError)
    assert error.where == str(tmp_path / "out")
    assert "does not see the output folder" in error.what


def test_write_that_fails_names_the_file_that_it_was_to_become(work, tmp_path, monkeypatch):
    def full(scorer, folder, number, piece, **options):
        raise cannot_write(part_path(folder, number), OSError(28, "No space left on device"))

    monkeypatch.setattr(worker, "score_part", full)
    error = do_part([None], str(tmp_path / "out" / "run.partial"), work)
    assert isinstance(error, OutputError)
    assert error.where == str(part_path(tmp_path / "out", 7))
    assert "No space left on device" in error.what


def test_node_that_does_not_see_the_data_quarantines_nothing(work, tmp_path):
    staging = tmp_path / "out" / "run.partial"
    os.rename(work.piece.part.file, tmp_path / "gone")
    error = do_part([None], str(staging), work)
    assert isinstance(error, DataError)
    assert error.where == str(work.piece.part.file)
    assert not list(staging.iterdir())


def test_what_a_dead_run_left_is_removed(tmp_path):
    out = tmp_path / "out"
    job = Job(model="a", contract="b", source="c", keys=(), probability=True)
    with Ledger(out, job):
        pass
    left = Path(out, "run.partial", "attempt")
    left.mkdir(parents=True)
    (left / "part-00000.parquet").write_bytes(b"half")
    with Ledger(out, job):
        assert sorted(path.name for path in out.iterdir()) == ["ledger.jsonl"]


def test_a_sealed_artifact_stays_here(artifact, tmp_path):
    sealing = pytest.importorskip("secateur.formats.sealing")
    pytest.importorskip("pyrage", reason="the extra `sealing` is not installed")
    sealed = tmp_path / "model.secateur.age"
    sealing.seal(packed(artifact.files), sealed, passphrase="open")
    opened = Artifact.open(sealed, secret=sealing.Secret(passphrase="open"))
    write_parquet_files(tmp_path / "data", [5])
    with pytest.raises(ArtifactError, match="not sent to a cluster"):
        score(opened, tmp_path / "data", tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


def test_files_of_a_packed_artifact_are_those_of_the_folder(artifact, tmp_path):
    one = Artifact.open(pack(artifact.files, tmp_path / "model.secateur"))
    found, expected = (worker.files_of_artifact(each) for each in (one, artifact))
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == expected[name].tobytes() for name in found)
