"""Where files lie: on this machine, or in a store such as S3, GCS or HDFS.

A file on this machine is a `pathlib.Path`, and costs no more than that; one elsewhere is a `Place`,
which has what is used of a path. What opens, lists or reads either of them is here.
"""

from __future__ import annotations

import difflib
import functools
import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from secateur.data.listing import files_below, is_file, size_of
from secateur.errors import DataError, MissingExtraError, SecateurError, StoreError

# What Arrow can open by itself; whatever else has a scheme is left to fsspec.
_ARROW = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
_COMPRESSIONS = {".tgz": "gzip", ".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_GCS_SECONDS = 60
# Requests to a store that are under way at once: each waits for an answer, and costs no work here.
REQUESTS = 16
# What is raised for files that are broken, each in its own way; names may be no UTF-8.
_UNREADABLE = (OSError, ValueError, OverflowError, pa.ArrowException)

# The word of an error, and what to do about it; the first that is found counts.
_MENDS = (
    (r"NO_SUCH_BUCKET|bucket does not exist", "Check the name of the bucket."),
    (
        r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|CREDENTIALS|[Cc]redential|UNAUTHENTICATED"
        r"|PERMISSION_DENIED|Forbidden|HTTP status 40[13]|UNRECOGNIZED_CLIENT",
        "Give credentials that may read there through the environment, as for the store's own "
        "tools.",
    ),
    (
        r"NETWORK|curl|[Rr]esolve|[Cc]onnect|UNAVAILABLE|[Tt]imed? ?out",
        "Check the network, the region and the endpoint (such as AWS_ENDPOINT_URL).",
    ),
    (r"SLOW_DOWN|THROTTL|INTERNAL_FAILURE|HTTP status 5\d\d", "Start again when it is less busy."),
    (r"libjvm|libhdfs", "Install Java and Hadoop, and set JAVA_HOME and HADOOP_HOME."),
)


@dataclass(frozen=True)
class Place:
    """A file or folder in a store.

    Attributes:
        root: the store and folder, such as "s3://bucket/folder".
        path: the path below it, with forward slashes; "" for the folder itself.
    """

    root: str
    path: str = ""

    def __truediv__(self, other: str) -> Place:
        return Place(self.root, f"{self.path}/{other}" if self.path else other)

    def __str__(self) -> str:
        """Return the address without the options that follow "?"."""
        folder = without_options(self.root)
        return f"{folder}/{self.path}" if self.path else folder

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(str(self)).name

    def read_bytes(self, most: int | None = None) -> bytes:
        """Return the whole file.

        Raises:
            DataError: it cannot be read, or has more than `most` bytes.
        """
        with told(self), self.open_stream() as stream:
            data = stream.read(None if most is None else most + 1)
        if most is not None and len(data) > most:
            raise DataError(f"the file has more bytes than the {most:,} allowed.", where=self)
        return data

    def open_file(self) -> pa.NativeFile:
        """Open the file for reading at any position."""
        system, base = _resolve(self.root)
        return system.open_input_file(f"{base}/{self.path}")

    def open_stream(self) -> pa.NativeFile:
        """Open the file for reading from its start, as it is."""
        system, base = _resolve(self.root)
        return system.open_input_stream(f"{base}/{self.path}", compression=None)


@dataclass(frozen=True)
class Found:
    """A file of a source: its path below the root, with forward slashes, and its size in bytes."""

    path: str
    bytes: int


def without_options(root: str) -> str:
    """Return an address without the options that follow "?"."""
    scheme, host, path, _ = _split(root)
    return f"{scheme}://{host}{path}".rstrip("/")


def shown(source: str | Path) -> str:
    """Return what may be shown of a source: of an address neither a password nor options.

    A password may hold any sign, so an address is looked through before it is taken apart.
    """
    if not is_remote(source):
        return str(source)
    scheme, _, rest = str(source).partition("://")
    before, _, after = rest.rpartition("@")
    if ":" in before:
        return f"{scheme}://{re.split('[?&]', after)[0]}"
    return without_options(str(source))


def is_remote(source: str | Path) -> bool:
    """Tell whether a source lies in a store.

    Raises:
        DataError: it is the path that is left of an address, whose slashes a path makes one.
    """
    if isinstance(source, Path) and source.parts and re.fullmatch(r"\w{2,}:", source.parts[0]):
        raise DataError(
            "this is an address that was made a path.", where=source, mend="Give it as text."
        )
    return isinstance(source, str) and "://" in source and not source.startswith("file://")


def at(root: str | Path) -> Path | Place:
    """Return a root as what it is: a path, or a place."""
    return Place(str(root)) if is_remote(root) else Path(root)


def open_file(file: Path | Place) -> pa.NativeFile:
    """Open a file for reading at any position."""
    return file.open_file() if isinstance(file, Place) else pa.OSFile(str(file))


def open_stream(file: Path | Place) -> pa.NativeFile:
    """Open a file for reading from its start, decompressed where its ending says so."""
    stream = file.open_stream() if isinstance(file, Place) else pa.OSFile(str(file))
    kind = _COMPRESSIONS.get(PurePosixPath(file.name.lower()).suffix)
    return pa.CompressedInputStream(stream, kind) if kind else stream


def find_files(source: str | Path) -> tuple[str, list[Found]]:
    """Return the root of a source, and the files below it in the order of their paths.

    Args:
        source: a file, a folder with all its sub-folders, or a glob, here or in a store.

    Raises:
        DataError: nothing is there, or the store cannot be read.
    """
    if isinstance(source, str) and source.startswith("file://"):
        with told(Path(source)):
            source = fs.FileSystem.from_uri(_quoted(source))[1]
    if is_remote(source):
        return _find_there(str(source))
    try:
        root, files = _find_here(source)
    except OSError as error:
        raise DataError(
            f"it cannot be read: {error.strerror or error}.",
            where=source,
            mend="Check the path, and the rights of its folders.",
        ) from error
    found = [Found(file.relative_to(root).as_posix(), size_of(file)) for file in files]
    return str(root), found


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is no data: hidden, or left by an archiver."""
    return name.startswith((".", "__"))


def failure(what: str, where: Path | Place, error: BaseException) -> SecateurError:
    """Return the error to raise where a file cannot be read.

    Args:
        what: what cannot be done, such as "the file cannot be read".
        where: the file.
        error: what was raised.

    Returns:
        A `StoreError` where it is the store that fails, or else a `DataError`: a job goes on
        without a broken file, and must not go on without a store.
    """
    if isinstance(error, FileNotFoundError) and isinstance(where, Place):
        return DataError("there is no such file or folder.", where=where)
    text = re.sub(r"'[^']*'", "", str(error))  # names of files may hold any word
    sentence = f"{what}: {_short(error)}."
    if isinstance(where, Place):
        advice = next((advice for word, advice in _MENDS if re.search(word, text)), None)
        if advice is None and isinstance(error, PermissionError | ConnectionError | TimeoutError):
            advice = "Check the credentials and the network."
        if advice is not None:
            return StoreError(sentence, where=where, mend=advice)
    return DataError(sentence, where=where)


@contextmanager
def told(where: Path | Place, what: str = "it cannot be read") -> Iterator[None]:
    """Turn what a store or a file system raises into one clear error; see `failure`."""
    try:
        yield
    except _UNREADABLE as error:
        raise failure(what, where, error) from error


def absolute(source: str | Path) -> str:
    """Return an address as it is, and a path from the root."""
    return str(source) if is_remote(source) else str(Path(source).resolve())


def _find_here(source: str | Path) -> tuple[Path, list[Path]]:
    path = Path(source)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        files = sorted(
            file
            for file in files_below(path)
            if is_file(file) and not any(map(is_hidden, file.relative_to(path).parts))
        )
        if not files:
            raise DataError("the folder is empty.", where=source)
        return path, files
    if glob.has_magic(str(source)):
        # A pattern with two `**` finds a file once for each way that it matches.
        files = sorted(set(map(Path, glob.glob(str(source), recursive=True))))
        files = [file for file in files if is_file(file)]
        if not files:
            raise DataError("no file matches.", where=source)
        return Path(*_fixed(path.parts)), files
    raise DataError("there is no such file or folder.", where=source, mend=_close_path(path))


def _find_there(source: str) -> tuple[str, list[Found]]:
    _resolve.cache_clear()  # the environment may give other credentials than the last time
    if ":" in source.partition("://")[2].rpartition("@")[0]:
        raise DataError(
            "the address holds credentials, which would be written down with the scores.",
            where=shown(source),
            mend='Give them through the environment. If there are none, write "*" for the "@" of a '
            'name, and "%40" for that of an option.',
        )
    scheme, host, path, query = _split(source)
    names = [name for name in path.split("/") if name]
    fixed = _fixed(names)
    root = _joined(scheme, host, fixed, query)
    found = _listed(root)
    if len(fixed) < len(names):
        pattern = names[len(fixed) :]
        chosen = [file for file in found if _matches(file.path.split("/"), pattern)]
        if not chosen:
            raise DataError("no file matches.", where=shown(source))
        return root, chosen
    if [file.path for file in found] == [""]:
        return _joined(scheme, host, fixed[:-1], query), [Found(fixed[-1], found[0].bytes)]
    found = [file for file in found if not any(map(is_hidden, file.path.split("/")))]
    if not found:
        raise DataError("nothing is there.", where=Place(root))
    return root, found


def _listed(root: str) -> list[Found]:
    """List all files below a root; a root that is a file itself is one file of no path."""
    with told(Place(root)):
        system, base = _resolve(root)
        (info,) = system.get_file_info([base or "/"])
        if info.type == fs.FileType.File:
            return [Found("", info.size)]
        infos = system.get_file_info(fs.FileSelector(base or "/", recursive=True))
    files = [
        Found(_below(info.path, base), info.size) for info in infos if info.type == fs.FileType.File
    ]
    return sorted(files, key=lambda file: file.path.split("/"))


def _below(path: str, base: str) -> str:
    return path.lstrip("/").removeprefix(base.lstrip("/")).lstrip("/")


@functools.lru_cache(maxsize=16)
def _resolve(root: str) -> tuple[Any, str]:
    """Return the file system of a root, and the root's path in it."""
    scheme = _split(root)[0]
    if scheme in _ARROW:
        address = _quoted(root)
        if scheme in ("gs", "gcs") and "retry_limit_seconds" not in address:
            # Without credentials the client would try for a quarter of an hour.
            address += f"{'&' if '?' in address else '?'}retry_limit_seconds={_GCS_SECONDS}"
        system, base = fs.FileSystem.from_uri(address)
        return system, base.rstrip("/")
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(
            "fsspec is not installed, which opens such addresses.",
            where=shown(root),
            mend="Install it: pip install fsspec.",
        ) from error
    try:
        system, base = fsspec.core.url_to_fs(root)
    except ImportError as error:
        raise MissingExtraError(f"{error}.", where=shown(root)) from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), base.rstrip("/")


