"""What runs on a Ray worker: one part, into a folder of its own that the driver then takes over.

A task may run twice, and even twice at once, when Ray gives up a node that was only slow. So no
task writes to a place where another one does, and nothing that it writes counts until the driver
has renamed it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import platform
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from secateur.errors import ArtifactError, DataError, OutputError, SecateurError
from secateur.formats.artifact import MANIFEST, Artifact
from secateur.formats.predictor import Predictor
from secateur.formats.runners import version_of
from secateur.scoring.ledger import Entry
from secateur.scoring.part import score_part
from secateur.scoring.pieces import Piece
from secateur.scoring.scorer import Scorer

# These decide the bytes of the scores; Ray itself sees to it that Python and Ray are the same.
_PACKAGES = ("secateur", "numpy", "pyarrow")


@dataclass(frozen=True)
class Setup:
    """What all parts of a run have in common.

    Attributes:
        options: the fields of the driver's `Scorer`, its predictor aside.
        artifact: the artifact's folder, as the driver sees it.
        manifest: the hash of its manifest.
        files: a reference to its files, for a worker that does not see the folder.
        versions: the packages of the driver.
        runtime: what runs the model.
        rows: the usual number of rows of a call.
    """

    options: dict[str, Any]
    artifact: str
    manifest: str
    files: Any
    versions: dict[str, str]
    runtime: str
    rows: int


class Work(NamedTuple):
    """One part to do.

    Attributes:
        number: the number in the names of its files.
        piece: what to score; its root is a full path.
        stamp: the piece's stamp, as the driver sees it.
        local: whether the driver sees its root as a folder.
    """

    number: int
    piece: Piece
    stamp: str
    local: bool


class Done(NamedTuple):
    """A part that is done: its line for the ledger, and the folder that its files lie in."""

    entry: Entry
    folder: str


def setup_of(scorer: Scorer, files: Any) -> Setup:
    """Return what workers need to score as `scorer` does.

    Args:
        scorer: the driver's.
        files: a reference to what `files_of_artifact` returns.
    """
    folder = scorer.predictor.artifact.path.resolve()
    names = (field.name for field in dataclasses.fields(scorer))
    return Setup(
        options={name: getattr(scorer, name) for name in names if name != "predictor"},
        artifact=str(folder),
        manifest=hashlib.sha256(_content(scorer.predictor.artifact, MANIFEST)).hexdigest(),
        files=files,
        versions=versions(scorer.predictor.runtime),
        runtime=scorer.predictor.runtime,
        rows=scorer.predictor.rows,
    )


def files_of_artifact(artifact: Artifact) -> dict[str, np.ndarray]:
    """Return the bytes of an artifact's files by their names.

    Arrays, because Ray gives all workers of a node one copy of an array.
    """
    names = [MANIFEST, *(entry.path for entry in artifact.manifest.files)]
    return {name: np.frombuffer(_content(artifact, name), np.uint8) for name in names}


def _content(artifact: Artifact, name: str) -> bytes:
    return artifact.manifest_bytes if name == MANIFEST else artifact.read(name)


def versions(runtime: str) -> dict[str, str]:
    """Return the versions of the packages that decide the bytes of the scores."""
    found = {name: importlib.import_module(name).__version__ for name in _PACKAGES}
    return found | {runtime: version_of(runtime)}


def do_part(setup: list[Any], staging: str, work: Work) -> Done | SecateurError:
    """Score a piece into a new folder below `staging`.

    An error of the user's is returned, not raised: it travels whole, and Ray has nothing to log.

    Args:
        setup: a reference to the `Setup`, in a list, so that Ray fetches it once a process.
        staging: the run's folder, which the driver made in the output.
        work: the part.
    """
    try:
        scorer = _scorer(setup[0])
        _check_sight(staging, work)
        folder = Path(staging, uuid.uuid4().hex)
        try:
            folder.mkdir()
        except OSError as error:
            raise OutputError(
                f"the node {platform.node()} cannot write there ({error.strerror}).",
                where=staging,
                mend="Let all nodes write to the output folder.",
            ) from error
        return Done(_score(scorer, folder, work), folder.name)
    except SecateurError as error:
        return error


def _score(scorer: Scorer, folder: Path, work: Work) -> Entry:
    """Score a part into `folder`; where that fails, name the file that it was to become."""
    try:
        return score_part(
            scorer, folder, work.number, work.piece, stop=threading.Event(), seen=_ignore
        )
    except OutputError as error:
        where = Path(error.where or folder)
        if where.is_relative_to(folder):
            where = folder.parent.parent / where.relative_to(folder)
        raise OutputError(error.what, where=where, mend=error.mend) from error


@functools.lru_cache(maxsize=1)
def _scorer(reference: Any) -> Scorer:
    """Return the scorer of a run, which a process opens once: the reference names its content."""
    import ray

    setup: Setup = ray.get(reference)
    _check_versions(setup)
    return Scorer(predictor=_predictor(setup), **setup.options)


def _predictor(setup: Setup) -> Predictor:
    """Open the model where the driver did, or else from the bytes that it sent along."""
    import ray

    how: dict[str, Any] = {"runtime": setup.runtime, "rows": setup.rows}
    try:
        artifact = Artifact.open(setup.artifact)
        if hashlib.sha256(artifact.manifest_bytes).hexdigest() == setup.manifest:
            return Predictor(artifact, **how)
    except ArtifactError:
        pass  # it is not there, or is another one by now
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        files: dict[str, np.ndarray] = ray.get(setup.files)
        for name, content in files.items():
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            content.tofile(file)
        return Predictor(folder, **how)


def _check_versions(setup: Setup) -> None:
    here = versions(setup.runtime)
    for name, version in setup.versions.items():
        if here[name] != version:
            raise SecateurError(
                f"the node {platform.node()} has {name} {here[name]}, "
                f"and the job was started with {version}.",
                mend="Install the same packages on all nodes.",
            )


def _check_sight(staging: str, work: Work) -> None:
    """Raise where this node sees another output or other data than the driver.

    A node that does not have the data would else quarantine it all.
    """
    if not Path(staging).is_dir():
        raise OutputError(
            f"the node {platform.node()} does not see the output folder.",
            where=Path(staging).parent,
            mend="Name a folder on a file system that all nodes share, under the same path.",
        )
    root = Path(work.piece.part.root)
    if root.is_dir() != work.local or work.piece.stamp != work.stamp:
        raise DataError(
            f"the node {platform.node()} does not see the data as it was found.",
            where=work.piece.part.file,
            mend="Keep the data where all nodes see it under the same path, and leave it alone "
            "while the job runs.",
        )


def _ignore(rows: int) -> None:
    """Take no notice of rows that are under way."""
