"""Put into an artifact what is known only once it has been exported and measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secateur.errors import ArtifactError
from secateur.formats.artifact import Artifact, entry_for, files_of
from secateur.formats.folder import new_folder
from secateur.formats.manifest import MANIFEST
from secateur.formats.store import plain_name


def complete(
    path: str | Path, *, files: Mapping[str, Path] | None = None, **facts: Any
) -> Artifact:
    """Replace an artifact folder by one with more files and facts; it changes whole, or not at all.

    A signature is left out: it was of what the artifact was before.

    Args:
        path: the folder.
        files: files to add or replace, by their name in the artifact.
        facts: fields of the manifest.

    Raises:
        ArtifactError: what is there is not whole, or a name is not one of a file in a folder.
        OutputError: the folder cannot be written.
    """
    folder, added = Path(path), dict(files or {})
    before = Artifact.open(folder)
    for name in added:
        if not plain_name(name) or name == MANIFEST:
            raise ArtifactError(f"{name!r} is no name for a file of an artifact.", where=folder)
    with new_folder(folder, replaces=MANIFEST) as made:
        for file in files_of(folder):
            name = file.relative_to(folder)
            if name.as_posix() not in added:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                _take_over(file, made / name)
        for name, file in added.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, made / name)
        told = before.manifest.model_dump() | facts
        told["files"] = tuple(entry_for(made, file) for file in files_of(made))
        manifest = type(before.manifest).model_validate(told)
        manifest.save(made / MANIFEST)
    return Artifact(folder, manifest, before.contract)


def _take_over(file: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the disk has no second names."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
