"""A changed byte, a missing file, a file too many: one clear error that names the file."""

import json
import os

import pytest

from secateur.errors import ArtifactError
from secateur.formats.artifact import (
    Artifact,
    FileEntry,
    Manifest,
    Parity,
    TensorSpec,
    entry_for,
)


@pytest.fixture
def folder(tmp_path, three_classes):
    """Return an artifact folder whose model is a page of bytes: opening never parses it."""
    path = tmp_path / "artifact"
    path.mkdir()
    (path / "model.onnx").write_bytes(b"model" * 100)
    (path / "model.keras").write_bytes(b"keras" * 100)
    three_classes.save(path / "contract.json")
    write_manifest(path, contract_sha256=three_classes.fingerprint())
    return path


def write_manifest(path, files=None, **changes):
    listed = [
        entry_for(path, file) for file in sorted(path.iterdir()) if file.name != "manifest.json"
    ]
    values = {
        "name": "m",
        "created": "2026-01-01T00:00:00+00:00",
        "files": tuple(listed if files is None else files),
        "inputs": (TensorSpec(name="numeric", shape=(None, 5), dtype="float32"),),
        "outputs": (TensorSpec(name="out", shape=(None, 3), dtype="float32"),),
        "output": "probabilities",
        "parity": Parity(tolerance=1e-3, max_difference=0, rows=1),
    }
    Manifest(**(values | changes)).save(path / "manifest.json")


def edit_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def refused(path, match):
    with pytest.raises(ArtifactError, match=match) as caught:
        Artifact.open(path)
    return caught.value


def test_whole_artifact_opens(folder, three_classes):
    artifact = Artifact.open(folder)
    assert artifact.contract == three_classes
    assert artifact.model_path.read_bytes() == b"model" * 100
    assert artifact.bytes == sum(entry.bytes for entry in artifact.manifest.files)


@pytest.mark.parametrize("name", ["model.onnx", "model.keras", "contract.json"])
def test_changed_byte(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[7] ^= 1
    (folder / name).write_bytes(content)
    error = refused(folder, "was changed after it was exported")
    assert error.where == str(folder / name)


@pytest.mark.parametrize("name", ["model.onnx", "model.keras", "contract.json"])
def test_cut_short(folder, name):
    size = (folder / name).stat().st_size
    os.truncate(folder / name, 10)
    error = refused(folder, f"has 10 bytes and the manifest says {size}")
    assert error.where == str(folder / name)


@pytest.mark.parametrize("name", ["model.onnx", "model.keras", "contract.json"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert refused(folder, "the file is missing").where == str(folder / name)


def test_file_too_many(folder):
    (folder / "extra.bin").write_bytes(b"?")
    assert refused(folder, "does not list this file").where == str(folder / "extra.bin")


def test_sizes_are_compared_before_anything_is_hashed(folder):
    (folder / "contract.json").write_bytes(b"{}")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[0] ^= 1
    (folder / "model.onnx").write_bytes(content)
    assert refused(folder, "has 2 bytes").where == str(folder / "contract.json")


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/hostname", "a/../../secret", "", "..\\secret", "a\0b"]
)
def test_path_that_leaves_the_folder(folder, path):
    (folder.parent / "secret").write_bytes(b"secret")
    outside = FileEntry(path=path, sha256="0" * 64, bytes=6)
    write_manifest(folder, files=(outside,))
    assert refused(folder, "outside the artifact").where == str(folder / "manifest.json")


def test_link_that_leaves_the_folder(folder, tmp_path):
    (tmp_path / "elsewhere").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    refused(folder, "lists 'model.onnx', which is outside the artifact")


def test_file_listed_twice(folder):
    twice = entry_for(folder, folder / "model.onnx")
    write_manifest(folder, files=(twice, twice))
    refused(folder, "lists a file twice")


def test_model_not_listed(folder):
    write_manifest(folder, files=(entry_for(folder, folder / "model.keras"),))
    refused(folder, r"does not list model\.onnx")


def test_foreign_contract(folder):
    write_manifest(folder, contract_sha256="0" * 64)
    error = refused(folder, "not the one that the manifest names")
    assert error.where == str(folder / "contract.json")


def test_contract_that_is_not_one(folder):
    (folder / "contract.json").write_text("[]")
    write_manifest(folder, contract_sha256="0" * 64)
    assert refused(folder, "not a contract").where == str(folder / "contract.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is not JSON"),
        ("{", "the manifest is not JSON"),
        ("[" * 100_000, "the manifest is not JSON"),
        ("[]", "has format None"),
        ('{"format": 2}', "has format 2, and this secateur reads format 1"),
        ('{"format": 1}', "the manifest's name is wrong: Field required"),
    ],
)
def test_manifest_that_is_not_one(folder, text, message):
    (folder / "manifest.json").write_text(text)
    assert refused(folder, message).where == str(folder / "manifest.json")


def test_manifest_with_a_key_of_its_own(folder):
    edit_manifest(folder, colour="red")
    refused(folder, "the manifest's colour is wrong")


def test_manifest_with_an_unknown_output(folder):
    edit_manifest(folder, output="guess")
    refused(folder, "the manifest's output is wrong")


def test_folder_that_is_not_an_artifact(tmp_path):
    refused(tmp_path, r"the folder holds no manifest\.json")
    refused(tmp_path / "absent", "there is no such folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "this is a file, not a folder")
