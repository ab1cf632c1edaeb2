"""Is an artifact whole, unchanged and sound? All that is wrong with it, not only the first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from secateur.errors import ArtifactError, MissingExtraError, SecateurError
from secateur.formats.artifact import Artifact, read_contract
from secateur.formats.grids import Quantization
from secateur.formats.limits import check_onnx
from secateur.formats.manifest import (
    LITERT,
    MODEL,
    QUANTIZATION,
    SIGNATURE,
    Manifest,
    problems,
    read_manifest,
)
from secateur.formats.opening import Secret, open_store
from secateur.formats.probing import check_litert, has_litert
from secateur.formats.sealing import is_sealed
from secateur.formats.sessions import open_session
from secateur.formats.signing import Signer, check_signature
from secateur.formats.store import FolderStore, Store, read_text

Kind = Literal["folder", "file", "sealed file"]


class Problem(NamedTuple):
    """Something that is wrong, and with which file."""

    file: str
    what: str


@dataclass(frozen=True)
class Verdict:
    """What was checked and what was found.

    Attributes:
        kind: how the artifact lies on the disk.
        files: how many files the manifest lists, and `bytes` their size.
        signed: whether it carries a signature.
        signer: whose signature was asked for and found sound; "" where none was asked for.
        problems: all that is wrong; an artifact is sound where there are none.
    """

    path: Path
    kind: Kind
    files: int
    bytes: int
    signed: bool
    signer: str
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    path: str | Path, *, secret: Secret | None = None, signed_by: Signer | None = None
) -> Verdict:
    """Check all of an artifact: names, sizes, hashes, contract, model files, signature.

    A file for LiteRT is opened where LiteRT is installed, in a process of its own.

    Args:
        path: a folder, a `.secateur` file, or a sealed one.
        secret: what opens a sealed one.
        signed_by: whose signature it must carry.

    Raises:
        ArtifactError: it is no artifact at all, or its manifest cannot be read.
        SecateurError: the given key cannot be read, or the extra for it is not installed.
    """
    place = Path(path)
    store = open_store(place, secret)
    manifest = read_manifest(store)
    found = list(problems(store, manifest))
    if signed_by is not None:
        found += check_signature(store, signed_by)
    if not found:
        found += _contents(place, store, manifest)
    signer = "" if signed_by is None else _names(signed_by)
    # A file that was changed after it was exported was changed after it was signed, too.
    firsts = {(each.where or str(place)): each for each in reversed(found)}
    told = (Problem(where, error.what) for where, error in firsts.items())
    return Verdict(
        path=place,
        kind=_kind(place, store),
        files=len(manifest.files),
        bytes=sum(entry.bytes for entry in manifest.files),
        signed=SIGNATURE in store.names(),
        signer=signer,
        problems=tuple(sorted(told)),
    )


def _contents(place: Path, store: Store, manifest: Manifest) -> Iterator[ArtifactError]:
    """Yield what is wrong with files that are what the manifest says they are."""
    listed = {entry.path for entry in manifest.files}

    def quantization() -> None:
        if QUANTIZATION in listed:
            text = read_text(store, QUANTIZATION)
            Quantization.from_json(text, where=store.where(QUANTIZATION))

    def litert() -> None:
        if LITERT in listed and has_litert():
            check_litert(artifact.read(LITERT), manifest, store.where(LITERT))

    artifact = Artifact(place, manifest, None, store)
    checks: tuple[Callable[[], Any], ...] = (
        lambda: read_contract(store, manifest),
        quantization,
        lambda: _model(artifact),
        litert,
    )
    for check in checks:
        try:
            check()
        except MissingExtraError:
            raise
        except SecateurError as error:
            yield ArtifactError(error.what, where=error.where)


def _model(artifact: Artifact) -> None:
    """Raise where the model file is unsound, or takes or gives other than the manifest says."""
    where = artifact.files.where(MODEL)
    content = artifact.read(MODEL)
    check_onnx(content, where)
    session = open_session(content, where=where)
    said = itertools.chain(artifact.manifest.inputs, artifact.manifest.outputs)
    here = [*session.get_inputs(), *session.get_outputs()]
    for spec, tensor in itertools.zip_longest(said, here):
        told = None if spec is None else (spec.name, spec.shape[1:])
        true = None if tensor is None else (tensor.name, _axes(tensor.shape))
        if told != true:
            raise ArtifactError(
                f"the manifest says that the model has {told}, and it has {true}.", where=where
            )


def _axes(shape: list[Any]) -> tuple[int | None, ...]:
    return tuple(axis if isinstance(axis, int) else None for axis in shape[1:])


def _names(signer: Signer) -> str:
    return ", ".join(map(str, [signer.key] if signer.key else signer.certificates))


def _kind(place: Path, store: Store) -> Kind:
    if isinstance(store, FolderStore):
        return "folder"
    with place.open("rb") as file:
        return "sealed file" if is_sealed(file.read(64)) else "file"
