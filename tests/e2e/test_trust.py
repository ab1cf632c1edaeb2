"""Whatever is done to a signed or sealed artifact, verify and score name it and do not pass."""

import importlib.util
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from secateur.cli.app import app
from secateur.formats import archive
from secateur.formats.artifact import Artifact, Manifest, entry_for, files_of
from unit.scoring import artifacts

pytest.importorskip("model_signing", reason="the extra `signing` is not installed")
sealing = pytest.importorskip("secateur.formats.sealing")
pytest.importorskip("pyrage", reason="the extra `sealing` is not installed")

_PLACE = Path(__file__).parents[2] / "benchmarks" / "trust.py"
_SPEC = importlib.util.spec_from_file_location("trust", _PLACE)
trust = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(trust)

# As many as the artifact below makes: two for each of its five files, and the rest.
CASES = 21


def call(*arguments):
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with a signed artifact, a sealed one, their keys and rows to score."""
    home = tmp_path_factory.mktemp("trust")
    signed = home / "artifact"
    artifacts.write_artifact(signed, artifacts.table_contract())
    (signed / "model.keras").write_bytes(b"weights" * 50)
    told = Manifest.model_validate_json((signed / "manifest.json").read_text())
    listed = tuple(entry_for(signed, file) for file in files_of(signed))
    told.model_copy(update={"files": listed}).save(signed / "manifest.json")
    private, keys, recipient = trust.make_keys(home / "keys")
    trust.sign(signed, private)
    sealed = home / "artifact.secateur.age"
    sealing.seal(archive.packed(Artifact.open(signed).files), sealed, recipients=[recipient])
    pq.write_table(artifacts.as_table(artifacts.numbers(50)), home / "rows.parquet")
    (home / "work").mkdir()
    return home, signed, sealed, keys, private


@pytest.fixture(scope="module")
def tampered(home):
    home, signed, sealed, keys, _ = home
    return list(trust.cases(signed, sealed, keys, home / "work"))


def test_there_are_as_many_cases_as_there_should_be(tampered):
    assert len(tampered) == CASES


@pytest.mark.parametrize("number", range(CASES))
def test_tampering_is_named(number, tampered, home, tmp_path):
    case = tampered[number]
    code, said = call("verify", case.artifact, "--key", case.key, *case.extra)
    assert code == 2, said
    for name in case.names:
        assert name in said.replace("\n", ""), case.what
    rows = home[0] / "rows.parquet"
    out = tmp_path / "scored"
    code, said = call("score", case.artifact, rows, out, "--signed-by", case.key, *case.extra)
    assert code == 2, said
    assert not out.exists()


def test_every_form_of_a_sound_artifact_passes_and_scores_alike(home, tmp_path):
    folder, signed, sealed, keys, _ = home
    packed = tmp_path / "one.secateur"
    assert call("pack", signed, packed)[0] == 0
    identity = ("--identity", keys.identity)
    found = []
    for artifact, extra in ((signed, ()), (packed, ()), (sealed, identity)):
        code, said = call("verify", artifact, "--key", keys.public, *extra)
        assert code == 0, said
        out = tmp_path / f"scored-{len(found)}"
        code, said = call(
            "score", artifact, folder / "rows.parquet", out, "--signed-by", keys.public, *extra
        )
        assert code == 0, said
        found.append(artifacts.scores(out))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_opening_a_sealed_artifact_gives_the_same_files(home, tmp_path):
    _, signed, sealed, keys, _ = home
    out = tmp_path / "opened"
    assert call("open", sealed, out, "--identity", keys.identity)[0] == 0
    theirs, ours = (
        {file.name: file.read_bytes() for file in folder.iterdir()} for folder in (signed, out)
    )
    assert theirs == ours


def test_scoring_a_sealed_artifact_writes_nothing_of_it(home, tmp_path, monkeypatch):
    """Every file that is written while it is scored is looked into for what the model holds."""
    folder, signed, sealed, keys, _ = home
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    out = tmp_path / "scored"
    code, said = call("score", sealed, folder / "rows.parquet", out, "--identity", keys.identity)
    assert code == 0, said
    secret = (signed / "model.onnx").read_bytes()[50:90]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or secret not in file.read_bytes(), file


def test_the_tool_of_model_signing_checks_our_signature_and_we_check_its(home, tmp_path):
    from model_signing import signing, verifying

    _, signed, _, keys, private = home
    verifying.Config().use_elliptic_key_verifier(public_key=keys.public).verify(
        signed, signed / "model.sig"
    )
    packed = archive.unpack(Artifact.open(signed).files, tmp_path / "copy")
    (packed / "model.sig").unlink()
    theirs = tmp_path / "model.sig"
    signing.Config().use_elliptic_key_signer(private_key=private).sign(packed, theirs)
    theirs.rename(packed / "model.sig")
    code, said = call("verify", packed, "--key", keys.public)
    assert code == 0, said


def test_an_unsigned_artifact_does_not_pass_for_a_signed_one(home, tmp_path):
    _, signed, _, keys, _ = home
    bare = archive.unpack(Artifact.open(signed).files, tmp_path / "bare")
    (bare / "model.sig").unlink()
    assert call("verify", bare)[0] == 0
    code, said = call("verify", bare, "--key", keys.public)
    assert code == 2
    assert "not signed" in said


def test_the_verdict_as_json(home, tampered):
    _, signed, _, keys, _ = home
    told = json.loads(call("verify", signed, "--key", keys.public, "--json")[1])
    assert told["sound"]
    assert told["signer"] == str(keys.public)
    done = CliRunner().invoke(app, ["verify", str(tampered[0].artifact), "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["sound"]) == (2, False)
    assert told["problems"][0]["file"].endswith(tampered[0].names[0])
