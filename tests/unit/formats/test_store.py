"""A `.secateur` file is read where it lies, and a hostile one is refused before it is read."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from secateur.errors import ArtifactError, OutputError
from secateur.formats import archive, sealing, signing
from secateur.formats.artifact import MODEL, Artifact
from secateur.formats.completing import complete
from secateur.formats.predictor import Predictor
from secateur.formats.store import FolderStore, ZipStore, plain_name
from unit.scoring.artifacts import table_contract, write_artifact


@pytest.fixture
def folder(tmp_path):
    write_artifact(tmp_path / "a", table_contract())
    return tmp_path / "a"


def rewritten(folder, out, *, compression=zipfile.ZIP_STORED, **added):
    """Write a zip as another tool would, with members of its own."""
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as opened:
        warnings.simplefilter("ignore")
        for file in folder.iterdir():
            opened.write(file, file.name)
        for name, content in added.items():
            opened.writestr(name, content)
    return out


def test_a_packed_artifact_is_the_folder(folder, tmp_path):
    packed = archive.pack(FolderStore(folder), tmp_path / "a.secateur")
    one, other = Artifact.open(folder), Artifact.open(packed)
    assert one.manifest == other.manifest
    assert one.read(MODEL) == other.read(MODEL)
    x = {"numeric": np.ones((2, 4), "float32")}
    assert (Predictor(one).predict(x) == Predictor(other).predict(x)).all()
    back = archive.unpack(other.files, tmp_path / "back")
    assert {f.name: f.read_bytes() for f in back.iterdir()} == {
        f.name: f.read_bytes() for f in folder.iterdir()
    }
    with pytest.raises(ArtifactError, match="needs a folder"):
        _ = other.model_path


def test_the_same_artifact_makes_the_same_file(folder, tmp_path):
    one = archive.pack(FolderStore(folder), tmp_path / "1").read_bytes()
    assert one == archive.packed(FolderStore(folder))


def test_a_model_exchanged_after_it_was_checked_is_not_used(folder):
    opened = Artifact.open(folder)
    content = bytearray((folder / MODEL).read_bytes())
    content[20] ^= 1
    (folder / MODEL).write_bytes(content)
    with pytest.raises(ArtifactError, match="was changed"):
        opened.read(MODEL)


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "a\\evil", "C:evil", ".", "a//b"]
)
def test_a_member_outside(folder, tmp_path, name):
    out = rewritten(folder, tmp_path / "z.secateur", **{name: b"?"})
    with pytest.raises(ArtifactError, match=r"outside the artifact|does not list this file"):
        Artifact.open(out)
    assert not plain_name(name)
    assert not plain_name("")
    assert not (tmp_path.parent / "evil").exists()


def test_compressed_members(folder, tmp_path):
    out = rewritten(folder, tmp_path / "z", compression=zipfile.ZIP_DEFLATED, big=bytes(10**7))
    with pytest.raises(ArtifactError, match="compressed or encrypted"):
        Artifact.open(out)


def test_a_member_twice(folder, tmp_path):
    with pytest.raises(ArtifactError, match=r"holds model\.onnx twice"):
        Artifact.open(rewritten(folder, tmp_path / "z", **{MODEL: b"?"}))


def test_members_that_overlap(tmp_path):
    """Two names for the same stretch of the file are more bytes than the file has."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        opened.writestr("manifest.json", bytes(10_000))
        opened.filelist.extend([_alias(opened.filelist[0], n) for n in range(5)])
        opened.start_dir = opened.fp.tell()
    (tmp_path / "z").write_bytes(made.getvalue())
    with pytest.raises(ArtifactError, match=r"larger than the zip|cannot be read as a zip"):
        Artifact.open(tmp_path / "z")


def _alias(info, number):
    other = zipfile.ZipInfo(f"m{number}")
    for name in ("CRC", "file_size", "compress_size", "header_offset"):
        setattr(other, name, getattr(info, name))
    return other


