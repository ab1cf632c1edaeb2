"""An artifact is a folder that says what is in it, and is checked before anything in it is read.

artifact/
manifest.json    what the model takes and gives, and the hash and size of every other file
model.onnx       the model as it is scored
model.keras      the same model as it is trained further
contract.json    what a valid row of data is (absent where the model came without one)
quantization.json  the grids that the numbers of an int8 model lie on (absent of a float32 one)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateur.data.contract import Contract
from secateur.errors import ArtifactError, ContractError

FORMAT = 1
MANIFEST = "manifest.json"
CONTRACT = "contract.json"
MODEL = "model.onnx"
QUANTIZATION = "quantization.json"
KERAS = "model.keras"

# A manifest is a page of text; more than this is not one, and is not worth parsing.
_MANIFEST_LIMIT = 16 * 2**20
_MADE_BY_OTHERS = "Copy the artifact again from where it was made, or export the model again."


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Value):
    """A file of the artifact: its path below the folder, with `/` between parts, hash and size."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class TensorSpec(_Value):
    """An input or output of the model; `None` in the shape is an axis of any length."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Parity(_Value):
    """How far the exported model was from the Keras model, on `rows` rows.

    Attributes:
        agreement: of an int8 file, the share of rows with the answer of the fake-quantized model.
    """

    tolerance: float
    max_difference: float
    rows: int
    agreement: float | None = None


class Manifest(_Value):
    """Everything that is known of an artifact without opening its model.

    Attributes:
        output: what the model's output is: "probabilities" (rows add up to one, or one sigmoid),
            "logits" (the same before softmax or sigmoid), "value" (a regression) or "features" (the
            output of an inner layer).
        contract_sha256: the contract's fingerprint, or None where there is no contract.
    """

    format: Literal[1] = FORMAT
    name: str
    created: str
    files: tuple[FileEntry, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    output: Literal["probabilities", "logits", "value", "features"]
    contract_sha256: str | None = None
    parity: Parity
    metrics: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, Any] = Field(default_factory=dict)
    recipe: str | None = None
    data_fingerprint: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the manifest as JSON that a person can read."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Artifact:
    """A checked artifact folder."""

    path: Path
    manifest: Manifest
    contract: Contract | None

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.path / MODEL

    @property
    def model_sha256(self) -> str:
        """The hash of the ONNX file, as the manifest states it."""
        return next(entry.sha256 for entry in self.manifest.files if entry.path == MODEL)

    @property
    def bytes(self) -> int:
        """The size of all listed files."""
        return sum(entry.bytes for entry in self.manifest.files)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the artifact at `path`, after checking that it is whole and unchanged.

        The sizes of all files are compared first, then their hashes, and only then is a file read.

        Raises:
            ArtifactError: a file is missing, changed, not listed, or outside the folder; or the
                manifest cannot be read.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        entries = {_inside(folder, entry): entry for entry in manifest.files}
        _check_listing(folder, manifest, entries)
        for check in (_check_size, _check_hash):
            for file, entry in entries.items():
                check(file, entry)
        return cls(folder, manifest, _read_contract(folder, manifest))


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` except its manifest, in a fixed order."""
    for file in sorted(folder.rglob("*")):
        if not file.is_dir() and file != folder / MANIFEST:
            yield file


def entry_for(folder: Path, file: Path) -> FileEntry:
    """Return the manifest's entry for `file`."""
    return FileEntry(
        path=file.relative_to(folder).as_posix(), sha256=sha256(file), bytes=file.stat().st_size
    )


def sha256(file: Path) -> str:
    """Return the hash of a file, read in blocks."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST
    if not folder.is_dir():
        what = "this is a file, not a folder." if folder.exists() else "there is no such folder."
        raise ArtifactError(what, where=folder, mend="Name a folder that `export` wrote.")
    if not file.is_file():
        raise ArtifactError(
            f"the folder holds no {MANIFEST}, so it is not an artifact.",
            where=folder,
            mend="Name a folder that `export` wrote.",
        )
    if (size := file.stat().st_size) > _MANIFEST_LIMIT:
        raise ArtifactError(f"the manifest has {size} bytes.", where=file, mend=_MADE_BY_OTHERS)
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"the manifest is not JSON ({error}).", where=file, mend=_MADE_BY_OTHERS
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ArtifactError(
            f"the manifest has format {found!r}, and this secateur reads format {FORMAT}.",
            where=file,
            mend="Use the version of secateur that wrote it, or export the model again.",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"the manifest's {key} is wrong: {first['msg']}.", where=file, mend=_MADE_BY_OTHERS
        ) from error


def _inside(folder: Path, entry: FileEntry) -> Path:
    """Return where a listed file lies, which must be below the folder, links followed."""
    relative = PurePosixPath(entry.path)
    file = folder / relative
    if (
        not entry.path
        or "\0" in entry.path
        or "\\" in entry.path
        or relative.is_absolute()
        or ".." in relative.parts
        or not file.resolve().is_relative_to(folder.resolve())
    ):
        raise ArtifactError(
            f"the manifest lists {entry.path!r}, which is outside the artifact.",
            where=folder / MANIFEST,
            mend="Do not use this artifact: nothing that secateur writes does that.",
        )
    return file


def _check_listing(folder: Path, manifest: Manifest, entries: dict[Path, FileEntry]) -> None:
    """Check that the files in the folder are those of the manifest."""
    if len(entries) != len(manifest.files):
        raise ArtifactError(
            "the manifest lists a file twice.", where=folder / MANIFEST, mend=_MADE_BY_OTHERS
        )
    needed = [MODEL] + ([CONTRACT] if manifest.contract_sha256 else [])
    for name in needed:
        if folder / name not in entries:
            raise ArtifactError(
                f"the manifest does not list {name}.",
                where=folder / MANIFEST,
                mend=_MADE_BY_OTHERS,
            )
    for file in entries:
        if not file.is_file():
            raise ArtifactError("the file is missing.", where=file, mend=_MADE_BY_OTHERS)
    for file in files_of(folder):
        if file not in entries:
            raise ArtifactError(
                "the manifest does not list this file.",
                where=file,
                mend="Move it out of the artifact folder.",
            )


def _check_size(file: Path, entry: FileEntry) -> None:
    if (size := file.stat().st_size) != entry.bytes:
        raise ArtifactError(
            f"the file has {size} bytes and the manifest says {entry.bytes}.",
            where=file,
            mend=_MADE_BY_OTHERS,
        )


def _check_hash(file: Path, entry: FileEntry) -> None:
    if sha256(file) != entry.sha256:
        raise ArtifactError(
            "the file was changed after it was exported: its SHA-256 is not the manifest's.",
            where=file,
            mend=_MADE_BY_OTHERS,
        )


def _read_contract(folder: Path, manifest: Manifest) -> Contract | None:
    if manifest.contract_sha256 is None:
        return None
    file = folder / CONTRACT
    try:
        contract = Contract.load(file)
    except ContractError as error:
        raise ArtifactError(error.what, where=file, mend=_MADE_BY_OTHERS) from error
    if contract.fingerprint() != manifest.contract_sha256:
        raise ArtifactError(
            "the contract is not the one that the manifest names.", where=file, mend=_MADE_BY_OTHERS
        )
    return contract
