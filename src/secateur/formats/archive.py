"""An artifact from a folder into one file, and back."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from secateur.errors import OutputError
from secateur.files import new_file
from secateur.formats.folder import new_folder
from secateur.formats.manifest import SIGNATURE, changed
from secateur.formats.store import FolderStore, Store, sha256_of

# The first day of a zip's calendar: the same artifact always makes the same file.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def pack(store: Store, out: str | Path, *, added: Mapping[str, bytes] | None = None) -> Path:
    """Write an artifact's files as one `.secateur` file, which replaces what is at `out`.

    Members are stored as they are: weights do not shrink, and what is not compressed cannot burst.

    Args:
        store: the files.
        out: the file to write.
        added: files by name, beside those of the store or in place of them.

    Raises:
        OutputError: the file cannot be written.
    """
    check_outside(store, out)
    try:
        with new_file(out) as partial, partial.open("wb") as file:
            _write(store, file, dict(added or {}))
    except OSError as error:
        raise _cannot_write(Path(out), error) from error
    return Path(out)


def check_outside(store: Store, out: str | Path) -> None:
    """Raise `OutputError` where a file would become part of the folder that it is made of."""
    inside = Path(out).resolve().is_relative_to(store.place.resolve())
    if isinstance(store, FolderStore) and inside:
        raise OutputError(
            "the file would lie inside the artifact.", where=out, mend="Name a file outside it."
        )


def packed(store: Store) -> bytes:
    """Return the bytes of the `.secateur` file, without writing it."""
    file = io.BytesIO()
    _write(store, file, {})
    return file.getvalue()


def unpack(store: Store, out: str | Path, *, known: Mapping[str, str] | None = None) -> Path:
    """Write an artifact's files into a new folder, whole or not at all.

    Args:
        store: the files.
        out: the folder to make.
        known: hashes that were checked; a file that was exchanged since is not written.

    Raises:
        ArtifactError: a file was exchanged.
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    with new_folder(out) as folder:
        for name in store.names():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with store.stream(name) as source, file.open("xb") as target:
                shutil.copyfileobj(source, target, 2**20)
            if known and name in known and sha256_of(FolderStore(folder), name) != known[name]:
                raise changed(store, name)
    return Path(out)


def add_signature(store: Store, signature: bytes) -> None:
    """Put a signature beside the files that it is of, in place of an older one.

    Raises:
        OutputError: the artifact cannot be written.
    """
    if not isinstance(store, FolderStore):
        pack(store, store.place, added={SIGNATURE: signature})
        return
    try:
        with new_file(store.place / SIGNATURE) as partial:
            partial.write_bytes(signature)
    except OSError as error:
        raise _cannot_write(store.place / SIGNATURE, error) from error


def _write(store: Store, file: IO[bytes], added: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted({*store.names(), *added}):
            about = zipfile.ZipInfo(name, _NO_DATE)
            about.external_attr = _READABLE
            source = io.BytesIO(added[name]) if name in added else store.stream(name)
            large = (len(added[name]) if name in added else store.size(name)) >= 2**31 - 1
            with source, archive.open(about, "w", force_zip64=large) as target:
                shutil.copyfileobj(source, target, 2**20)


def _cannot_write(out: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the artifact cannot be written ({error.strerror or error}).",
        where=out,
        mend="Choose a folder that exists and has room.",
    )