def test_more_files_than_any_artifact_has(folder, tmp_path):
    many = {f"f{number}": b"" for number in range(1001)}
    with pytest.raises(ArtifactError, match="more than 1,000 files"):
        Artifact.open(rewritten(folder, tmp_path / "z", **many))


def test_a_folder_is_not_written_over(folder, tmp_path):
    with pytest.raises(OutputError, match="not empty"):
        archive.unpack(Artifact.open(folder).files, folder)


def test_what_is_known_later_is_put_in_whole(folder, tmp_path):
    (tmp_path / "page").write_text("<html>")
    made = complete(folder, files={"report.html": tmp_path / "page"}, measured={"macs": "counted"})
    again = Artifact.open(folder)
    assert again == made
    assert again.manifest.measured == {"macs": "counted"}
    assert again.read("report.html") == b"<html>"
    with pytest.raises(ArtifactError, match="no name for a file"):
        complete(folder, files={"../page": tmp_path / "page"})


def test_an_empty_store_is_no_artifact(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as opened:
        opened.writestr("a", "b")
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        Artifact.open(tmp_path / "z")
    assert ZipStore(tmp_path / "z").names() == ("a",)


@pytest.mark.parametrize("name", ["packed.secateur", "deep/packed.secateur"])
def test_a_file_inside_the_folder_that_it_is_made_of(folder, monkeypatch, name):
    monkeypatch.chdir(folder)
    with pytest.raises(OutputError, match="inside the artifact"):
        archive.pack(FolderStore(Path(".")), name)
    Artifact.open(folder)


def test_a_link_that_leads_nowhere(folder):
    (folder / MODEL).unlink()
    (folder / MODEL).symlink_to("nothing")
    with pytest.raises(ArtifactError, match="the file is missing") as caught:
        Artifact.open(folder)
    assert caught.value.where == str(folder / MODEL)


def test_a_signature_is_of_the_manifest_that_is_used(folder, tmp_path, monkeypatch):
    pytest.importorskip("model_signing")
    public = signing.new_key(tmp_path / "key.pem")
    monkeypatch.chdir(folder)
    here = FolderStore(Path("."))
    archive.add_signature(here, signing.signature_of(here, tmp_path / "key.pem"))
    signer = signing.Signer(key=public)
    assert Artifact.open(folder, signed_by=signer).model_sha256
    write_artifact(tmp_path / "other", table_contract(), seed=1)
    names = (MODEL, "manifest.json")
    sound = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
    checked = signing.read_text

    def exchanged(store, name):
        # The signature is looked at last: what it is of is put back just before.
        for each, content in sound.items():
            (folder / each).write_bytes(content)
        return checked(store, name)

    monkeypatch.setattr(signing, "read_text", exchanged)
    with pytest.raises(ArtifactError, match="changed after it was signed"):
        Artifact.open(folder, signed_by=signer)


def test_what_is_exchanged_after_it_was_checked_is_not_unpacked(folder, tmp_path):
    packed = archive.pack(FolderStore(folder), tmp_path / "a.secateur")
    opened = Artifact.open(packed)
    write_artifact(tmp_path / "other", table_contract(), seed=1)
    archive.pack(FolderStore(tmp_path / "other"), packed)
    with pytest.raises(ArtifactError, match="was changed"):
        archive.unpack(opened.files, tmp_path / "new", known=opened.hashes)
    assert not (tmp_path / "new").exists()


def test_what_could_not_be_opened_again_is_not_sealed(folder, tmp_path, monkeypatch):
    pytest.importorskip("pyrage", reason="the extra `sealing` is not installed")
    monkeypatch.setattr(sealing, "SEALED_LIMIT", 1000)
    with pytest.raises(ArtifactError, match="opened again"):
        sealing.seal(archive.packed(FolderStore(folder)), tmp_path / "a.age", passphrase="open")
    assert not (tmp_path / "a.age").exists()
