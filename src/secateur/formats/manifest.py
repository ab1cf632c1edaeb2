"""What an artifact says of itself, and whether its files are what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateur.errors import ArtifactError
from secateur.files import write_whole
from secateur.formats.store import FolderStore, Store, plain_name, read_text, sha256_of

FORMAT = 1
MANIFEST = "manifest.json"
CONTRACT = "contract.json"
MODEL = "model.onnx"
LITERT = "model.tflite"
QUANTIZATION = "quantization.json"
KERAS = "model.keras"
# It vouches for the manifest, so the manifest cannot list it.
SIGNATURE = "model.sig"

MADE_BY_OTHERS = "Copy the artifact again from where it was made, or export the model again."


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
        metrics: the model's quality; `cost` is what it takes.
        baseline: the same two, under "metrics" and "cost", of the model before secateur's steps;
            empty where there was none.
        measured: how each figure was measured: on which rows, in which runtime, on what machine.
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
    baseline: dict[str, dict[str, Any]] = Field(default_factory=dict)
    measured: dict[str, str] = Field(default_factory=dict)
    recipe: str | None = None
    data_fingerprint: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the manifest as JSON that a person can read.

        Raises:
            OutputError: the file cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False)
        write_whole(path, text + "\n")


def read_manifest(store: Store) -> Manifest:
    """Read the manifest of an artifact; see `parse_manifest`."""
    return parse_manifest(read_text(store, MANIFEST), store.where(MANIFEST))


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Return the manifest that a text holds; an error names it `where`.

    Raises:
        ArtifactError: it is not one of this format.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"the manifest is not JSON ({error}).", where=where, mend=MADE_BY_OTHERS
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ArtifactError(
            f"the manifest has format {_short(found)}, and this secateur reads format {FORMAT}.",
            where=where,
            mend="Use the version of secateur that wrote it, or export the model again.",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"the manifest's {key} is wrong: {first['msg']}.", where=where, mend=MADE_BY_OTHERS
        ) from error


def problems(store: Store, manifest: Manifest) -> Iterator[ArtifactError]:
    """Yield all that is wrong with the files, the cheap checks first; no file is parsed.

    Names are compared first, then sizes, then hashes: nothing large is read of an artifact whose
    sizes are wrong, if the caller stops at the first problem.
    """
    where = store.where(MANIFEST)
    entries: dict[str, FileEntry] = {}
    for entry in manifest.files:
        if not _inside(store, entry.path):
            yield ArtifactError(
                f"the manifest lists {entry.path!r}, which is outside the artifact.",
                where=where,
                mend="Do not use this artifact: nothing that secateur writes does that.",
            )
        elif entry.path in entries:
            yield ArtifactError(
                f"the manifest lists a file twice: {entry.path}.", where=where, mend=MADE_BY_OTHERS
            )
        entries.setdefault(entry.path, entry)
    for name in [MODEL] + ([CONTRACT] if manifest.contract_sha256 else []):
        if name not in entries:
            yield ArtifactError(
                f"the manifest does not list {name}.", where=where, mend=MADE_BY_OTHERS
            )
    names = set(store.names())
    here = [entry for name, entry in entries.items() if name in names and _inside(store, name)]
    for name in entries.keys() - names:
        yield ArtifactError("the file is missing.", where=store.where(name), mend=MADE_BY_OTHERS)
    for name in sorted(names - entries.keys() - {MANIFEST, SIGNATURE}):
        yield ArtifactError(
            "the manifest does not list this file.",
            where=store.where(name),
            mend="Move it out of the artifact.",
        )
    whole = []
    for entry in here:
        try:
            size = store.size(entry.path)
        except OSError:  # a link that leads nowhere
            yield ArtifactError(
                "the file is missing.", where=store.where(entry.path), mend=MADE_BY_OTHERS
            )
            continue
        if size == entry.bytes:
            whole.append(entry)
            continue
        yield ArtifactError(
            f"the file has {size} bytes and the manifest says {entry.bytes}.",
            where=store.where(entry.path),
            mend=MADE_BY_OTHERS,
        )
    for entry in whole:
        if sha256_of(store, entry.path) != entry.sha256:
            yield changed(store, entry.path)


def changed(store: Store, name: str) -> ArtifactError:
    """Return the error of a file that is not what the manifest says."""
    return ArtifactError(
        "the file was changed after it was exported: its SHA-256 is not the manifest's.",
        where=store.where(name),
        mend=MADE_BY_OTHERS,
    )


def _inside(store: Store, name: str) -> bool:
    """Return whether a listed file is below the folder, links followed."""
    if not plain_name(name):
        return False
    if not isinstance(store, FolderStore):
        return True
    try:
        return (store.place / name).resolve().is_relative_to(store.place.resolve())
    except (OSError, RuntimeError):  # a circle of links
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
