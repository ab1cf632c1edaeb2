"""From what the user names to files that can be read, whatever it is: folder, file or sealed."""

from __future__ import annotations

from pathlib import Path

from secateur.errors import ArtifactError
from secateur.formats.manifest import MANIFEST
from secateur.formats.sealing import Secret, is_sealed, unseal
from secateur.formats.store import FolderStore, Store, ZipStore

__all__ = ["Secret", "open_store"]

_MEND = "Name what `export` wrote."


def open_store(path: str | Path, secret: Secret | None = None) -> Store:
    """Return where the files of an artifact are.

    Args:
        path: a folder, a `.secateur` file, or a sealed one.
        secret: what opens a sealed one, which is decrypted in memory.

    Raises:
        ArtifactError: there is nothing of that name, it is no artifact, or the secret is wrong.
        MissingExtraError: it is sealed, and the extra `sealing` is not installed.
    """
    place = Path(path)
    if place.is_dir():
        store: Store = FolderStore(place)
        if not (place / MANIFEST).is_file():
            raise _no_manifest("folder", place)
        return store
    if not place.is_file():
        what = "this is no plain file." if place.exists() else "there is no such folder or file."
        raise ArtifactError(what, where=place, mend=_MEND)
    try:
        with place.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ArtifactError(
            f"the file cannot be read ({error.strerror}).", where=place, mend="Check its rights."
        ) from error
    if is_sealed(head):
        store = ZipStore(place, unseal(place, secret))
    elif head.startswith(b"PK"):
        store = ZipStore(place)
    else:
        raise ArtifactError(
            "this is a file, not a folder, and not one that `secateur pack` or `secateur seal` "
            "wrote.",
            where=place,
            mend=_MEND,
        )
    if MANIFEST not in store.names():
        raise _no_manifest("file", place)
    return store


def _no_manifest(kind: str, place: Path) -> ArtifactError:
    return ArtifactError(
        f"the {kind} holds no {MANIFEST}, so it is not an artifact.", where=place, mend=_MEND
    )