def _quoted(uri: str) -> str:
    """Quote the path of an address, which people write as the store's own tools do: as it is."""
    scheme, host, path, query = _split(uri)
    return f"{scheme}://{host}{quote(path)}{'?' if query else ''}{query}"


def _split(uri: str) -> tuple[str, str, str, str]:
    """Return scheme, host, path and options; a "?" without "=" after it belongs to the path.

    What is no address otherwise, such as "s3://[x", is for the store to refuse.
    """
    scheme, _, rest = uri.partition("://")
    place, _, query = rest.partition("?")
    if query and "=" not in query:
        place, query = rest, ""
    host, slash, path = place.partition("/")
    return scheme.lower(), host, slash + path, query


def _joined(scheme: str, host: str, names: Sequence[str], query: str) -> str:
    folder = f"{scheme}://{'/'.join([host, *names])}"
    return f"{folder}?{query}" if query else folder


def _fixed(names: Sequence[str]) -> list[str]:
    """Return the names before the first that is a pattern."""
    first = next((i for i, name in enumerate(names) if glob.has_magic(name)), len(names))
    return list(names[:first])


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether a path matches a glob, whose "**" stands for any number of folders."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        seen = next((i for i, name in enumerate(names) if name.startswith(".")), len(names))
        return any(_matches(names[i:], pattern[1:]) for i in range(seen + 1))
    return (
        bool(names)
        and fnmatchcase(names[0], pattern[0])
        and (pattern[0].startswith(".") or not names[0].startswith("."))
        and _matches(names[1:], pattern[1:])
    )


def _close_path(path: Path) -> str | None:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"There is no folder {path.parent} either."
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None


def _short(error: BaseException) -> str:
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    return re.sub(r" ?\(?Request ID: [^)]*\)?", "", text).rstrip(". ")
