"""An artifact says what is in it, and is checked before anything in it is read.

It is a folder, one `.secateur` file with the same content, or such a file sealed with age:

manifest.json    what the model takes and gives, and the hash and size of every other file
model.onnx       the model as it is scored
model.tflite     the same for LiteRT (absent unless it was asked for)
model.keras      the same model as it is trained further
contract.json    what a valid row of data is (absent where the model came without one)
quantization.json  the grids that the numbers of an int8 model lie on (absent of a float32 one)
model.sig        the signature over all of these (absent of an unsigned artifact)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from secateur.data.contract import Contract
from secateur.errors import ArtifactError
from secateur.formats.grids import Quantization
from secateur.formats.manifest import (
    CONTRACT,
    KERAS,
    LITERT,
    MADE_BY_OTHERS,
    MANIFEST,
    MODEL,
    QUANTIZATION,
    SIGNATURE,
    FileEntry,
    Manifest,
    Parity,
    TensorSpec,
    changed,
    parse_manifest,
    problems,
)
from secateur.formats.opening import Secret, open_store
from secateur.formats.signing import Signer, check_signature
from secateur.formats.store import FolderStore, Store, ZipStore, read_text

__all__ = [
    "CONTRACT",
    "KERAS",
    "LITERT",
    "MANIFEST",
    "MODEL",
    "QUANTIZATION",
    "SIGNATURE",
    "Artifact",
    "FileEntry",
    "Manifest",
    "Parity",
    "TensorSpec",
    "entry_for",
    "files_of",
    "read_contract",
    "sha256",
]


@dataclass(frozen=True)
class Artifact:
    """A checked artifact.

    Attributes:
        path: the folder or the file.
        store: where its files are read from; by default the folder at `path`.
        written: the very bytes that the manifest was read from, None of one that was just made.
    """

    path: Path
    manifest: Manifest
    contract: Contract | None
    store: Store | None = field(default=None, compare=False, repr=False)
    written: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def files(self) -> Store:
        """Where its files are read from."""
        return self.store or FolderStore(self.path)

    @property
    def model_path(self) -> Path:
        """The ONNX file of an artifact that is a folder.

        Raises:
            ArtifactError: it is one file, of which `model_bytes` reads the model.
        """
        if not isinstance(self.files, FolderStore):
            raise ArtifactError(
                "the artifact is one file, and this needs a folder.",
                where=self.path,
                mend="Make a folder of it: secateur open ARTIFACT FOLDER.",
            )
        return self.path / MODEL

    @property
    def manifest_bytes(self) -> bytes:
        """The manifest as it was read, whatever lies in its place by now."""
        return read_text(self.files, MANIFEST) if self.written is None else self.written

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of every file, its manifest among them, as it was checked."""
        listed = {entry.path: entry.sha256 for entry in self.manifest.files}
        return listed | {MANIFEST: hashlib.sha256(self.manifest_bytes).hexdigest()}

    @property
    def sealed(self) -> bool:
        """Whether it was sealed, and is open in memory alone."""
        return isinstance(self.files, ZipStore) and self.files.content is not None

    @property
    def model_sha256(self) -> str:
        """The hash of the ONNX file, as the manifest states it."""
        return self.entry(MODEL).sha256

    @property
    def quantization(self) -> Quantization | None:
        """What of the model is in integers; None where nothing is.

        Raises:
            ArtifactError: the file that says so is broken.
        """
        if not any(entry.path == QUANTIZATION for entry in self.manifest.files):
            return None
        return Quantization.from_json(self.read(QUANTIZATION), where=self.files.where(QUANTIZATION))

    @property
    def bytes(self) -> int:
        """The size of all listed files."""
        return sum(entry.bytes for entry in self.manifest.files)

    def read(self, name: str) -> bytes:
        """Return a listed file, checked once more as it is read.

        What is returned is what was hashed, so a file that is exchanged after the artifact was
        opened is never used.

        Raises:
            ArtifactError: the artifact has no such file, or it is not what the manifest says.
        """
        entry = self.entry(name)
        try:
            with self.files.stream(name) as stream:
                content = stream.read(entry.bytes + 1)
        except (OSError, KeyError) as error:
            raise ArtifactError(
                "the file is missing.", where=self.files.where(name), mend=MADE_BY_OTHERS
            ) from error
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise changed(self.files, name)
        return content

    def entry(self, name: str) -> FileEntry:
        """Return what the manifest says of a file.

        Raises:
            ArtifactError: the artifact has no such file.
        """
        for entry in self.manifest.files:
            if entry.path == name:
                return entry
        raise ArtifactError(f"the artifact has no {name}.", where=self.path)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        secret: Secret | None = None,
        signed_by: Signer | None = None,
    ) -> Self:
        """Return the artifact at `path`, after checking that it is whole and unchanged.

        The sizes of all files are compared first, then their hashes, and only then is a file read.

        Args:
            path: a folder, a `.secateur` file, or a sealed one.
            secret: what opens a sealed one. It is decrypted in memory, never on disk.
            signed_by: whose signature it must carry.

        Raises:
            ArtifactError: a file is missing, changed, not listed, or outside the artifact; or the
                manifest cannot be read; or the key or the signature is wrong.
        """
        store = open_store(path, secret)
        written = read_text(store, MANIFEST)
        manifest = parse_manifest(written, store.where(MANIFEST))
        for problem in problems(store, manifest):
            raise problem
        if signed_by is not None:
            known = cls(Path(path), manifest, None, store, written).hashes
            for problem in check_signature(store, signed_by, known):
                raise problem
        return cls(Path(path), manifest, read_contract(store, manifest), store, written)


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` that a manifest lists, in a fixed order."""
    for file in sorted(folder.rglob("*")):
        if not file.is_dir() and file not in (folder / MANIFEST, folder / SIGNATURE):
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


def read_contract(store: Store, manifest: Manifest) -> Contract | None:
    """Return the artifact's contract, None where it has none.

    Raises:
        ArtifactError: it is no contract, or not the one that the manifest names.
    """
    if manifest.contract_sha256 is None:
        return None
    where = store.where(CONTRACT)
    try:
        contract = Contract.model_validate_json(read_text(store, CONTRACT))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"not a contract: {key}{': ' if key else ''}{first['msg']}.",
            where=where,
            mend=MADE_BY_OTHERS,
        ) from error
    if contract.fingerprint() != manifest.contract_sha256:
        raise ArtifactError(
            "the contract is not the one that the manifest names.", where=where, mend=MADE_BY_OTHERS
        )
    return contract
